"""The ground that everything stands on: the lock files say what pyproject.toml asks for, and make has its targets."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[3]
TARGETS = (
    "help setup run check lint types test test-unit test-integration test-e2e simulate chaos bench protos docs image "
    "deploy clean"
)


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def client() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text())["project"]
    return found


def locked(name: str) -> dict[str, Version]:
    text = (ROOT / name).read_text()
    return {found[1]: Version(found[2]) for found in re.finditer(r"^([a-z0-9-]+)==([^ \\]+)", text, re.MULTILINE)}


def asked(group: str) -> list[Requirement]:
    found: list[Requirement] = []
    for line in project()["dependency-groups"][group]:
        found += asked(line["include-group"]) if isinstance(line, dict) else [Requirement(line)]
    return found


@pytest.mark.parametrize(("name", "groups"), [("requirements.lock", []), ("requirements-dev.lock", ["dev"])])
def test_a_lock_holds_a_fitting_version_of_all_that_is_asked_for(name: str, groups: list[str]) -> None:
    versions = locked(name)
    bot = client()
    lines = [*project()["project"]["dependencies"], *bot["dependencies"], *bot["optional-dependencies"]["speed"]]
    wanted = [requirement for requirement in map(Requirement, lines) if requirement.name != bot["name"]]
    for requirement in [*wanted, *(requirement for group in groups for requirement in asked(group))]:
        assert requirement.specifier.contains(versions[requirement.name]), f"{requirement}: run `make lock`"


def test_both_locks_hold_the_same_versions() -> None:
    runtime, everything = locked("requirements.lock"), locked("requirements-dev.lock")
    assert {name: everything.get(name) for name in runtime} == runtime


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_has_hashes_and_no_address_of_a_registry(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    for entry in re.split(r"\n(?=[a-z])", text)[1:]:
        assert "--hash=sha256:" in entry


def test_make_help_lists_every_target() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = {line.split()[0] for line in shown.splitlines() if line.strip()}
    assert set(TARGETS.split()) <= listed
