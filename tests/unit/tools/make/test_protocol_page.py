"""docs/protocol.md has the requests that the table of operations has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidings_protocol.operations import OPERATIONS
from tools.make import protocol_page


def test_the_page_has_the_requests_that_there_are() -> None:
    text = protocol_page.PAGE.read_text(encoding="utf-8")
    assert text == protocol_page.page(text), "run `make docs`"
    assert protocol_page.silent(text) == []
    for operation in OPERATIONS.values():
        assert f"| `{operation.body}` |" in text


def test_a_page_that_differs_is_seen_and_its_notes_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = protocol_page.PAGE.read_text(encoding="utf-8")
    wrong = tmp_path / "protocol.md"
    monkeypatch.setattr(protocol_page, "PAGE", wrong)
    wrong.write_text(right.replace("| `read` | `ok` |", "| `read` | `page` |"), encoding="utf-8")
    assert protocol_page.main(["check"]) == 1
    assert "make docs" in capsys.readouterr().err
    assert protocol_page.main(["write"]) == 0
    assert wrong.read_text(encoding="utf-8") == right


def test_a_request_of_which_nothing_is_said_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "protocol.md"
    monkeypatch.setattr(protocol_page, "PAGE", page)
    lines = protocol_page.page(protocol_page.HEAD + "| `read` | `ok` | a position |\n\nThe rest.")
    page.write_text(lines, encoding="utf-8")
    assert protocol_page.main(["check"]) == 1
    told = capsys.readouterr().err.strip().partition(": ")[2].split(", ")
    assert "sync" in told
    assert "read" not in told
