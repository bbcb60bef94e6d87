"""Erases what is left of messages whose time is over. They are shown as recalled from that moment on, whatever this has
come to.

    over ──▶ no longer pinned
    over for `margin_s` ──▶ no longer pinned ──▶ noted: their reactions are to go ──▶ what their CHANGEs say is gone
        ──▶ content and mentions are gone, the state says by whom (`~expiry`) ──▶ who hears of recalls is told

Guarantees: a message whose time is over leaves what is pinned at the next sweep, and all of it is erased within a
minute, or as soon as MongoDB is there again and its clock is trusted.
Nothing is folded into it any more, not even by a node that finds an unfinished change later. What was pinned is looked
at twice: a round that was under way might have written it once more. Repeating any of it does no harm.
Does not know: how expired messages are shown (folding/shown.py), counted, listed (pages/).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from protos.tidings.internal.v1 import storage_pb2
from services.common.telemetry import logs, metrics
from services.storage.folding.recalls import Recalls
from services.storage.folding.shown import EXPIRY, folded_state
from services.storage.memory.conversations import ConversationMemory
from services.storage.owners.peers import StoragePeers
from services.storage.repository.contract import Repository
from services.storage.repository.reactions import AheadSet
from services.storage.repository.records import MAX_NUMBER, Erasure, Fold, MessageKey, StoredMessage
from services.storage.upkeep.timekeeping import Timekeeper
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import slot_of

INTERVAL_S: Final = 2.0
# Documents of one command.
STEP: Final = 500

log = logs.get_logger(__name__)


class ExpirySweep:
    def __init__(
        self,
        repository: Repository,
        memory: ConversationMemory,
        peers: StoragePeers,
        time: Timekeeper,
        recalls: Recalls,
        *,
        margin_s: float,
    ) -> None:
        """`recalls`: who hears of them, and of these too. `margin_s`: so long a change may take that was allowed just
        before its message was over.
        """
        self._repository = repository
        self._memory = memory
        self._peers = peers
        self._time = time
        self._recalls = recalls
        self._margin_ms = round(margin_s * 1000)

    async def run(self) -> None:
        """Sweeps every INTERVAL_S, until it is cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                await self.sweep()
            except TidingsError as error:
                log.warning("messages whose time is over are erased later", error=error.message)

    async def sweep(self) -> int:
        """Erases what is due and this node's; how many messages. Raises Unavailable."""
        erased = 0
        while self._time.is_trusted:
            now_ms = self._time.wall_ms()
            due = await self._repository.expiry.due(now_ms, STEP)
            own = [each for each in due if self._peers.owner_of(slot_of(each.conversation)) is None]
            left = [each for each in own if each.expires_ms <= now_ms - self._margin_ms]
            await self._unpin([_key(each) for each in own[len(left) :] if self._may_be_pinned(each)])
            done = await self._erase(left) if left else []
            erased += len(done)
            if len(due) < STEP or not done:
                break
        return erased

    async def _erase(self, messages: Sequence[StoredMessage]) -> list[MessageKey]:
        """Erases these; those with which it is done."""
        keys = [_key(each) for each in messages]
        states = {key: folded_state(each).state for key, each in zip(keys, messages, strict=True)}
        pinned = [key for key in keys if states[key].pinned or self._is_pinned(key)]
        await self._unpin(pinned)
        left = [each for each in messages if not states[each.conversation, each.seq].recalled_by]
        if left:
            losing = [each for each in left if states[each.conversation, each.seq].reactions]
            if losing:
                # Before the state says that there are none: as at a recall (folding/writer.py).
                sets = [AheadSet(each.conversation, each.seq, each.sender) for each in losing]
                await self._repository.reactions.mark(sets, [])
            await self._repository.messages.erase([_of_changes(each) for each in left])
            await self._repository.messages.fold(
                [_gone(each, states[each.conversation, each.seq].revision) for each in left]
            )
            self._recalls.tell([(each.conversation, each.seq) for each in losing])
            metrics.EXPIRED.inc(len(left))
        done = [key for key in keys if key not in pinned]
        await self._repository.expiry.done(done)
        return done

    def _may_be_pinned(self, message: StoredMessage) -> bool:
        """Whether it is; of a conversation that is not in memory, its own state alone says so."""
        if self._memory.peek(message.conversation) is None:
            return folded_state(message).state.pinned
        return self._is_pinned(_key(message))

    def _is_pinned(self, key: MessageKey) -> bool:
        conversation = self._memory.peek(key[0])
        return conversation is not None and key[1] in conversation.document.pinned

    async def _unpin(self, keys: Sequence[MessageKey]) -> None:
        if not keys:
            return
        await self._repository.expiry.unpin(keys)
        for key, seq in keys:
            if conversation := self._memory.peek(key):
                document = conversation.document
                conversation.document = replace(document, pinned=tuple(each for each in document.pinned if each != seq))


def _key(message: StoredMessage) -> MessageKey:
    return message.conversation, message.seq


def _of_changes(message: StoredMessage) -> Erasure:
    """All that its CHANGEs say."""
    return Erasure(message.conversation, message.seq, MAX_NUMBER, contents=True, everything=True)


def _gone(message: StoredMessage, revision: int) -> Fold:
    state = client_pb2.State(revision=revision, recalled_by=EXPIRY)
    encoded = storage_pb2.FoldedState(state=state).SerializeToString()
    # No CHANGE has a higher one.
    return Fold(message.conversation, message.seq, MAX_NUMBER, encoded, b"", ends=True)
