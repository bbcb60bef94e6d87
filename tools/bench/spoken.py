"""What a process of the load generator says to the one that started it: a JSON document a line, on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any


def say(document: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()
