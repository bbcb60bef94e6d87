"""Where a command's words go: results to standard output, everything else to standard error; JSON alone with --json."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console

results = Console(highlight=False, soft_wrap=True)
notes = Console(stderr=True, highlight=False, soft_wrap=True)


def put_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    sys.stdout.flush()
