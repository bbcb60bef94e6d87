"""The package of the protocol depends on protobuf and xxhash alone."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import tidings_protocol

FOLDER = Path(tidings_protocol.__file__).parent
FILES = sorted(FOLDER.rglob("*.py"))
ALLOWED = {"google.protobuf", "xxhash", "tidings_protocol"}
OPTIONAL = {"wire/json/text.py": {"msgspec"}}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "an import names its package"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_a_module_imports_nothing_but_the_standard_library_protobuf_and_xxhash(path: Path) -> None:
    allowed = ALLOWED | OPTIONAL.get(path.relative_to(FOLDER).as_posix(), set())
    for name in imported(path):
        parents = {name.rsplit(".", count)[0] for count in range(name.count(".") + 1)}
        assert parents & allowed or name.split(".")[0] in sys.stdlib_module_names, name
