"""Held sends: those that logic has not decided yet, since the operator's check of messages takes its time, and those
that must not pass what went another way.

Logic answers the calls of the lanes at once, with `pending` for each send that waits for the check. Those sends are
kept here, in their order, and asked about again every POLL_S. So a send that waits holds up no lane, only the sends
that come after it in its own conversation: they are kept here too, so that they cannot pass it, whichever logic node is
asked.

Guarantees: a send that is taken gets its outcome exactly once, within GIVEN_UP_S and a call. Sends of one conversation
are asked about in the order in which they were taken. At most `capacity` are kept; one more is refused.

Does not know: what is checked.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, Protocol

from protos.tidings.internal.v1 import logic_pb2
from services.common.scope import Owned, TaskScope
from tidings_protocol.errors import Overloaded, TidingsError, Unavailable

POLL_S: Final = 0.02
GIVEN_UP_S: Final = 10.0

Outcome = logic_pb2.SendOutcome | TidingsError
Ask = Callable[[Sequence[logic_pb2.SendItem]], Awaitable[Sequence[Outcome]]]
# Whether something must have its outcome before this is asked about.
Early = Callable[[logic_pb2.SendItem], bool]


class HeldSend(Protocol):
    """A send that is under way; `answer` gives it its outcome for good."""

    @property
    def item(self) -> logic_pb2.SendItem: ...

    def answer(self, outcome: Outcome) -> None: ...


class HeldSends(Owned):
    """Asks `ask` again while it is entered; leaving it answers the sends that wait with UNAVAILABLE."""

    def __init__(self, ask: Ask, *, capacity: int, batch_max: int, early: Early) -> None:
        self._ask = ask
        self._early = early
        self._capacity = capacity
        self._batch_max = batch_max
        self._waiting: list[tuple[HeldSend, float]] = []
        self._conversations: Counter[str] = Counter()
        self._polling = False
        self._scope = TaskScope()

    async def _running(self) -> AsyncIterator[None]:
        try:
            async with self._scope:
                yield
        finally:
            waiting, self._waiting = self._waiting, []
            for send, _ in waiting:
                send.answer(Unavailable("this node is stopping: send again with the same client_id"))

    def __len__(self) -> int:
        return len(self._waiting)

    def holds(self, conversation: str) -> bool:
        """Whether a send to this conversation must wait behind another one."""
        return conversation in self._conversations

    def take(self, send: HeldSend) -> None:
        """Keeps the send and asks about it until it has an outcome. Raises Overloaded."""
        if len(self._waiting) >= self._capacity:
            raise Overloaded("too many messages wait for the check of messages: send again with the same client_id")
        self._waiting.append((send, asyncio.get_running_loop().time() + GIVEN_UP_S))
        self._conversations[send.item.conversation] += 1
        if not self._polling:
            self._polling = True
            self._scope.spawn(self._poll(), name="sends that are held")

    async def _poll(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(POLL_S)
                await self._ask_all()
        finally:
            self._polling = False

    async def _ask_all(self) -> None:
        asked = self._timely()
        done: set[int] = set()  # by their ids, which are theirs as long as they wait
        for start in range(0, len(asked), self._batch_max):
            part = asked[start : start + self._batch_max]
            outcomes = await self._ask([send.item for send, _ in part])
            for (send, given_up), outcome in zip(part, outcomes, strict=True):
                if not self._is_left(send, given_up, outcome):
                    done.add(id(send))
        self._waiting = [entry for entry in self._waiting if id(entry[0]) not in done]

    def _timely(self) -> list[tuple[HeldSend, float]]:
        """Those that may be asked about now: what is early holds up what comes behind it in its conversation."""
        now, blocked = asyncio.get_running_loop().time(), set[str]()
        timely: list[tuple[HeldSend, float]] = []
        for send, given_up in self._waiting:
            item = send.item
            if item.conversation in blocked or (now < given_up and self._early(item)):
                blocked.add(item.conversation)
            else:
                timely.append((send, given_up))
        return timely

    def _is_left(self, send: HeldSend, given_up: float, outcome: Outcome) -> bool:
        if not isinstance(outcome, TidingsError) and outcome.pending:
            if asyncio.get_running_loop().time() < given_up:
                return True
            outcome = Unavailable("the check of messages does not answer: send again with the same client_id")
        conversation = send.item.conversation
        self._conversations[conversation] -= 1
        if not self._conversations[conversation]:
            del self._conversations[conversation]
        send.answer(outcome)
        return False
