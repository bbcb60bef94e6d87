"""What kube-score criticises in the manifests: `python -m tools.make.kube_score`, `make kube-score`.

Every overlay is rendered by kustomize and scored. What we do not follow stands with its reason in
deploy/k8s/kube-score.toml; anything else that is criticised fails, and so does an exception that nothing needs.

kube-score is a Go program without a wheel: it is taken from PATH, or built once (go_program.py).

Guarantees: exit code 0 only if every overlay was scored. Does not know: whether the critics are right.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.cli.failure import Failure
from tools.make.go_program import GoProgram

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = ROOT / "deploy" / "k8s" / "overlays"
EXCEPTIONS = ROOT / "deploy" / "k8s" / "kube-score.toml"
VERSION = "v1.20.0"
PROGRAM = GoProgram("kube-score", VERSION, "github.com/zegl/kube-score/cmd/kube-score")
# The oldest Kubernetes that docs/operations.md allows.
KUBERNETES = "v1.30"
GOOD = 10
SCORE_S = 120.0


@dataclass(frozen=True, slots=True, order=True)
class Criticism:
    """`of`: the object as kind and name; `check`: kube-score's name of it."""

    check: str
    of: str
    says: str


# ---- what it says


def criticisms(program: Path, folder: Path, flags: Sequence[str]) -> list[Criticism]:
    """The criticisms of one overlay. Raises Failure."""
    kubectl = Path(sys.executable).with_name("kubectl")
    manifests = subprocess.run([str(kubectl), "kustomize", str(folder)], check=True, capture_output=True, text=True)
    told = subprocess.run(
        [str(program), "score", "--output-format", "json", "--kubernetes-version", KUBERNETES, *flags, "-"],
        input=manifests.stdout,
        capture_output=True,
        text=True,
        check=False,
        timeout=SCORE_S,
    )
    try:
        return sorted(set(read(json.loads(told.stdout))))
    except ValueError:
        raise Failure(f"kube-score on {folder.name} said: {(told.stderr or told.stdout).strip()[:500]}") from None


def read(told: Sequence[Mapping[str, Any]]) -> Iterator[Criticism]:
    """Reads kube-score's JSON, format 1: everything that is not wholly good."""
    for found in told:
        name = f"{found['type_meta']['kind']} {found['object_meta']['name']}"
        for check in found["checks"] or ():
            if check["skipped"] or check["grade"] >= GOOD:
                continue
            says = [": ".join(filter(None, (each["path"], each["summary"]))) for each in check["comments"] or ()]
            yield Criticism(check["check"]["id"], name, "; ".join(dict.fromkeys(says)) or check["check"]["comment"])


def judge(found: Mapping[str, Sequence[Criticism]], exceptions: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What is wrong: criticisms (by overlay) that no exception covers, exceptions that cover nothing.

    Exceptions: check, then objects ("*" for all) with the reason.
    """
    used: set[tuple[str, str]] = set()
    wrong = []
    for overlay, all_of_it in found.items():
        for criticism in all_of_it:
            there = exceptions.get(criticism.check, {})
            covering = [key for key in (criticism.of, "*") if key in there]
            used |= {(criticism.check, key) for key in covering[:1]}
            if not covering:
                wrong.append(f"{overlay}: {criticism.of}: {criticism.check}: {criticism.says}")
    given = {(check, key) for check, there in exceptions.items() for key in there}
    return wrong + [f"nothing needs the exception {check} for {key}" for check, key in sorted(given - used)]


def main() -> int:
    try:
        program = PROGRAM.fetch(os.environ)
        exceptions = tomllib.loads(EXCEPTIONS.read_text(encoding="utf-8"))
        flags = tuple(exceptions.pop("flags", ()))
        folders = sorted(path.parent for path in OVERLAYS.glob("*/kustomization.yaml"))
        found = {folder.name: criticisms(program, folder, flags) for folder in folders}
    except Failure as failure:
        sys.stderr.write(f"{failure}\n")
        return failure.code
    wrong = judge(found, exceptions)
    sys.stdout.writelines(f"{line}\n" for line in wrong)
    if wrong:
        sys.stderr.write(f"Mend the manifests, or give a reason in {EXCEPTIONS.relative_to(ROOT)}.\n")
    else:
        sys.stdout.write(f"kube-score {VERSION}: {len(found)} overlays, nothing that is not excepted\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
