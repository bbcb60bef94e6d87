"""What strangers wrote is shown in an operator's terminal and does nothing to it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tools.cli.output import safe


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("a phone", "a phone"),
        ("two\nlines", "two\nlines"),
        ("[red]no[/red] [link=http://x]markup[/link]", "[red]no[/red] [link=http://x]markup[/link]"),
        ("\x1b]0;title\x07\x1b[2J", "�]0;title��[2J"),
        ("a\rb\x9b31mc\u202ed", "a�b�31mc�d"),
    ],
)
def test_neither_markup_nor_control_characters_pass(written: str, shown: str) -> None:
    out = io.StringIO()
    Console(file=out, force_terminal=True, width=200).print(safe(written), highlight=False)
    assert out.getvalue() == shown + "\n"
