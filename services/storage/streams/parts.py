"""Parts of streams, as their senders give them, behind one another.

A part 0 puts nothing there: whoever writes a stream asks by it for the text so far.

    call ──▶ the lane ──▶ documents of what is not in memory, or in doubt ──▶ judged, put behind the text ──▶ outcomes

Guarantees: outcomes are aligned with the items; the parts of one stream are taken in the order of offering. A part that
was taken is in memory, and in the document soon (keeper.py): a node that dies loses what it took last, and the next one
asks for it. A stream that has ended takes no part.
Does not know: who may send there (logic), who is told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from protos.tidings.internal.v1 import storage_pb2
from services.common.clock import Clock
from services.common.lanes.lane import Lanes
from services.storage.folding.contents import is_stream
from services.storage.folding.shown import folded_state, state_of
from services.storage.limits import Limits
from services.storage.repository.contract import Repository
from services.storage.repository.records import NORMAL, MessageKey, StoredMessage
from services.storage.streams.memory import OpenStreams
from tidings_protocol.errors import BadRequest, Forbidden, NotFound, Overloaded, Recalled, TidingsError

PartItem = storage_pb2.PartItem
PartOutcome = storage_pb2.PartOutcome

_LANE: Final = 0  # there is one


class Part(NamedTuple):
    """A part, and how long the whole text may be."""

    item: PartItem
    content_bytes_max: int

    @property
    def key(self) -> MessageKey:
        return self.item.conversation, self.item.seq


class PartTaker:
    def __init__(self, repository: Repository, streams: OpenStreams, clock: Clock, limits: Limits) -> None:
        self._repository = repository
        self._streams = streams
        self._clock = clock
        self.lanes: Lanes[Part, PartOutcome] = Lanes(
            "parts", self._handle, lanes=1, capacity=limits.lane_capacity, batch_max=limits.batch_max
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The lane runs until this is left, which handles what waits."""
        async with self.lanes:
            yield

    async def take(self, items: Sequence[PartItem], content_bytes_max: int) -> list[PartOutcome | TidingsError]:
        """Takes parts; outcomes are aligned with the items. If this is cancelled, they are taken all the same."""
        return await self.lanes.submit_all([(_LANE, Part(item, content_bytes_max)) for item in items])

    async def _handle(self, batch: list[Part]) -> list[PartOutcome | TidingsError]:
        unsure = self._streams.unsure(part.key for part in batch)
        found = await self._repository.messages.get(unsure) if unsure else {}
        open_ = [key for key in unsure if key in found and found[key].kind == NORMAL]
        ended = set(self._streams.learn(open_, found))
        outcomes: list[PartOutcome | TidingsError] = []
        for part in batch:
            try:
                outcomes.append(self._take(part, found.get(part.key), has_ended=part.key in ended))
            except TidingsError as error:
                outcomes.append(error)
        return outcomes

    def _take(self, part: Part, message: StoredMessage | None, *, has_ended: bool) -> PartOutcome:
        item, stream = part.item, self._streams.get(part.key)
        if has_ended and message is not None:
            return self._after_the_end(item, message)
        if stream is None:
            raise NotFound(f"there is no message {item.seq} whose text could grow: give the seq of one that is there")
        if stream.sender != item.sender:
            raise _not_yours()
        if not item.part:
            return PartOutcome(had=True, parts=stream.parts, text=stream.text)
        if self._streams.is_full:
            raise Overloaded("too much text waits for its end on this node: send this part again after the time given")
        size = stream.size
        taken = stream.take(item.part, item.text, part.content_bytes_max, self._clock.now_s())
        self._streams.grown(stream.size - size)
        return PartOutcome(had=not taken)

    def _after_the_end(self, item: PartItem, message: StoredMessage) -> PartOutcome:
        if message.sender != item.sender:
            raise _not_yours()
        state = state_of(message, self._clock.wall_ms())
        if state is not None and state.recalled_by:
            raise Recalled(f"message {item.seq} is recalled: its text does not grow any more")
        if not is_stream(message.content):
            raise BadRequest(f"message {item.seq} is no stream: edit it")
        if 0 < item.part <= folded_state(message).state.parts:
            return PartOutcome(had=True)
        raise BadRequest(f"the stream of message {item.seq} has ended already: edit the message")


def _not_yours() -> Forbidden:
    return Forbidden("this message is somebody else's: only its sender goes on with it")
