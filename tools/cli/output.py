"""Where a command's words go: results to standard output, everything else to standard error; JSON alone with --json."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape

results = Console(highlight=False, soft_wrap=True)
notes = Console(stderr=True, highlight=False, soft_wrap=True)


def put_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def safe(text: str) -> str:
    """What a stranger wrote, for a terminal: no colours, no markup, nothing that moves the cursor or sets the title."""
    return escape("".join(sign if sign.isprintable() or sign == "\n" else "\N{REPLACEMENT CHARACTER}" for sign in text))
