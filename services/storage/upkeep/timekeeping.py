"""The time of day as the database has it: one for the whole cluster, whatever the clock of a node says.

    measured at the start and every MEASURE_S; in between, the node's monotonic clock goes on from there

Guarantees: a node whose clock is wrong, or is set while it runs, gives messages the same times as the others. Who
removes things by their age asks `is_trusted` first: the time is not, while the node's clock and the database's differ
by minutes, because nobody knows which of them is right, nor for a day after the database's has jumped under a running
node.
Does not know: whether the database is right, if it was wrong all the time.
"""

from __future__ import annotations

import asyncio

from services.common.clock import Clock
from services.common.telemetry import logs, metrics
from services.storage.repository.contract import TimeRepository
from tidings_protocol.errors import TidingsError

MEASURE_S = 60.0
# From here on the two clocks differ by more than what networks and daemons for the time explain.
LEAD_TRUSTED_MS = 120_000
# How long the database's clock must go evenly after it has jumped.
EVEN_S = 24 * 3600.0

log = logs.get_logger(__name__)


class Timekeeper:
    """A Clock. `measure` it once before it is asked for the time of day."""

    def __init__(self, clock: Clock, database: TimeRepository) -> None:
        self._clock = clock
        self._database = database
        self._measured_ms = 0.0
        self._at_s: float | None = None
        self._jumped_s = -EVEN_S
        self.lead_ms = 0

    @property
    def is_trusted(self) -> bool:
        """The clocks of this node and of the database agree, and the database's has not jumped of late."""
        return abs(self.lead_ms) <= LEAD_TRUSTED_MS and self._clock.now_s() - self._jumped_s >= EVEN_S

    def now_s(self) -> float:
        return self._clock.now_s()

    def wall_ms(self) -> int:
        return round(self._measured_ms + (self._clock.now_s() - (self._at_s or 0.0)) * 1000)

    async def measure(self) -> None:
        """Asks the database for its time of day. Raises Unavailable."""
        asked_s = self._clock.now_s()
        now_ms = await self._database.now_ms()
        was_trusted = self.is_trusted
        at_s = (asked_s + self._clock.now_s()) / 2
        if self._at_s is not None:
            expected_ms = self._measured_ms + (at_s - self._at_s) * 1000
            if abs(now_ms - expected_ms) > LEAD_TRUSTED_MS:
                self._jumped_s = at_s
        self._at_s, self._measured_ms = at_s, float(now_ms)
        self.lead_ms = self._clock.wall_ms() - self.wall_ms()
        metrics.CLOCK_LEAD.set(self.lead_ms / 1000)
        if was_trusted and not self.is_trusted:
            log.warning("the time of day is in doubt", lead_s=self.lead_ms / 1000, jumped=self._jumped_s == at_s)

    async def run(self) -> None:
        """Measures every MEASURE_S seconds, until it is cancelled."""
        while True:
            await asyncio.sleep(MEASURE_S)
            try:
                await self.measure()
            except TidingsError as error:
                log.debug("the time could not be measured", error=error.message)
