"""Sends that logic has not decided yet: the operator's check of messages takes its time, or does not answer.

Logic answers the calls of the lanes at once, with `pending` for what waits for the check; those are kept here, in their
order, and asked about again every POLL_S. So a message that waits holds up no lane, only what comes after it in its
own conversation: that is kept here too, so that it cannot pass it, whichever logic node is asked.

Guarantees: what is taken gets its outcome exactly once, within GIVEN_UP_S and a call; messages of one conversation are
asked about in the order in which they were taken. At most `capacity` are kept; one more is refused.

Does not know: what is checked.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Final, Protocol, Self

from protos.tidings.internal.v1 import logic_pb2
from services.common.scope import TaskScope
from tidings_protocol.errors import Overloaded, TidingsError, Unavailable

POLL_S: Final = 0.02
GIVEN_UP_S: Final = 10.0

Outcome = logic_pb2.SendOutcome | TidingsError
Ask = Callable[[Sequence[logic_pb2.SendItem]], Awaitable[Sequence[Outcome]]]


class Sent(Protocol):
    """A send under way; `answer` is for good."""

    @property
    def item(self) -> logic_pb2.SendItem: ...

    def answer(self, outcome: Outcome) -> None: ...


class Held:
    """An async context manager; leaving it answers what waits as UNAVAILABLE."""

    def __init__(self, ask: Ask, *, capacity: int, batch_max: int) -> None:
        self._ask = ask
        self._capacity = capacity
        self._batch_max = batch_max
        self._waiting: list[tuple[Sent, float]] = []
        self._conversations: Counter[str] = Counter()
        self._polling = False
        self._scope = TaskScope()

    async def __aenter__(self) -> Self:
        await self._scope.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._scope.__aexit__(kind, error, traceback)
        finally:
            waiting, self._waiting = self._waiting, []
            for sent, _ in waiting:
                sent.answer(Unavailable("this node is stopping: send again with the same client_id"))

    def holds(self, conversation: str) -> bool:
        """Whether what comes there now must wait behind another message."""
        return conversation in self._conversations

    def take(self, sent: Sent) -> None:
        """Asks until there is an outcome. Raises Overloaded."""
        if len(self._waiting) >= self._capacity:
            raise Overloaded("too many messages wait for the check of messages: send again with the same client_id")
        self._waiting.append((sent, asyncio.get_running_loop().time() + GIVEN_UP_S))
        self._conversations[sent.item.conversation] += 1
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
        asked = list(self._waiting)
        left: list[tuple[Sent, float]] = []
        for start in range(0, len(asked), self._batch_max):
            part = asked[start : start + self._batch_max]
            outcomes = await self._ask([sent.item for sent, _ in part])
            left += [each for each, outcome in zip(part, outcomes, strict=True) if self._is_left(*each, outcome)]
        # What was taken meanwhile is behind those that were asked about.
        self._waiting = left + self._waiting[len(asked) :]

    def _is_left(self, sent: Sent, given_up: float, outcome: Outcome) -> bool:
        if not isinstance(outcome, TidingsError) and outcome.pending:
            if asyncio.get_running_loop().time() < given_up:
                return True
            outcome = Unavailable("the check of messages does not answer: send again with the same client_id")
        conversation = sent.item.conversation
        self._conversations[conversation] -= 1
        if not self._conversations[conversation]:
            del self._conversations[conversation]
        sent.answer(outcome)
        return False
