"""Sends that the hook is asked about: each conversation goes on as soon as its own verdicts are there.

    send ──▶ permit ──▶ hook ─ ─ ▶ the conversation's queue ──▶ lanes: store, publish ──▶ outcome
                                     (what is first there and has its verdict goes on)

A call of an access node is answered after `patience_s`: what is not decided by then is `pending`, goes on all the same,
and its outcome is there when the node asks again with the same item. So one slow answer of the hook holds up nobody but
those who speak in that conversation after it.

Guarantees: messages of one conversation are stored in the order in which they came here, whatever order the verdicts
come in. An item that is asked for again while it is under way is the same one. At most `held_max` are under way or wait
to be asked for; outcomes that nobody asks for are forgotten after KEPT_S.

Does not know: what permission, storing and telling are (sender.py), what the hook is (hooks.py).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from protos.tidings.internal.v1 import logic_pb2
from services.common.lanes.lane import Lanes
from services.common.rpc.faults import to_fault
from services.common.scope import Owned
from services.common.telemetry import tracing
from services.logic.messages.draft import SendDraft, outcome_of
from services.logic.messages.hook_endpoint import Candidate
from services.logic.messages.hooks import Hooks, HookVerdict
from tidings_protocol.errors import Forbidden, Overloaded, TidingsError, Unavailable
from tidings_protocol.ids import hash64

KEPT_S: Final = 10.0
LANES: Final = 2
BATCH_MAX: Final = 256
OVERLAP_MIN: Final = 32

Work = Callable[[Sequence[SendDraft]], Awaitable[None]]
PENDING: Final = logic_pb2.SendOutcome(pending=True)


class SendKey(NamedTuple):
    """What an item is known again by. A client id names a message or a change: storage refuses whichever is second."""

    conversation: str
    sender: str
    client_id: str
    is_change: bool


class _Held:
    """One message. `watchers` are called once, when the outcome is there."""

    __slots__ = ("draft", "is_decided", "key", "outcome", "watchers")

    def __init__(self, key: SendKey, draft: SendDraft) -> None:
        self.key = key
        self.draft = draft
        self.is_decided = False
        self.outcome: logic_pb2.SendOutcome | None = None
        self.watchers: list[Callable[[], None]] = []


class HookedSends(Owned):
    """An async context manager: leaving it stores what is decided, and refuses what is not."""

    def __init__(self, hooks: Hooks, permit: Work, finish: Work, *, held_max: int, patience_s: float) -> None:
        """`permit` sets each draft's error or fan-out; `finish` stores and tells those without an error."""
        self._hooks = hooks
        self._permit = permit
        self._finish = finish
        self._held_max = held_max
        self._patience_s = patience_s
        self._held: dict[SendKey, _Held] = {}
        self._queues: dict[str, deque[_Held]] = {}
        self._finished: deque[tuple[float, SendKey]] = deque()
        self._lanes: Lanes[_Held, logic_pb2.SendOutcome] = Lanes(
            "hooked", self._handle, lanes=LANES, capacity=held_max, batch_max=BATCH_MAX, overlap_min=OVERLAP_MIN
        )

    async def _running(self) -> AsyncIterator[None]:
        async with self._lanes:
            yield

    async def send(self, items: Sequence[logic_pb2.SendItem], *, holds: bool) -> list[logic_pb2.SendOutcome]:
        """An outcome for each item, in their order. `holds`: the asker knows `pending`; else the answer waits for all.

        A cancellation ends the wait alone: what was offered to the hook goes on.
        """
        self._forget_old()
        asked = [self._of(item) for item in items]
        fresh = [held for held, is_fresh in asked if is_fresh and isinstance(held, _Held)]
        if fresh:
            await self._begin(fresh)
        found = [held for held, _ in asked]
        waiting = [held for held in found if isinstance(held, _Held) and held.outcome is None]
        if waiting and (fresh or not holds):
            await self._wait(waiting, self._patience_s if holds else None)
        return [self._taken(held) for held in found]

    def review(self, candidate: Candidate, refused: Callable[[], object]) -> None:
        """Has the hook asked about what is stored already; `refused` is called if it refuses that."""

        def hear(verdict: HookVerdict) -> None:
            if isinstance(verdict, Forbidden):
                refused()

        self._hooks.offer(candidate, hear)

    def _of(self, item: logic_pb2.SendItem) -> tuple[_Held | TidingsError, bool]:
        """The message, and whether it is new."""
        key = SendKey(item.conversation, item.sender, item.client_id, bool(item.special.change))
        held = self._held.get(key)
        if held is not None:
            return held, False
        if len(self._held) >= self._held_max:
            return Overloaded("too many messages wait for the check of messages: try again"), False
        held = self._held[key] = _Held(key, SendDraft(item))
        self._queues.setdefault(item.conversation, deque()).append(held)
        return held, True

    async def _begin(self, fresh: Sequence[_Held]) -> None:
        try:
            await self._permit([held.draft for held in fresh])
        except BaseException:
            for held in fresh:
                self._decide(held, Unavailable("this was not done: send again with the same client_id"))
            raise
        for held in fresh:
            if held.draft.error is not None:
                self._decide(held, held.draft.error)
            elif not held.draft.asks_hook:
                self._decide(held)
            else:
                self._hooks.offer(_candidate(held), partial(self._hear, held))

    def _hear(self, held: _Held, verdict: HookVerdict) -> None:
        """Takes what the hook says of a message."""
        draft = held.draft
        if isinstance(verdict, TidingsError):
            draft.is_vetoed = isinstance(verdict, Forbidden)
            self._decide(held, verdict)
            return
        if verdict != draft.content:
            draft.alter(verdict)
        self._decide(held)

    def _decide(self, held: _Held, error: TidingsError | None = None) -> None:
        held.draft.error = error
        held.is_decided = True
        conversation = held.key.conversation
        queue = self._queues[conversation]
        while queue and queue[0].is_decided:
            self._go_on(queue.popleft())
        if not queue:
            del self._queues[conversation]

    def _go_on(self, held: _Held) -> None:
        try:
            self._lanes.offer(hash64(held.key.conversation), held, partial(self._done, held))
        except TidingsError as refusal:
            self._done(held, refusal)

    async def _handle(self, batch: list[_Held]) -> list[logic_pb2.SendOutcome]:
        traces = (held.draft.item.trace for held in batch)
        with tracing.batch("logic send", traces, items=len(batch)):
            await self._finish([held.draft for held in batch])
        return [outcome_of(held.draft) for held in batch]

    def _done(self, held: _Held, outcome: logic_pb2.SendOutcome | TidingsError) -> None:
        held.outcome = _answer(outcome)
        self._finished.append((asyncio.get_running_loop().time(), held.key))
        for watcher in held.watchers:
            watcher()
        held.watchers.clear()

    async def _wait(self, waiting: Sequence[_Held], patience_s: float | None) -> None:
        left = len(waiting)
        all_done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def one_less() -> None:
            nonlocal left
            left -= 1
            if not left and not all_done.done():
                all_done.set_result(None)

        for held in waiting:
            held.watchers.append(one_less)
        try:
            async with asyncio.timeout(patience_s):
                await all_done
        except TimeoutError:
            return

    def _taken(self, held: _Held | TidingsError) -> logic_pb2.SendOutcome:
        if isinstance(held, TidingsError):
            return _answer(held)
        if held.outcome is None:
            return PENDING
        if self._held.get(held.key) is held:
            del self._held[held.key]
        return held.outcome

    def _forget_old(self) -> None:
        """Drops outcomes that nobody has asked for."""
        before = asyncio.get_running_loop().time() - KEPT_S
        while self._finished and self._finished[0][0] < before:
            _, key = self._finished.popleft()
            held = self._held.get(key)
            if held is not None and held.outcome is not None:
                del self._held[key]


def _candidate(held: _Held) -> Candidate:
    draft, item = held.draft, held.draft.item
    act, seq = (draft.act, draft.change.seq) if draft.change is not None else ("", 0)
    return Candidate(item.conversation, item.sender, item.client_id, draft.content, act, seq)


def _answer(outcome: logic_pb2.SendOutcome | TidingsError) -> logic_pb2.SendOutcome:
    return logic_pb2.SendOutcome(fault=to_fault(outcome)) if isinstance(outcome, TidingsError) else outcome
