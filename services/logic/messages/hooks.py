"""The hook before a send: who waits for the endpoint's decision, for how long, and what becomes of those without one.

    offer ──▶ waiting ──▶ a call (`calls_max` at once, `batch_max` messages each) ──▶ decided
                 └──── two time limits are over, or the endpoint is away ──▶ `when_away` decides

A breaker: after FAILURES_MAX calls in a row without a usable answer the endpoint is not waited for. One message at a
time, `probe_interval_s` after the last failure, is still offered to it, as a probe; the others are decided by
`when_away` at once. The first answer ends that.

Guarantees: every message that is offered is decided exactly once, its content (as it was, or changed) or the error that
its sender gets, after two time limits at most, however many wait. An answer for one message that cannot be used
concerns that message alone.

Does not know: permissions (asked before), storage, the order of conversations (hooked_sends.py). A retry of a message
asks again.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from services.common.scope import Owned, TaskScope
from services.common.telemetry import logs, metrics
from services.common.telemetry.health import Health
from services.logic.messages.hook_endpoint import Away, Candidate, Decision, HookEndpoint, Unusable
from tidings_protocol.errors import TidingsError, Unavailable

CHECK = "hook"
AWAY_RETRY_MS = 1000
FAILURES_MAX = 3
# Each probe costs its sender a time limit.
PROBE_INTERVAL_S = 1.0

log = logs.get_logger(__name__)

HookVerdict = bytes | TidingsError
Decided = Callable[[HookVerdict], None]


@dataclass(slots=True, eq=False)
class _Asked:
    """A message that waits; `deadline` by the event loop's clock."""

    candidate: Candidate
    decided: Decided
    deadline: float
    is_open: bool = True


@dataclass(frozen=True, slots=True)
class HookOptions:
    """How long messages wait for the endpoint, and how they come to it.

    `timeout_s`: of one call. `when_away`: whether messages without a decision are stored. `batch_max`: messages of one
    call; `calls_max`: calls at once. `probe_interval_s`: between two probes of an endpoint that is away.
    """

    timeout_s: float
    when_away: Literal["allow", "refuse"]
    batch_max: int
    calls_max: int
    probe_interval_s: float = PROBE_INTERVAL_S


class Hooks(Owned):
    """Offers messages to the endpoint while this context, which enters the endpoint too, is entered."""

    def __init__(self, endpoint: HookEndpoint, health: Health, options: HookOptions) -> None:
        self._endpoint = endpoint
        self._health = health
        self._options = options
        self._probe_at = 0.0
        self._waiting: deque[_Asked] = deque()
        self._expiring: deque[_Asked] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._working = 0
        self._failures = 0
        self._probing = False
        self._degraded = False
        self._scope = TaskScope()

    async def _running(self) -> AsyncIterator[None]:
        self._health.set(CHECK, ok=True)
        try:
            async with self._endpoint, self._scope:
                try:
                    yield
                finally:
                    if self._timer is not None:
                        self._timer.cancel()
        finally:
            stopping = Unavailable("this node is stopping: try again, another one will answer")
            for asked in self._expiring:
                _decide(asked, stopping)

    @property
    def is_away(self) -> bool:
        """The breaker is open: only probes are asked about."""
        return self._failures >= FAILURES_MAX

    def offer(self, candidate: Candidate, decided: Decided) -> None:
        """Has a message decided: `decided` gets the verdict, later or from within this call."""
        loop = asyncio.get_running_loop()
        asked = _Asked(candidate, decided, loop.time() + 2 * self._options.timeout_s)
        if self.is_away and (self._probing or self._waiting or loop.time() < self._probe_at):
            self._give_up([asked], "it does not answer")
            return
        while self._expiring and not self._expiring[0].is_open:
            self._expiring.popleft()
        self._waiting.append(asked)
        self._expiring.append(asked)
        if self._timer is None:
            self._timer = loop.call_at(asked.deadline, self._expire)
        if self._working < self._options.calls_max:
            self._working += 1
            self._scope.spawn(self._work(), name="hook calls")

    # ---- calls

    async def _work(self) -> None:
        try:
            while part := self._take():
                await self._ask_part(part)
        finally:
            self._working -= 1

    def _take(self) -> list[_Asked]:
        """The next call's messages."""
        part: list[_Asked] = []
        while self._waiting and len(part) < self._options.batch_max:
            asked = self._waiting.popleft()
            if asked.is_open:
                part.append(asked)
        return part

    async def _ask_part(self, part: Sequence[_Asked]) -> None:
        begun = time.perf_counter()
        is_probe = self.is_away
        self._probing |= is_probe
        outcome = "away"
        try:
            async with asyncio.timeout(self._options.timeout_s):
                decisions = await self._endpoint.ask([asked.candidate for asked in part])
        except (Away, TimeoutError) as error:
            self._failures += 1
            self._probe_at = asyncio.get_running_loop().time() + self._options.probe_interval_s
            self._give_up(part, str(error) or f"no answer within {self._options.timeout_s:g} s")
        except Exception:  # the edge where a defect of the call becomes that of its messages alone
            log.exception("hook call failed", messages=len(part))
            self._give_up(part, "the call failed because of a defect; the log of the node has the details")
        else:
            outcome = "answered"
            self._failures = 0
            self._take_decisions(part, decisions)
        finally:
            if is_probe:
                self._probing = False
        metrics.HOOK_SECONDS.labels(outcome).observe(time.perf_counter() - begun)
        if self.is_away:
            waiting, self._waiting = self._waiting, deque()
            self._give_up(waiting, "it does not answer")

    def _take_decisions(self, part: Sequence[_Asked], decisions: Sequence[Decision]) -> None:
        unusable = False
        for asked, decision in zip(part, decisions, strict=True):
            if isinstance(decision, Unusable):
                unusable = True
                self._give_up([asked], decision.reason)
            else:
                _decide(asked, decision)
        if self._degraded and not unusable:
            self._degraded = False
            self._health.set(CHECK, ok=True)
            log.info("hook is back")

    # ---- without a decision

    def _expire(self) -> None:
        """Gives up messages whose time is over; all have the same time, so they stand in its order."""
        loop = asyncio.get_running_loop()
        late: list[_Asked] = []
        while self._expiring and (self._expiring[0].deadline <= loop.time() or not self._expiring[0].is_open):
            late.append(self._expiring.popleft())
        self._give_up(late, f"no turn and answer within {2 * self._options.timeout_s:g} s")
        self._timer = loop.call_at(self._expiring[0].deadline, self._expire) if self._expiring else None

    def _give_up(self, asked: Sequence[_Asked], reason: str) -> None:
        """Decides by `when_away` about those that nobody has decided about."""
        undecided = [each for each in asked if each.is_open]
        if not undecided:
            return
        if not self._degraded:
            self._degraded = True
            self._health.set(
                CHECK,
                ok=False,
                reason=f"the hook is away ({reason}): see to the endpoint that hook_url names",
                degraded=True,
            )
            log.warning("hook is away", reason=reason, policy=self._options.when_away)
        if self._options.when_away == "allow":
            metrics.HOOK_UNSEEN.inc(len(undecided))
        refusal = Unavailable(
            "the check of messages does not answer: send again with the same client_id", AWAY_RETRY_MS
        )
        for each in undecided:
            _decide(each, each.candidate.content if self._options.when_away == "allow" else refusal)


def _decide(asked: _Asked, verdict: HookVerdict) -> None:
    if asked.is_open:
        asked.is_open = False
        asked.decided(verdict)
