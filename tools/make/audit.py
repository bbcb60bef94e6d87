"""Known vulnerabilities in what is locked: `python -m tools.make.audit`, a step of `make check`.

It asks an advisory service on the network by pip-audit: about one package first, then about all. Where the service
cannot be asked, it says so and that nothing is known, and does not fail: a build without a network is no finding.

Guarantees: exit code 1 only if something locked has a known vulnerability. Does not know: whether it can be reached.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCKS = (ROOT / "requirements.lock", ROOT / "requirements-dev.lock")
ASK_S = 120.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said: findings as sentences, and the packages that it said nothing of."""

    findings: tuple[str, ...]
    unknown: tuple[str, ...]
    asked: int


def pinned(lock: Path) -> list[str]:
    """`name==version` of every package of a lock, without markers and hashes."""
    lines = (line.partition(" ;")[0].partition(" \\")[0].strip() for line in lock.read_text().splitlines())
    return [line for line in lines if "==" in line and not line.startswith(("#", "-"))]


def read(report: str) -> Answer:
    """pip-audit's JSON. Raises ValueError if it is none."""
    findings, unknown = [], []
    dependencies = json.loads(report)["dependencies"]
    for package in dependencies:
        if "skip_reason" in package:
            unknown.append(package["name"])
        for found in package.get("vulns", ()):
            fixed = ", ".join(found["fix_versions"]) or "no version yet"
            findings.append(f"{package['name']} {package['version']}: {found['id']}, mended in {fixed}")
    return Answer(tuple(findings), tuple(unknown), len(dependencies))


def ask(packages: Sequence[str]) -> Answer | None:
    """None: there was no answer."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(packages) + "\n")
        file.flush()
        try:
            outcome = subprocess.run(
                [sys.executable, "-m", "pip_audit", "--requirement", file.name, "--no-deps", "--disable-pip",
                 "--progress-spinner", "off", "--timeout", "10", "--format", "json"],
                capture_output=True, text=True, check=False, timeout=ASK_S,
            )  # fmt: skip
            answer = read(outcome.stdout)
        except (subprocess.TimeoutExpired, ValueError, KeyError):
            return None
    return answer if len(answer.unknown) < answer.asked else None


def main() -> int:
    packages = sorted({package for lock in LOCKS for package in pinned(lock)})
    answer = ask(packages[:1]) and ask(packages)
    if answer is None:
        sys.stderr.write(
            "audit: the advisory service could not be asked, so nothing is known about vulnerabilities in the "
            f"{len(packages)} locked packages; say `make audit` where the network reaches it\n"
        )
        return 0
    for finding in answer.findings:
        sys.stderr.write(f"audit: {finding}\n")
    if answer.unknown:
        sys.stderr.write(f"audit: nothing is known about {', '.join(answer.unknown)}\n")
    if answer.findings:
        sys.stderr.write("audit: raise what is mended (`make lock`), or say in docs/security.md why it does no harm\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
