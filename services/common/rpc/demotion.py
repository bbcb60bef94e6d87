"""Nodes that failed lately, and until when each is left alone: a value.

    failed, failed, failed … ──▶ left alone for 1 s, 2 s, 4 s, 8 s, 8 s …        answered ──▶ forgotten

Guarantees: pure; the time doubles with each failure in a row up to `max_s` and ends with the first answer. What is kept
is of nodes that are alive when one fails.

Does not know: what a failure is, what is done with a node that is left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

FIRST_S = 1.0
MAX_S = 8.0


class _Failures(NamedTuple):
    in_a_row: int
    until_s: float


_NONE = _Failures(0, 0.0)


class Demotions:
    """By boot id; times in seconds of the caller's clock, which never goes back. False while no node failed lately."""

    __slots__ = ("_failures", "_first_s", "_max_s")

    def __init__(self, first_s: float = FIRST_S, max_s: float = MAX_S) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._failures: dict[str, _Failures] = {}

    def __bool__(self) -> bool:
        return bool(self._failures)

    @property
    def boots(self) -> frozenset[str]:
        """The boots that did not answer since they failed, left alone or not."""
        return frozenset(self._failures)

    def holds(self, boot_id: str, now_s: float) -> bool:
        """Whether this node is left alone now."""
        return self._failures.get(boot_id, _NONE).until_s > now_s

    def answered(self, boot_id: str) -> None:
        """Forgets the node's failures."""
        self._failures.pop(boot_id, None)

    def failed(self, boot_id: str, now_s: float, alive: Callable[[str], bool]) -> None:
        """Counts one more failure in a row; what is known of boots that are not `alive` is forgotten."""
        in_a_row = self._failures.get(boot_id, _NONE).in_a_row
        left_alone_s = min(self._first_s * 2.0 ** min(in_a_row, 32), self._max_s)
        self._failures = {boot: kept for boot, kept in self._failures.items() if alive(boot)}
        self._failures[boot_id] = _Failures(in_a_row + 1, now_s + left_alone_s)
