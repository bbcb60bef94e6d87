"""One turn of the store lane: what became of a batch of calls, changes, loads.

    calls ──▶ plain rows: one insert (plain_turn.py)
        └──▶ the other rows ┐
    messages, changes ──────┴──▶ rounds (write_round.py): of each conversation at most one change, which is the last
    what is to be in memory ───▶ is loaded

Guarantees: what is done to one conversation in a turn is done in the order of the batch. Plain rows go first: whatever
came before one of them in its conversation makes that row a row like others. If a plain turn fails, all of its rows go
the general way. What the two ways say of memory is done before anybody has an outcome.
Does not know: lanes, the wire.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from protos.tidings.internal.v1 import storage_pb2
from services.common.lanes.dividing import divided
from services.common.telemetry import metrics, tracing
from services.storage.events.port import Feed
from services.storage.memory.conversation import CachedConversation
from services.storage.memory.conversations import ConversationMemory
from services.storage.messages.jobs import OwnChange, OwnOutcome
from services.storage.messages.plain_turn import PlainPorts, PlainTurn
from services.storage.messages.store_call import Rows
from services.storage.messages.write_round import RoundPorts, WriteRound
from services.storage.owners.invalidation import OwnerInvalidation
from tidings_protocol.errors import TidingsError, Unavailable
from tidings_protocol.ids import check_conversation

StoreItem = storage_pb2.StoreItem
StoreOutcome = storage_pb2.StoreOutcome
ChangeItem = storage_pb2.ChangeItem
ChangeOutcome = storage_pb2.ChangeOutcome


@dataclass(frozen=True, slots=True)
class Touch:
    """Asks that this conversation is in memory."""

    conversation: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Asks that this conversation is loaded again: another node wrote to it."""

    conversation: str


Single = StoreItem | OwnChange | ChangeItem | Touch | Forget
Work = Rows | Single
SingleOutcome = StoreOutcome | OwnOutcome | ChangeOutcome | CachedConversation
Outcome = Rows | SingleOutcome


class General(NamedTuple):
    """What goes the general way: an item of the batch, at `item`, or the row at `place` of the call that it is of."""

    work: Single
    item: int
    place: int | None = None


