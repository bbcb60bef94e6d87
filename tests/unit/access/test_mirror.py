"""Every module of the access service is imported by a test below integration."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[3]
SUITES = ("tests/unit", "tests/property", "tests/scenario")
ROOMS = (
    "admission",
    "cluster",
    "connection",
    "delivery",
    "handshake",
    "placement",
    "presence",
    "requests",
    "transport",
)


def modules() -> set[str]:
    files = (ROOT / "services/access").rglob("*.py")
    names = {".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files}
    return {name for name in names if not name.endswith(("__init__", "__main__"))}


def imported(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def test_every_module_is_imported_by_a_test_below_integration() -> None:
    files = [file for suite in SUITES for file in (ROOT / suite).rglob("*.py")]
    seen = set().union(*map(imported, files))
    assert sorted(modules() - seen) == []


def test_every_module_of_a_room_has_a_test_of_its_own_where_it_is_looked_for() -> None:
    missing = []
    for name in sorted(modules()):
        room, _, module = name.removeprefix("services.access.").rpartition(".")
        if room in ROOMS:
            file = ROOT / "tests/unit/access" / room / f"test_{module}.py"
            if not file.exists() or name not in imported(file):
                missing.append(name)
    assert missing == []
