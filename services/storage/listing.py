"""Conversations for those who ask: one by id (load), or all of a user (list), as they are now.

A list is sorted by the last activity. Documents may lag by the interval of writing behind, so what the owners have in
memory counts more: all of the user's conversations are asked for at once, and those of the page are loaded.

Guarantees: heads and cursors of a page are not behind anything that was answered before; a message is shown as the last
one only to who may read it.
Does not know: who may ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from protos.tidings.internal.v1 import storage_pb2
from services.common.errors import BadRequest, TidingsError, Unavailable, to_fault
from services.common.ids import ConversationKind, kind_of, other_of, slot_of
from services.storage.batches import together
from services.storage.conversations import Conversations
from services.storage.made import Made
from services.storage.neighbours import Neighbours
from services.storage.paging import bytes_for, encode
from services.storage.repository.contract import Repository
from services.storage.repository.records import MemberDocument, MemberKey, OpKey
from services.storage.state import Conversation, Member

LoadItem = storage_pb2.LoadItem
LoadOutcome = storage_pb2.LoadOutcome
ConversationsItem = storage_pb2.ConversationsItem
ConversationsOutcome = storage_pb2.ConversationsOutcome
Entry = storage_pb2.ConversationEntry

LIMIT_MAX = 200
# Conversations in one question to another node.
ASK_MAX = 5000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a conversation stands in its user's list: newest first, then by id."""

    last_ms: int
    conversation: str

    def __lt__(self, other: Place) -> bool:
        return (-self.last_ms, self.conversation) < (-other.last_ms, other.conversation)

    def __str__(self) -> str:
        return f"{self.last_ms}~{self.conversation}"

    @staticmethod
    def parse(text: str) -> Place:
        """Raises BadRequest for what is no `next` of an earlier page."""
        last_ms, _, conversation = text.partition("~")
        if not last_ms.isdigit() or not conversation:
            raise BadRequest("`after` must be the `next` of an earlier page")
        return Place(int(last_ms), conversation)


