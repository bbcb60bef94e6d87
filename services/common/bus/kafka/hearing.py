"""Whether a consumer hears Kafka: what its polls show, and when it is of no more use.

A broker that has nothing still answers each fetch, twice a second, and that moves the time of the last fetch. aiokafka
tells nobody that no broker answers it: its polls end empty, as those of a quiet topic do. It goes on asking at the
addresses that it learned last, also when Kafka is back under others.

Guarantees: pure. A consumer whose fetches are answered is never lost, however quiet its topic is. Whether it is lost
follows from the number of its polls and not from a clock: a process that stood still loses nothing by that.

Does not know: why Kafka is not heard.
"""

from __future__ import annotations


class Hearing:
    """Of one subscription, through all its consumers. Times are of the caller's clock, which never goes back."""

    __slots__ = ("_asked_s", "_fetched_ms", "_heard_s", "_unanswered", "_unanswered_max")

    def __init__(self, unanswered_max: int) -> None:
        """`unanswered_max`: with so many empty polls in a row, and no fetch answered, a consumer is lost."""
        self._unanswered_max = unanswered_max
        self._unanswered = 0
        self._fetched_ms = 0
        self._heard_s = 0.0
        self._asked_s: float | None = None

    def ask(self, now_s: float) -> None:
        """Somebody waits for records from now on."""
        self._asked_s = now_s

    def stop_asking(self) -> None:
        """Nobody waits: the reader is busy with what it got, and Kafka is not to blame."""
        self._asked_s = None

    def begin(self) -> None:
        """Polls are of a new consumer from now on, which is not lost yet."""
        self._unanswered = 0

    def poll(self, fetched_ms: int, now_s: float, *, empty: bool = True) -> None:
        """A poll has ended. `fetched_ms`: when a fetch was last answered, as the consumer says; 0: never yet. One
        answer may hold enough records for many polls; only empty ones count."""
        answered = fetched_ms not in (0, self._fetched_ms)
        if answered:
            self._fetched_ms, self._heard_s = fetched_ms, now_s
        self._unanswered = self._unanswered + 1 if empty and not answered else 0

    def quiet_s(self, now_s: float) -> float:
        """How long somebody has waited without an answer to a fetch."""
        return 0.0 if self._asked_s is None else now_s - max(self._heard_s, self._asked_s)

    @property
    def is_lost(self) -> bool:
        """Whether the consumer should be made anew, from the addresses that the settings name."""
        return self._unanswered >= self._unanswered_max
