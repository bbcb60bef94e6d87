"""Each module of storage has tests of its own: in its room's folder, or a property or contract that names it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TESTS = ("tests/unit/storage", "tests/property/storage", "tests/contract/repository")
# All ports of the twin and of MongoDB, by their entries: the contract suite runs on both.
PORTS = ("services.storage.repository.memory", "services.storage.repository.mongo.repository")
# Processes: seen by the end-to-end tests, which start them.
PROCESSES = {"services.storage.__main__", "services.storage.prepare"}


def _modules() -> list[str]:
    paths = (path.relative_to(ROOT).with_suffix("") for path in (ROOT / "services/storage").rglob("*.py"))
    return sorted({".".join(path.parts) for path in paths if path.name != "__init__"} - PROCESSES)


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


IMPORTED = {
    name
    for folder in TESTS
    for path in (ROOT / folder).rglob("*.py")
    if path != Path(__file__)
    for name in _imported(path)
}


@pytest.mark.parametrize("module", [module for module in _modules() if ".repository.m" not in module])
def test_each_module_is_imported_by_a_test(module: str) -> None:
    assert module in IMPORTED


def test_the_contract_of_the_repository_runs_on_all_its_ports() -> None:
    contract = set(_imported(ROOT / "tests/contract/repository/conftest.py"))
    assert contract.issuperset(PORTS)


def test_each_folder_of_tests_is_a_room() -> None:
    folders = [
        path for path in (ROOT / "tests/unit/storage").rglob("*") if path.is_dir() and path.name != "__pycache__"
    ]
    assert [
        folder for folder in folders if not (ROOT / "services" / folder.relative_to(ROOT / "tests/unit")).is_dir()
    ] == []
