"""Where the entry of a message of long ago must be, if it is there: a binary search over the numbers of one inbox.

An entry has the time of its message, and times ascend with numbers, but for a few: what a take-over settled late stands
among what is newer, and the clocks of nodes differ a little. So each probe reads PROBE entries in a row, of which the
one in the middle of their times decides, and the place that is found is SLACK_MS early.

    TimeSearch ──▶ probe: this span ──▶ learn(page) ──▶ … ──▶ probe is None ──▶ place

Guarantees: pure; the number of probes is that of the digits of the inbox's length, in base two.
Does not know: whether the entry is there; from `place` on it is to be searched.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.storage.repository.records import InboxEntry, Span

PROBE = 15
SLACK_MS = 10_000


class TimeSearch:
    """A search in one user's inbox for one time, between the numbers `first` and `last`."""

    __slots__ = ("_high", "_low", "_probed", "_user", "_wanted_ms")

    def __init__(self, user: str, time_ms: int, first: int, last: int) -> None:
        self._user = user
        self._wanted_ms = time_ms - SLACK_MS
        # The first entry that is not older is not below `_low` and not above `_high`.
        self._low, self._high = first, last + 1
        self._probed = 0

    @property
    def place(self) -> int:
        """The entry has no lower number, as far as is known now."""
        return self._low

    @property
    def probe(self) -> Span | None:
        """What to read now; None: the place is found."""
        if self._high - self._low <= PROBE:
            return None
        self._probed = (self._low + self._high) // 2
        return Span(self._user, after=self._probed - 1, limit=PROBE)

    def learn(self, page: Sequence[InboxEntry]) -> None:
        """Takes the page that the probe read. If nothing is there, it was removed meanwhile: what is wanted comes
        later.
        """
        times = sorted(entry.time_ms for entry in page)
        if times and times[len(times) // 2] >= self._wanted_ms:
            self._high = self._probed
        else:
            self._low = self._probed + 1
