"""How much work a call is, without a clock: the bytecode instructions that Python runs for it.

Guarantees: the same code does the same number on one version of Python, on any machine, under any load. Does not see
what C code does, and versions of Python differ by some tenths: a bound needs room for them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def instructions(call: Callable[[], object]) -> int:
    """The instructions of the second call: the first fills what is made once."""
    call()
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        del argument
        if event == "call":
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
        elif event == "opcode":
            count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def each(make: Callable[[int], Callable[[], object]], few: int = 10, many: int = 110) -> float:
    """The instructions for one thing among many: `make` gives the call that handles so many of them."""
    return (instructions(make(many)) - instructions(make(few))) / (many - few)
