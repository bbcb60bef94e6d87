"""Each module of services.common is imported by a test of its own: a unit, property, contract or scenario test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = "services.common"


def test_each_module_is_imported_by_a_test_of_its_own() -> None:
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "services" / "common").rglob("*.py")
        if path.name != "__init__.py"
    }
    imported = {name for kind in ("unit", "property", "contract", "scenario") for name in _imported(kind)}
    assert not modules - imported


def _imported(kind: str) -> Iterator[str]:
    for path in (ROOT / "tests" / kind).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
                assert node.module is not None
                yield node.module
                for alias in node.names:
                    yield f"{node.module}.{alias.name}"
                    # A package may give on what stands in one of its modules.
                    given_on = getattr(import_module(node.module), alias.name, None)
                    yield str(getattr(given_on, "__module__", ""))
