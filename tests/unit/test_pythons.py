"""The code does the same on all supported Pythons: what the older ones do otherwise is not relied on."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("client", "services", "tests", "tidings_server", "tools")


def test_nothing_is_raised_in_an_except_star() -> None:
    """Below 3.11.4 it would come in a new group, which who waits for it does not know."""
    found = [
        f"{path.relative_to(ROOT)}:{raised.lineno}"
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        for handler in handlers(path.read_text())
        for raised in ast.walk(handler)
        if isinstance(raised, ast.Raise) and raised.exc is not None
    ]
    assert found == []


def handlers(text: str) -> list[ast.ExceptHandler]:
    """Those of each `except*`."""
    return [handler for node in ast.walk(ast.parse(text)) if isinstance(node, ast.TryStar) for handler in node.handlers]


def test_an_except_star_that_raises_is_seen() -> None:
    (handler,) = handlers("try:\n    pass\nexcept* OSError as errors:\n    raise errors.exceptions[0]\n")
    assert any(isinstance(node, ast.Raise) for node in ast.walk(handler))
