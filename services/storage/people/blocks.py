"""Blocks: who takes no messages from whom.

The blocks are documents of their own. The owner of a direct chat has in memory who blocks there, from its load on, so
that a plain message costs nothing; after a change the chat is forgotten there, and loaded again with the next message.

Guarantees: who is told that a block is made finds it in force at the owner of the chat; an owner that cannot be told is
told again, and the caller hears that the outcome is not known. A user blocks at most BLOCKS_MAX: one request of a user
after the other is decided here, so only while two nodes serve one user may there be some more.
Does not know: what the blocked may do all the same (messages/, folding/).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from protos.tidings.internal.v1 import storage_pb2
from services.common.clock import Clock
from services.common.lanes.lane import Lanes
from services.common.scope import run_all
from services.storage.limits import Limits
from services.storage.memory.write_behind import WriteBehind
from services.storage.messages.conversations import ConversationStore
from services.storage.owners.invalidation import OwnerInvalidation
from services.storage.owners.peers import StoragePeers
from services.storage.repository.contract import Repository
from services.storage.repository.people import BlockKey
from tidings_protocol.errors import BadRequest, TidingsError
from tidings_protocol.ids import SLOTS, direct, hash64, slot_of

BlockItem = storage_pb2.BlockItem
BlockOutcome = storage_pb2.BlockOutcome

BLOCKS_MAX: Final = 1000
# Requests of one batch: their users are served at the same time.
BATCH_MAX: Final = 16


class BlockStore:
    def __init__(
        self,
        repository: Repository,
        conversations: ConversationStore,
        behind: WriteBehind,
        peers: StoragePeers,
        invalidation: OwnerInvalidation,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._repository = repository
        self._conversations = conversations
        self._behind = behind
        self._peers = peers
        self._invalidation = invalidation
        self._clock = clock
        self.lanes: Lanes[BlockItem, BlockOutcome] = Lanes(
            "block", self._handle, lanes=1, capacity=limits.lane_capacity, batch_max=BATCH_MAX
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The lanes run until this is left, which does what waits."""
        async with self.lanes:
            yield

    async def block(self, items: Sequence[BlockItem]) -> list[BlockOutcome | TidingsError]:
        """Makes or ends blocks; aligned with the items. Unavailable: it is not known whether, or not in force yet.

        If this is cancelled, it is done all the same.
        """
        return await self.lanes.submit_all([(hash64(item.user) // SLOTS, item) for item in items])

    async def blocked(self, items: Sequence[storage_pb2.BlockedItem]) -> list[storage_pb2.BlockedOutcome]:
        """Since when each user blocks each of the others; aligned. Raises Unavailable."""
        keys = {BlockKey(item.user, other) for item in items for other in item.users}
        found = await self._repository.blocks.find(keys)
        return [
            storage_pb2.BlockedOutcome(since_ms=[found.get(BlockKey(item.user, other), 0) for other in item.users])
            for item in items
        ]

    async def listed(self, items: Sequence[storage_pb2.BlockListItem]) -> list[storage_pb2.BlockListOutcome]:
        """A page of whom each user blocks, by user id; aligned. Raises Unavailable."""
        return await run_all(*(self._page(item) for item in items))

    async def _page(self, item: storage_pb2.BlockListItem) -> storage_pb2.BlockListOutcome:
        limit = min(item.limit or BLOCKS_MAX, BLOCKS_MAX)
        users = await self._repository.blocks.page(item.user, item.after, limit + 1)
        return storage_pb2.BlockListOutcome(users=users[:limit], more=len(users) > limit)

    async def _handle(self, batch: list[BlockItem]) -> list[BlockOutcome | TidingsError]:
        by_user: dict[str, list[int]] = {}
        for index, item in enumerate(batch):
            by_user.setdefault(item.user, []).append(index)
        outcomes: dict[int, BlockOutcome | TidingsError] = {}

        async def of_user(indexes: Sequence[int]) -> None:
            for index in indexes:
                try:
                    await self._change(batch[index])
                    outcomes[index] = BlockOutcome()
                except TidingsError as error:
                    outcomes[index] = error

        await run_all(*(of_user(indexes) for indexes in by_user.values()))
        return [outcomes[index] for index in range(len(batch))]

    async def _change(self, item: BlockItem) -> None:
        keys = [BlockKey(item.user, other) for other in dict.fromkeys(item.users)]
        if item.blocked:
            await self._check_room(item.user, keys)
            await self._repository.blocks.put(keys, self._clock.wall_ms())
        else:
            await self._repository.blocks.remove(keys)
        # Also of those that were so: whoever repeats a request may be the first to get through to the owners.
        await self._forget([direct(*key) for key in keys])

    async def _check_room(self, user: str, keys: Sequence[BlockKey]) -> None:
        there = await self._repository.blocks.find(keys)
        new = len(keys) - len(there)
        if new and len(await self._repository.blocks.page(user, "", BLOCKS_MAX)) + new > BLOCKS_MAX:
            raise BadRequest(f"a user blocks at most {BLOCKS_MAX} others: end some blocks first")

    async def _forget(self, chats: Sequence[str]) -> None:
        """Has the owners of these chats load them again. Raises what one of them answers, or that it does not."""
        by_owner: dict[str | None, list[str]] = {}
        for chat in chats:
            by_owner.setdefault(self._peers.owner_of(slot_of(chat)), []).append(chat)
        mine = by_owner.pop(None, [])
        if mine:
            await self._behind.flush()
            await self._conversations.forget(mine)
        await run_all(*(self._tell(owner, theirs) for owner, theirs in by_owner.items() if owner is not None))

    async def _tell(self, owner: str, chats: Sequence[str]) -> None:
        try:
            await self._peers.forget(owner, storage_pb2.ForgetBatch(conversations=chats))
        except TidingsError:
            self._invalidation.wrote_conversations(chats)
            raise