class Listing:
    def __init__(self, repository: Repository, conversations: Conversations, neighbours: Neighbours) -> None:
        self._repository = repository
        self._conversations = conversations
        self._neighbours = neighbours
        self._made = Made(repository)

    async def load(self, items: Sequence[LoadItem]) -> list[LoadOutcome]:
        """Aligned with the items."""
        found = await self._conversations.get({item.conversation for item in items})
        await self._look_up(items, found)
        made = await self._made.find([_op_of(item) for item in items if item.op])
        outcomes: list[LoadOutcome] = []
        for item in items:
            conversation = found[item.conversation]
            try:
                if isinstance(conversation, TidingsError):
                    raise conversation
                outcome = await self._loaded(conversation, item)
                if item.op and (change := made.get(_op_of(item))) is not None:
                    outcome.made.CopyFrom(change)
                outcomes.append(outcome)
            except TidingsError as error:
                outcomes.append(LoadOutcome(fault=to_fault(error)))
        return outcomes

    async def load_anywhere(self, items: Sequence[LoadItem]) -> list[LoadOutcome]:
        """The same, each from its owner; from here if that does not answer. Aligned."""
        groups: dict[str | None, list[int]] = {}
        for index, item in enumerate(items):
            groups.setdefault(self._neighbours.owner_of(slot_of(item.conversation)), []).append(index)
        outcomes: dict[int, LoadOutcome] = {}

        async def load_group(owner: str | None, indexes: list[int]) -> None:
            part = [items[index] for index in indexes]
            found: Sequence[LoadOutcome] | None = None
            if owner is not None:
                try:
                    found = (await self._neighbours.load(owner, storage_pb2.LoadBatch(items=part))).outcomes
                except TidingsError:
                    found = None
            if found is None:
                found = await self.load(part)
            outcomes.update(zip(indexes, found, strict=True))

        await together(*(load_group(owner, indexes) for owner, indexes in groups.items()))
        return [outcomes[index] for index in range(len(items))]

    async def pages(self, items: Sequence[ConversationsItem]) -> list[ConversationsOutcome]:
        """Aligned with the items."""
        bytes_max = bytes_for(0, len(items))
        outcomes: list[ConversationsOutcome] = []
        for item in items:
            try:
                outcomes.append(await self._list_one(item, min(item.bytes_max or bytes_max, bytes_max)))
            except TidingsError as error:
                outcomes.append(ConversationsOutcome(fault=to_fault(error)))
        return outcomes

    async def large_of(self, users: Sequence[str]) -> dict[str, list[storage_pb2.ConversationRecord]]:
        """The large groups of each user, and b:all once it has a message, as they are now."""
        memberships = await self._repository.members.memberships(users, large_only=True)
        ids = list(dict.fromkeys(member.conversation for found in memberships.values() for member in found))
        loaded = await self.load_anywhere([LoadItem(conversation=key, narrow=True) for key in ids])
        records = dict(zip(ids, loaded, strict=True))
        for outcome in loaded:
            if outcome.HasField("fault"):
                raise Unavailable(outcome.fault.message, outcome.fault.retry_after_ms)
        return {
            user: [records[each.conversation].record for each in found if records[each.conversation].record.head]
            for user, found in memberships.items()
        }

    async def _look_up(self, items: Sequence[LoadItem], found: Mapping[str, Conversation | TidingsError]) -> None:
        """Members of large groups that are asked for and not in memory, with one command."""
        missing: dict[MemberKey, Conversation] = {}
        for item in items:
            conversation = found[item.conversation]
            if isinstance(conversation, Conversation) and conversation.exists and not conversation.knows_all:
                for user in item.users:
                    if user not in conversation.members:
                        missing[MemberKey(conversation.id, user)] = conversation
        if missing:
            for key, document in (await self._repository.members.find(missing.keys())).items():
                missing[key].learn(document)

    async def _loaded(self, conversation: Conversation, item: LoadItem) -> LoadOutcome:
        outcome = LoadOutcome(record=conversation.record())
        if not conversation.exists:
            return outcome
        if item.narrow or not conversation.knows_all:
            known = (conversation.members.get(user) for user in dict.fromkeys(item.users))
            outcome.members.extend(member.record() for member in known if member is not None)
            if item.successor and not conversation.knows_all:
                await self._add_successor(outcome, item)
        elif item.known_version and item.known_version == conversation.document.version:
            outcome.unchanged = True
        else:
            outcome.members.extend(member.record() for member in conversation.members.values())
        return outcome

    async def _add_successor(self, outcome: LoadOutcome, item: LoadItem) -> None:
        """Who follows the owner, if one of those asked for is the owner."""
        owner = next((member.user for member in outcome.members if member.role == _OWNER), "")
        if not owner:
            return
        outcome.successor = await self._repository.members.successor(item.conversation, owner)
        if outcome.successor and all(member.user != outcome.successor for member in outcome.members):
            conversation = (await self._conversations.get([item.conversation]))[item.conversation]
            if isinstance(conversation, Conversation):
                known = await self._conversations.loader.lookup(conversation, [outcome.successor])
                outcome.members.extend(member.record() for member in known.values())

    async def _list_one(self, item: ConversationsItem, bytes_max: int) -> ConversationsOutcome:
        found = await self._repository.members.memberships([item.user], large_only=item.large_only)
        mine = {member.conversation: member for member in found.get(item.user, ())}
        places = await self._places(list(mine))
        if item.after:
            after = Place.parse(item.after)
            places = [place for place in places if after < place]
        limit = min(item.limit or LIMIT_MAX, LIMIT_MAX)
        page = places[:limit]
        entries, done = await self._page(item, [mine[place.conversation] for place in page], bytes_max)
        return ConversationsOutcome(
            entries=entries,
            next=str(page[done - 1]) if page else item.after,
            more=done < len(page) or len(places) > limit,
        )

    async def _places(self, ids: list[str]) -> list[Place]:
        """All of these, newest first."""
        documents = await self._repository.conversations.load(ids)
        warm = await self._warm(ids)
        return sorted(Place(max(document.last_ms, warm.get(key, 0)), key) for key, document in documents.items())

    async def _warm(self, ids: list[str]) -> dict[str, int]:
        """The times of the last messages that their owners have in memory."""
        groups: dict[str | None, list[str]] = {}
        for key in ids:
            groups.setdefault(self._neighbours.owner_of(slot_of(key)), []).append(key)
        times: dict[str, int] = {}
        for owner, keys in groups.items():
            for start in range(0, len(keys), ASK_MAX):
                part = keys[start : start + ASK_MAX]
                if owner is None:
                    warm = ((key, self._conversations.peek(key)) for key in part)
                    times.update({key: each.last_ms for key, each in warm if each is not None})
                    continue
                try:
                    batch = storage_pb2.KeyBatch(keys=part, warm_only=True)
                    times.update(zip(part, (await self._neighbours.heads(owner, batch)).times_ms, strict=True))
                except TidingsError:
                    continue  # the documents say it, a few seconds late
        return times

    async def _page(
        self, item: ConversationsItem, mine: Sequence[MemberDocument], bytes_max: int
    ) -> tuple[list[Entry], int]:
        """The entries of these conversations, and how many of these that covers before the bytes run out."""
        loaded = await self.load_anywhere([_load_item(item.user, member.conversation) for member in mine])
        last = {} if item.large_only else await self._last_messages(loaded, mine)
        entries: list[Entry] = []
        size = 0
        for index, outcome in enumerate(loaded):
            if outcome.HasField("fault"):
                raise Unavailable(outcome.fault.message, outcome.fault.retry_after_ms)
            entry = _entry(outcome, item.user)
            if entry is None:
                continue
            entry.last = last.get(entry.record.conversation, b"")
            size += entry.ByteSize()
            if entries and size > bytes_max:
                return entries, index
            entries.append(entry)
        return entries, len(loaded)

    async def _last_messages(self, loaded: Sequence[LoadOutcome], mine: Sequence[MemberDocument]) -> dict[str, bytes]:
        """The newest message of each conversation, encoded, where the member may read it."""
        keys = [
            (outcome.record.conversation, outcome.record.head)
            for outcome, member in zip(loaded, mine, strict=True)
            if outcome.record.head >= max(member.joined_seq, 1)
        ]
        found = await self._repository.messages.get(keys)
        return {conversation: encode(message) for (conversation, _), message in found.items()}


_OWNER = 3


def _op_of(item: LoadItem) -> OpKey:
    return OpKey(item.conversation, item.actor, item.op)


def _load_item(user: str, conversation: str) -> LoadItem:
    users = [user]
    if kind_of(conversation) is ConversationKind.DIRECT:
        users.append(other_of(conversation, user))
    return LoadItem(conversation=conversation, users=users, narrow=True)


def _entry(outcome: LoadOutcome, user: str) -> Entry | None:
    """None if the user has left meanwhile, or nothing was said there yet."""
    members = {member.user: member for member in outcome.members}
    if user not in members or not (outcome.record.head or outcome.record.kind == ConversationKind.GROUP):
        return None
    entry = Entry(record=outcome.record, me=members[user])
    if outcome.record.kind == ConversationKind.DIRECT:
        peer = other_of(outcome.record.conversation, user)
        entry.peer.CopyFrom(members.get(peer) or Member(peer).record())
    return entry
