"""Looks after open streams: writes their texts, finds those that nobody looks after, and ends those that fell silent.

    every TICK_S     texts that grew ──▶ their documents
                     silent for stream_idle_s ──▶ a `finish` of storage's own ──▶ told
                     what is in doubt ──▶ read: open here, or ended and named no more
    every LOOK_S     what conversations of this node name, and is not known here ──▶ in doubt

Guarantees: a part that was taken is in the document within 2 s, unless MongoDB is away. A stream whose owner died ends
about `stream_idle_s` after its next one has found it, however quiet its conversation is. One end alone is stored,
whoever tries: its client id says so.
Does not know: parts, who takes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from protos.tidings.internal.v1 import logic_pb2, storage_pb2
from services.common.clock import Clock
from services.common.telemetry import logs, metrics
from services.storage.messages.jobs import OwnChange, OwnOutcome
from services.storage.owners.peers import StoragePeers
from services.storage.repository.contract import Repository
from services.storage.streams.memory import OpenStreams
from services.storage.streams.stream import OpenStream
from services.storage.telling.port import Teller, tell_item
from tidings_protocol import client_pb2
from tidings_protocol.content import OWN_PREFIX
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import slot_of

TICK_S: Final = 1.0
LOOK_S: Final = 10.0
# Documents of one command.
PAGE: Final = 100

log = logs.get_logger(__name__)

StoreOutcome = storage_pb2.StoreOutcome


class Conversations(Protocol):
    """What makes changes."""

    async def make(self, changes: Sequence[OwnChange]) -> list[OwnOutcome | TidingsError]: ...


class StreamKeeper:
    def __init__(
        self,
        repository: Repository,
        streams: OpenStreams,
        conversations: Conversations,
        peers: StoragePeers,
        teller: Teller,
        clock: Clock,
        *,
        idle_s: float,
    ) -> None:
        self._repository = repository
        self._streams = streams
        self._conversations = conversations
        self._peers = peers
        self._teller = teller
        self._clock = clock
        self._idle_s = idle_s
        self._look_at_s = 0.0

    async def run(self) -> None:
        """Looks after them until it is cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self.tick()
            except TidingsError as error:
                log.warning("streams are looked after later", error=error.message)

    async def tick(self) -> None:
        """Looks after them once. Raises Unavailable."""
        await self.write()
        await self._end_silent()
        await self._settle_doubts()
        now_s = self._clock.now_s()
        if now_s >= self._look_at_s:
            self._look_at_s = now_s + LOOK_S
            await self.find()

    async def write(self) -> None:
        """Writes what has grown. Raises Unavailable: then the rest is for the next time."""
        grown = [stream for stream in self._streams.all() if stream.is_dirty]
        for start in range(0, len(grown), PAGE):
            part = grown[start : start + PAGE]
            texts = [stream.written_as() for stream in part]
            await self._repository.streams.write(texts)
            for stream, text in zip(part, texts, strict=True):
                stream.written = max(stream.written, text.parts)

    async def leave(self) -> None:
        """Writes what has grown, for the last time."""
        try:
            await self.write()
        except TidingsError as error:
            log.warning("the last parts of streams are not written", error=error.message)

    async def find(self) -> None:
        """Finds streams that conversations of this node name and that are not known here. Raises Unavailable."""
        after = ""
        while page := await self._repository.streams.named(after, PAGE):
            after = page[-1][0]
            named = [(key, seq) for key, seqs in page if self._owns(key) for seq in seqs]
            self._streams.found([key for key in named if self._streams.get(key) is None])

    async def _settle_doubts(self) -> None:
        """Reads the documents of what is in doubt, and leaves to others what is theirs."""
        for stream in self._streams.all():
            if not self._owns(stream.key[0]):
                self._streams.drop(stream.key)
        for start in range(0, len(doubts := self._streams.in_doubt), PAGE):
            keys = doubts[start : start + PAGE]
            ended = self._streams.learn(keys, await self._repository.messages.get(keys))
            if still := [key for key in keys if key not in ended]:
                # One that was found in the log may have been named by nobody.
                await self._repository.streams.name(still)
        if ended := self._streams.ended:
            await self._repository.streams.unname(ended)
            self._streams.unnamed(ended)

    async def _end_silent(self) -> None:
        now_s, now_ms = self._clock.now_s(), self._clock.wall_ms()
        silent = []
        for stream in self._streams.all():
            if 0 < stream.expires_ms <= now_ms:
                self._streams.changed([stream.key])  # it is gone for everybody: there is nothing to end
            elif now_s - stream.used_s >= self._idle_s:
                silent.append(stream)
        if silent:
            outcomes = await self._conversations.make([_end_of(stream) for stream in silent])
            told = [self._ended(each, outcome) for each, outcome in zip(silent, outcomes, strict=True)]
            self._teller.tell([item for item in told if item is not None])

    def _ended(self, stream: OpenStream, made: OwnOutcome | TidingsError) -> logic_pb2.TellItem | None:
        """What is to be told of the end of a silent stream."""
        if isinstance(made, TidingsError):
            log.warning("a silent stream ends later", conversation=stream.key[0], error=made.message)
            return None
        outcome = made.outcome
        if outcome.status == StoreOutcome.FAILED:
            log.warning("a silent stream ends later", conversation=stream.key[0], error=outcome.fault.message)
            return None
        self._streams.changed([stream.key])
        if outcome.status not in {StoreOutcome.STORED, StoreOutcome.DUPLICATE} or not outcome.message:
            return None
        metrics.STREAMS_SILENT.inc()
        return tell_item(stream.key[0], outcome, made.recipients)

    def _owns(self, conversation: str) -> bool:
        return self._peers.owner_of(slot_of(conversation)) is None


def _end_of(stream: OpenStream) -> OwnChange:
    conversation, seq = stream.key
    finish = client_pb2.Change(seq=seq, finish=client_pb2.Change.Finish(parts=stream.parts))
    return OwnChange(conversation, stream.sender, f"{OWN_PREFIX}finish {seq}", finish)
