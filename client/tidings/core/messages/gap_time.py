"""How long a gap stays open before what is missing is asked for: as long as pushes are late just now. Pure.

A number or a seq is often missed only because its push is slower than what told of it: the answer to a send of our own,
a pong, a push that went another way. Who asks at once asks for what is on its way, and makes a server that is late
already later. So the time is learned, as TCP learns when to send again.

Guarantees: between `FLOOR_S` and the ceiling, which is `CEILING_S`, or a heartbeat if that is shorter; so a push that
is really lost is asked for within the ceiling, unless pages before it brought nothing. Without samples it is `FLOOR_S`,
and what was measured longer than `FRESH_S` ago counts no more. One gap for each key is measured at a time, and
at most `LATE_MAX` of those that a page has closed.

Source: RFC 6298. A smoothed time and its deviation, with its gains; the time is the first and four times the second.
`FLOOR_S` is the granularity of its rule 2.3, so that times that hardly differ leave room all the same. What is
measured:

- how long gaps stayed open that frames of the server closed by themselves;
- for a gap that a page closed: when its push came after all. (Karn's rule would have no sample here, since it is not
  known what closed the gap; but a push that came behind the page tells that asking was needless, as in RFC 3522.)
- from a send to its answer: a page would take as long, and it is known before the first gap.

With each gap that a page had to close the time doubles (rule 5.5), until a push shows again how late pushes are; with
each page that brought nothing it doubles beyond the ceiling, up to `PATIENCE_MAX_S`.

Does not know: what gaps are (feed.py tells), and the wire.
"""

from __future__ import annotations

from dataclasses import dataclass

FLOOR_S = 0.2
CEILING_S = 3.0
PATIENCE_MAX_S = 15.0
FRESH_S = 60.0
LATE_MAX = 64
GAIN = 1 / 8
DEVIATION_GAIN = 1 / 4
DEVIATIONS = 4
DOUBLINGS_MAX = 8


@dataclass(slots=True)
class Latency:
    """A smoothed time and its deviation. `at`: when it was measured the last time; None: never."""

    smoothed_s: float = 0.0
    deviation_s: float = 0.0
    at: float | None = None

    def measured(self, took_s: float, now: float) -> None:
        """Takes a sample. Of several within the time itself only the longer count: many at once are one observation."""
        if not self._fresh(now):
            self.smoothed_s, self.deviation_s = took_s, took_s / 2
        elif self.at is not None and now - self.at < self.smoothed_s and took_s <= self.smoothed_s:
            return
        else:
            self.deviation_s += DEVIATION_GAIN * (abs(took_s - self.smoothed_s) - self.deviation_s)
            self.smoothed_s += GAIN * (took_s - self.smoothed_s)
        self.at = now

    def bound_s(self, now: float) -> float:
        """What the time rarely exceeds; 0: nothing is known."""
        return self.smoothed_s + max(FLOOR_S, DEVIATIONS * self.deviation_s) if self._fresh(now) else 0.0

    def _fresh(self, now: float) -> bool:
        return self.at is not None and now - self.at <= FRESH_S


@dataclass(frozen=True, slots=True)
class Gap:
    """Something up to `upto` is missing since `since`."""

    upto: int
    since: float


class GapTime:
    """The keys are the feed's: the inbox, or a conversation."""

    def __init__(self) -> None:
        self._ceiling_s = CEILING_S
        self._pushes = Latency()
        self._answers = Latency()
        self._open: dict[str, Gap] = {}
        self._late: dict[str, Gap] = {}  # a page closed them; their pushes may still come
        self._unproven = 0  # gaps that pages closed since the last push that told something

    def wait_s(self, now: float, fruitless: int = 0) -> float:
        """How long to wait from now; `fruitless`: the pages in a row that brought nothing."""
        learned_s = max(FLOOR_S, self._pushes.bound_s(now), self._answers.bound_s(now))
        wait_s = min(learned_s * 2.0 ** min(self._unproven, DOUBLINGS_MAX), self._ceiling_s)
        return min(wait_s * 2.0 ** min(fruitless, DOUBLINGS_MAX), PATIENCE_MAX_S) if fruitless else wait_s

    def begin(self, heartbeat_s: float) -> None:
        """A connection began: what was under way on another one tells nothing here."""
        self._ceiling_s = max(FLOOR_S, min(CEILING_S, heartbeat_s))
        self._open.clear()
        self._late.clear()
        self._unproven = 0

    def answered(self, took_s: float, now: float) -> None:
        """A send was answered."""
        self._answers.measured(min(took_s, self._ceiling_s), now)

    def opened(self, key: str, upto: int, now: float) -> None:
        """A gap is seen. One that is open already goes on."""
        self._open.setdefault(key, Gap(upto, now))

    def upto(self, key: str) -> int | None:
        """What is measured here; None: nothing."""
        gap = self._open.get(key)
        return gap.upto if gap is not None else None

    def closed(self, key: str, now: float) -> None:
        """By a frame that nobody asked for."""
        gap = self._open.pop(key, None)
        if gap is not None:
            self._came(now - gap.since, now)

    def fetched(self, key: str) -> None:
        """A page closed it."""
        gap = self._open.pop(key, None)
        if gap is None:
            return
        self._unproven += 1
        if len(self._late) >= LATE_MAX:
            del self._late[next(iter(self._late))]
        self._late.setdefault(key, gap)

    def dropped(self, key: str) -> None:
        """Nothing is missing there any more, for other reasons."""
        self._open.pop(key, None)
        self._late.pop(key, None)

    def came_in_order(self, key: str) -> None:
        """A push that nothing had to wait for: those before it, had they not been lost, would have come."""
        self._unproven = 0
        self._late.pop(key, None)

    def came_again(self, key: str, place: int, now: float) -> None:
        """A push of what was here already."""
        gap = self._late.get(key)
        if gap is not None and gap.upto <= place:
            del self._late[key]
            self._came(now - gap.since, now)

    def _came(self, took_s: float, now: float) -> None:
        self._unproven = 0
        self._pushes.measured(min(took_s, self._ceiling_s), now)
