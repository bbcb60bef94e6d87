"""docs/security.md names only tests that there are, so that no defence is claimed that nothing shows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def named_in(file: Path) -> set[str]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.parse(file.read_text(encoding="utf-8")).body if isinstance(node, functions)}


def test_every_test_that_the_page_names_exists() -> None:
    named = set(NAMED.findall(PAGE))
    assert len(named) > 40
    missing = [f"{file}::{name}" for file, name in sorted(named) if name not in named_in(ROOT / file)]
    assert missing == []


def test_nothing_on_the_page_looks_like_a_test_and_is_not_checked() -> None:
    assert PAGE.count("::test_") == len(NAMED.findall(PAGE))


def test_every_setting_that_the_page_names_exists() -> None:
    configuration = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for name in ("tls_terminated_upstream", "plaintext_backends", "kafka_security", "frame_bytes_max", "otlp_endpoint"):
        assert name in PAGE
        assert f"`{name}`" in configuration
