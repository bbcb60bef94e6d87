"""The image: its Dockerfile by hadolint, and what must and must not get into it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.deploy.rendering import ROOT

DOCKERFILE = ROOT / "deploy" / "Dockerfile"


def test_hadolint_has_nothing_to_say() -> None:
    program = Path(sys.executable).with_name("hadolint")
    outcome = subprocess.run([str(program), str(DOCKERFILE)], capture_output=True, text=True, check=False, timeout=60)
    assert outcome.returncode == 0, outcome.stdout


def test_the_last_stage_is_not_root_and_has_no_build_in_it() -> None:
    last = DOCKERFILE.read_text(encoding="utf-8").rpartition("\nFROM ")[2]
    assert "USER 10001:10001" in last
    assert "HEALTHCHECK" in last
    assert "RUN " not in last


def test_the_packages_are_locked_by_their_hashes() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    installs = [line for line in text.splitlines() if "pip install" in line]
    assert installs
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)


def test_only_what_is_named_gets_into_the_build() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    for line in DOCKERFILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert any(source == rule[1:] or source.startswith(f"{rule[1:]}/") for rule in rules), source
