"""Each module of logic has a test that knows it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
LOGIC = ROOT / "services/logic"
TESTS = ("tests/unit", "tests/property", "tests/scenario")
# What runs only as a process, on the real Kafka.
STARTED = {"services.logic.__main__", "services.logic.prepare"}


def _modules() -> Iterator[str]:
    for path in LOGIC.rglob("*.py"):
        if path.name != "__init__.py":
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _imported_by(test: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(test.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def _mirrors(module: str) -> bool:
    """Whether a file of tests has the module's name and place."""
    *room, name = module.split(".")[2:]
    return any((ROOT / "tests/unit/logic").joinpath(*room).glob(f"test_{name}*.py"))


def test_each_module_of_logic_is_imported_by_a_test_or_has_one_of_its_name() -> None:
    imported = {
        module for folder in TESTS for test in (ROOT / folder).rglob("test_*.py") for module in _imported_by(test)
    }
    modules = set(_modules())
    assert len(modules) > 30
    assert sorted(module for module in modules - imported - STARTED if not _mirrors(module)) == []


def test_each_room_of_the_tests_is_a_room_of_logic() -> None:
    rooms = {path.name for path in (ROOT / "tests/unit/logic").iterdir() if path.is_dir() and path.name[0].isalpha()}
    assert rooms == {path.name for path in LOGIC.iterdir() if path.is_dir() and path.name[0].isalpha()}
