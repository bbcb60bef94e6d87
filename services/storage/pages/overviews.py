"""The order of each user's conversations: read from the database, kept for who has many and asks again.

    memberships ─▶ times of the documents ─▶ newest inbox entries ─▶ large groups from their owners ─▶ Places

Documents may lag by the interval of writing behind; a user's inbox never does, and its entries have the times of their
messages; those of CHANGEs are quiet, and move nothing. So an overview is the documents, corrected by the newest
entries; and one that is kept needs only the entries since: a page costs what the page is, whatever the number of
conversations.

Guarantees: everything that the user is a member of is in it, perhaps something that the user has left. Reading many
gives way to others after each step. What is kept is bounded in all, and read anew after KEPT_S.
Does not know: what is in a conversation, who owns which user.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from protos.tidings.internal.v1 import storage_pb2
from services.common.clock import Clock
from services.common.rpc.spread import spread
from services.storage.limits import LEAD_MAX_MS, READ_MAX, Limits
from services.storage.messages.conversations import ConversationStore
from services.storage.owners.peers import StoragePeers
from services.storage.pages.places import Place, Places
from services.storage.repository.contract import Repository
from services.storage.repository.records import ConversationDocument, Span
from tidings_protocol.errors import TidingsError

# Conversations in one question to another node.
ASK_MAX = 5000
# Newest entries of an inbox that correct the documents.
TAIL = 200
# Entries since an overview was read: with more it is read anew.
FRESH_MAX = 2000
# How long an overview is kept.
KEPT_S = 600.0


@dataclass(slots=True)
class Overview:
    """A user's conversations as of the inbox entry `number`, and the time when they were asked for."""

    places: Places
    number: int
    now_ms: int
    read_s: float


class Newest(NamedTuple):
    """The head of a conversation, and the time of its last message."""

    head: int
    last_ms: int


NOTHING = Newest(0, 0)


class Overviews:
    def __init__(
        self,
        repository: Repository,
        conversations: ConversationStore,
        peers: StoragePeers,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._repository = repository
        self._conversations = conversations
        self._peers = peers
        self._clock = clock
        self._limits = limits
        self._kept: OrderedDict[str, Overview] = OrderedDict()

    async def overview_of(self, user: str) -> Overview:
        """The order of the user's conversations as of now. Raises Unavailable."""
        now_ms = self._clock.wall_ms()
        overview = self._kept.get(user)
        if overview is None or not await self._is_fresh(user, overview):
            overview = await self._read(user)
        for place in await self.large_places(user):
            overview.places.move(place.conversation, min(place.last_ms, now_ms))
        overview.now_ms = now_ms
        self._keep(user, overview)
        return overview

    async def large_places(self, user: str) -> list[Place]:
        """The large groups of a user, and b:all, with the times of their last messages."""
        found = await self._repository.members.memberships([user], large_only=True)
        documents, warm = await self.present([member.conversation for member in found.get(user, ())])
        return [
            Place(max(document.last_ms, warm.get(key, NOTHING).last_ms), key)
            for key, document in documents.items()
            if not document.dissolved
        ]

    async def present(self, ids: Sequence[str]) -> tuple[dict[str, ConversationDocument], dict[str, Newest]]:
        """The documents of these conversations, and what is newest in those that their owners have in memory."""
        documents: dict[str, ConversationDocument] = {}
        for start in range(0, len(ids), READ_MAX):
            documents.update(await self._repository.conversations.load(ids[start : start + READ_MAX]))
        return documents, await self._warm(list(documents))

    async def _is_fresh(self, user: str, overview: Overview) -> bool:
        """Brings the overview up to the present. Whether that was possible: if not, it must be read anew."""
        if self._clock.now_s() > overview.read_s + KEPT_S:
            return False
        (entries,) = await self._repository.inboxes.pages([Span(user, after=overview.number, limit=FRESH_MAX + 1)])
        if len(entries) > FRESH_MAX or (entries and entries[0].number > overview.number + 1):
            return False
        now_ms = self._clock.wall_ms()
        for entry in entries:
            if not entry.quiet:
                overview.places.move(entry.conversation, min(entry.time_ms, now_ms))
            overview.number = max(overview.number, entry.number)
        return True

    async def _read(self, user: str) -> Overview:
        read_s, now_ms = self._clock.now_s(), self._clock.wall_ms()
        # First: what comes after it is found by its number.
        (newest,) = await self._repository.inboxes.pages([Span(user, limit=TAIL, descending=True)])
        ids = await self._repository.members.joined(user)
        places = Places()
        for start in range(0, len(ids), READ_MAX):
            times = await self._repository.conversations.times(ids[start : start + READ_MAX])
            places.fill(times.items())
        places.sort()
        for entry in newest:
            if (
                not entry.quiet and entry.time_ms <= now_ms + LEAD_MAX_MS
            ):  # else some clock was wrong, and the document knows better
                places.move(entry.conversation, min(entry.time_ms, now_ms), known_only=True)
        return Overview(places, newest[0].number if newest else 0, 0, read_s)

    def _keep(self, user: str, overview: Overview) -> None:
        self._kept.pop(user, None)
        if len(overview.places) >= self._limits.list_places_min:
            self._kept[user] = overview
        while sum(len(each.places) for each in self._kept.values()) > self._limits.list_places_max:
            self._kept.popitem(last=False)

    async def _warm(self, ids: Sequence[str]) -> dict[str, Newest]:
        """What is newest in those that their owners have in memory."""
        warm = await spread(ids, ids, self._peers.owner_of, self._warm_at)
        return {key: newest for key, newest in zip(ids, warm, strict=True) if newest is not None}

    async def _warm_at(self, owner: str | None, _slot: int, keys: list[str]) -> list[Newest | None]:
        if owner is None:
            here = map(self._conversations.memory.peek, keys)
            return [None if cached is None else Newest(cached.head, cached.last_ms) for cached in here]
        newest: list[Newest | None] = []
        for start in range(0, len(keys), ASK_MAX):
            newest += await self._ask(owner, keys[start : start + ASK_MAX])
        return newest

    async def _ask(self, owner: str, keys: Sequence[str]) -> Sequence[Newest | None]:
        try:
            heads = await self._peers.heads(owner, storage_pb2.KeyBatch(keys=keys, warm_only=True))
        except TidingsError:
            return [None] * len(keys)  # the documents say it, a few seconds late
        return list(map(Newest, heads.heads, heads.times_ms))