class StoreTurns:
    """Handles one batch at a time."""

    def __init__(
        self,
        memory: ConversationMemory,
        plain: PlainPorts,
        rounds: RoundPorts,
        invalidation: OwnerInvalidation,
        feed: Feed,
    ) -> None:
        self._memory = memory
        self._plain = plain
        self._rounds = rounds
        self._invalidation = invalidation
        self._feed = feed

    async def handle(self, batch: Sequence[Work]) -> list[Outcome | TidingsError]:
        """The outcome of each item; that of rows stands in their call."""
        for item in batch:
            if isinstance(item, Forget):
                self._memory.drop(item.conversation)
        with tracing.batch("store", _traces(batch), items=len(batch)):
            general = await self._go_plain(batch)
            outcomes: list[Outcome | TidingsError] = [
                item if isinstance(item, Rows) else _forgotten() for item in batch
            ]
            told = await divided(self._go_general, [each.work for each in general], "Store") if general else ()
            for each, outcome in zip(general, told, strict=True):
                item = batch[each.item]
                if each.place is None:
                    outcomes[each.item] = outcome
                elif isinstance(item, Rows):
                    assert isinstance(outcome, StoreOutcome | TidingsError)
                    item.call.accept(each.place, outcome)
        await self._memory.shrink()
        return outcomes

    # ---- the plain way

    async def _go_plain(self, batch: Sequence[Work]) -> list[General]:
        """Stores the plain rows; what is left, in its order."""
        parts = [item for item in batch if isinstance(item, Rows)]
        left: Sequence[Sequence[int]] = await self._run(batch, parts) if parts else ()
        metrics.STORE_ROWS.labels("plain").inc(sum(len(part.places) for part in parts) - sum(map(len, left)))
        metrics.STORE_ROWS.labels("general").inc(sum(map(len, left)))
        places = iter(left)
        general: list[General] = []
        for at, item in enumerate(batch):
            if isinstance(item, Rows):
                general += [General(item.call.item(place), at, place) for place in next(places)]
            else:
                general.append(General(item, at))
        return general

    async def _run(self, batch: Sequence[Work], parts: Sequence[Rows]) -> Sequence[Sequence[int]]:
        """Runs a plain turn, and does to memory what it says. The places that it left, of each part."""
        taken = {item.conversation for item in batch if isinstance(item, StoreItem | OwnChange | ChangeItem)}
        turn = PlainTurn(self._plain, taken)
        try:
            left = await turn.run(parts)
        except BaseException:
            self._doubt(turn)
            raise
        if left is None:
            self._doubt(turn)
            return [part.places for part in parts]
        self._plain.inboxes.wrote(turn.inboxes)
        self._feed.stored(turn.fed())
        strays = [each.id for each in turn.conversations if not self._memory.wrote(each)]
        self._invalidation.wrote_conversations(strays)
        for key in turn.unsettled:
            self._memory.drop(key)
        return left

    def _doubt(self, turn: PlainTurn) -> None:
        """Nobody knows what was done."""
        written = [each.id for each in turn.conversations]
        for key in written:
            self._memory.drop(key)
        self._invalidation.wrote_conversations(written)
        self._plain.inboxes.doubt([inbox.user for inbox in turn.inboxes])

    # ---- the general way

    async def _go_general(self, works: Sequence[Single]) -> list[SingleOutcome | TidingsError]:
        outcomes: list[SingleOutcome | TidingsError | None] = [None] * len(works)
        indexes = list(range(len(works)))
        while indexes:
            indexes = await self._round(works, indexes, outcomes)
        return [outcome if outcome is not None else _forgotten() for outcome in outcomes]

    async def _round(
        self, works: Sequence[Single], indexes: Sequence[int], outcomes: list[SingleOutcome | TidingsError | None]
    ) -> list[int]:
        """Does what can be done in one round; the indexes of what is left."""
        loaded = await self._load({works[index].conversation for index in indexes})
        work = WriteRound(self._rounds)
        left: list[int] = []
        for index in indexes:
            item = works[index]
            conversation = loaded[item.conversation]
            if isinstance(conversation, TidingsError) or isinstance(item, Touch | Forget):
                outcomes[index] = conversation
            elif not work.add(index, item, conversation):
                left.append(index)
        if work:
            await self._write(work, outcomes)
        return left

    async def _write(self, work: WriteRound, outcomes: list[SingleOutcome | TidingsError | None]) -> None:
        """Runs the round, and does to memory what its result says."""
        self._invalidation.wrote_conversations(work.conversations)
        try:
            result = await work.run()
        except BaseException:
            # Cancelled, or a defect: nobody knows what was done.
            for key in work.conversations:
                self._memory.drop(key)
            raise
        for conversation in result.kept.values():
            self._memory.keep(conversation)
        for key in result.dropped:
            self._memory.drop(key)
        self._feed.stored(result.stored)
        self._feed.changed(result.changed)
        self._feed.loaded(result.kept.values())
        for conversation in result.dirty:
            self._memory.moved(conversation)
        for index, outcome in result.outcomes.items():
            outcomes[index] = outcome

    async def _load(self, ids: set[str]) -> dict[str, CachedConversation | TidingsError]:
        here, absent = self._memory.divide(ids)
        loaded: dict[str, CachedConversation | TidingsError] = {**here}
        cold: list[str] = []
        for key in absent:
            try:
                check_conversation(key)
            except TidingsError as error:
                loaded[key] = error
            else:
                cold.append(key)
        if not cold:
            return loaded
        try:
            found = await self._rounds.loader.load(cold)
        except TidingsError as error:
            return {**loaded, **dict.fromkeys(cold, error)}
        new = [each for each in found.values() if isinstance(each, CachedConversation)]
        for each in new:
            self._memory.keep(each)
        self._feed.loaded(new)
        return {**loaded, **found}


def _traces(batch: Sequence[Work]) -> Iterator[str]:
    for item in batch:
        if isinstance(item, StoreItem):
            yield item.trace
        elif isinstance(item, Rows):
            yield from (item.call.traces[place] for place in item.places)


def _forgotten() -> TidingsError:
    return Unavailable("this was not done: try again")
