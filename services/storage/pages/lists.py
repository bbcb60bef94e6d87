"""Lists: all conversations of a user, as they are now.

A list is sorted by the last activity (places.py, overviews.py); the conversations of a page are loaded from their
owners.

Guarantees: heads and cursors of a page are not behind anything that was answered before; a message is shown as the last
one only to who may read it and has not hidden it. What is unread is counted as unread.py says. One conversation that
cannot be loaded is left out of a list, and told to who logs in as it was written last: it keeps nobody out.
Does not know: who may ask.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from protos.tidings.internal.v1 import storage_pb2
from services.common.clock import Clock
from services.common.rpc.faults import from_fault, to_fault
from services.common.rpc.spread import spread
from services.common.scope import run_both
from services.common.telemetry import logs
from services.storage.folding.shown import shown
from services.storage.limits import Limits
from services.storage.memory.conversation import CachedConversation, CachedMember
from services.storage.messages.conversations import ConversationStore
from services.storage.owners.peers import StoragePeers
from services.storage.pages.last import LastMessages
from services.storage.pages.loads import ConversationLoads
from services.storage.pages.overviews import NOTHING, Newest, Overviews
from services.storage.pages.paging import bytes_for, content_max
from services.storage.pages.places import NOWHERE, ListToken, Place
from services.storage.pages.preferences import NoPreferences, Preferences
from services.storage.pages.unread import UnreadReader
from services.storage.reactions.mine import mine_of, with_mine
from services.storage.repository.contract import Repository
from services.storage.repository.records import ConversationDocument, HiddenSeqs, MemberKey, Span, StoredMessage
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import BROADCAST, ConversationKind, kind_of, other_of

LoadItem = storage_pb2.LoadItem
LoadOutcome = storage_pb2.LoadOutcome
ConversationsItem = storage_pb2.ConversationsItem
ConversationsOutcome = storage_pb2.ConversationsOutcome
Entry = storage_pb2.ConversationEntry

LIMIT_MAX = 200
# Inbox entries that are looked through for one page of what has moved.
MOVED_MAX = 1000
# Large groups that moved so shortly before a list was begun may come again: times of several nodes differ a little.
SLACK_MS = 2000

log = logs.get_logger(__name__)


@dataclass(slots=True)
class ListPage:
    """A page of a list, which is being filled."""

    user: str
    limit: int
    bytes_left: int
    entries: list[Entry] = field(default_factory=list)
    count: int = 0

    @property
    def room(self) -> int:
        return self.limit - self.count

    def reserve(self, size: int) -> bool:
        """Takes room for an entry of so many bytes. Whether it fits; the first one always does."""
        if self.count and size > self.bytes_left:
            return False
        self.count += 1
        self.bytes_left = max(1, self.bytes_left - size)
        return True

    def outcome(self, token: ListToken, *, more: bool) -> ConversationsOutcome:
        return ConversationsOutcome(entries=self.entries, next=str(token), more=more)


class ConversationLists:
    def __init__(
        self,
        repository: Repository,
        conversations: ConversationStore,
        loads: ConversationLoads,
        peers: StoragePeers,
        clock: Clock,
        limits: Limits,
        preferences: Preferences | None = None,
    ) -> None:
        """`preferences`: None, if nobody prefers anything."""
        self._repository = repository
        self._conversations = conversations
        self._loads = loads
        self._peers = peers
        self._clock = clock
        self._preferences = preferences or NoPreferences()
        self._unread = UnreadReader(repository)
        self._last = LastMessages(repository)
        self._overviews = Overviews(repository, conversations, peers, clock, limits)

    async def load_anywhere(self, items: Sequence[LoadItem]) -> list[LoadOutcome]:
        """Loads each conversation from its owner, or here if that does not answer; aligned with the items."""
        keys = [item.conversation for item in items]
        return list(await spread(items, keys, self._peers.owner_of, self._load_at))

    async def _load_at(self, owner: str | None, _slot: int, items: list[LoadItem]) -> Sequence[LoadOutcome]:
        if owner is not None:
            try:
                return (await self._peers.load(owner, storage_pb2.LoadBatch(items=items))).outcomes
            except TidingsError:
                pass  # this node loads what the owner does not
        return await self._loads.load(items)

    async def pages(self, items: Sequence[ConversationsItem]) -> list[ConversationsOutcome]:
        """A page of each list; outcomes are aligned with the items, each may have a fault of its own."""
        bytes_max = bytes_for(0, len(items))
        outcomes: list[ConversationsOutcome] = []
        for item in items:
            try:
                outcomes.append(await self._list_one(item, min(item.bytes_max or bytes_max, bytes_max)))
            except TidingsError as error:
                outcomes.append(ConversationsOutcome(fault=to_fault(error)))
        return outcomes

    async def large_groups_of(self, users: Sequence[str]) -> dict[str, list[storage_pb2.ConversationRecord]]:
        """The large groups of each user, and b:all once it has a message: from the memory of this node, else from the
        documents and the memory of their owners. No group is loaded, so a head may be behind for a moment after its
        owner has died; that of a group may even be 0, and its members are told of the group all the same.
        """
        memberships = await self._repository.members.memberships(users, large_only=True)
        records = await self.records({member.conversation for found in memberships.values() for member in found})
        return {
            user: [
                record for each in found if (record := records.get(each.conversation)) is not None and _is_told(record)
            ]
            for user, found in memberships.items()
        }

    async def records(self, ids: Collection[str]) -> dict[str, storage_pb2.ConversationRecord]:
        """Those of these conversations that are there, by id, as `large_groups_of` gives them."""
        here = await self._here(ids)
        documents, warm = await self._overviews.present([key for key in ids if key not in here])
        elsewhere = {key: _record(document, warm.get(key, NOTHING)) for key, document in documents.items()}
        return {key: cached.record() for key, cached in here.items() if cached.exists} | elsewhere

    async def _here(self, ids: Collection[str]) -> dict[str, CachedConversation]:
        """Those that this node owns and has in memory. `b:all`, for which every login asks, is loaded if need be."""
        if BROADCAST in ids and self._conversations.memory.is_owner(BROADCAST):
            await self._conversations.get([BROADCAST])
        return {key: cached for key in ids if (cached := self._conversations.memory.peek(key)) is not None}

    async def _list_one(self, item: ConversationsItem, bytes_max: int) -> ConversationsOutcome:
        if item.large_only:
            return await self._list_large(item.user)
        page = ListPage(item.user, min(item.limit or LIMIT_MAX, LIMIT_MAX), bytes_max)
        token = ListToken.parse(item.after) if item.after else None
        if token is not None and token.is_second:
            return await self._list_moved(page, token)
        overview = await self._overviews.overview_of(item.user)
        places = overview.places.after(token.place if token else None, page.limit + 1)
        start = token or ListToken(NOWHERE, overview.number, overview.now_ms)
        shown = places[: page.limit]
        done = await self._add(page, [place.conversation for place in shown])
        following = start.at(shown[done - 1]) if done else start
        if done < len(places):
            return page.outcome(following, more=True)
        if token is None or token.number is None:
            return page.outcome(following, more=False)  # all on one page: nothing can have moved meanwhile
        return await self._list_moved(page, start.second)

    async def _list_moved(self, page: ListPage, token: ListToken) -> ConversationsOutcome:
        """Fills what is left of the page with the second part: what has moved up since the list was begun."""
        number = token.number or 0
        since = max((token.since_ms - SLACK_MS, ""), (token.place.last_ms, token.place.conversation))
        large = sorted(
            (place.last_ms, place.conversation)
            for place in await self._overviews.large_places(page.user)
            if (place.last_ms, place.conversation) > since
        )
        done = await self._add(page, [conversation for _, conversation in large[: page.room]])
        if done:
            token = token.at(Place(*large[done - 1]))
        if done < len(large):
            return page.outcome(token, more=True)
        (entries,) = await self._repository.inboxes.pages([Span(page.user, after=number, limit=MOVED_MAX)])
        firsts: dict[str, int] = {}  # the number of each conversation's first entry
        for entry in entries:
            if not entry.quiet and entry.conversation not in firsts and len(firsts) >= page.room:
                break
            if not entry.quiet:
                firsts.setdefault(entry.conversation, entry.number)
            number = entry.number
        done = await self._add(page, list(firsts))
        if done < len(firsts):
            number = list(firsts.values())[done] - 1
        more = bool(entries) and (number < entries[-1].number or len(entries) == MOVED_MAX)
        return page.outcome(replace(token, number=number), more=more)

    async def _list_large(self, user: str) -> ConversationsOutcome:
        """All large groups of the user on one page, with their records only."""
        found = (await self._repository.members.memberships([user], large_only=True)).get(user, ())
        records = await self.records([member.conversation for member in found])
        entries = [
            Entry(record=record, me=CachedMember.from_document(member).record())
            for member in found
            if (record := records.get(member.conversation)) is not None and _is_told(record)
        ]
        return ConversationsOutcome(entries=entries)

    async def _add(self, page: ListPage, ids: Sequence[str]) -> int:
        """Puts the entries of these conversations into the page; how many of them that covers before its bytes run
        out. Raises Unavailable if none can be loaded.
        """
        loaded, found = await run_both(
            self.load_anywhere([_load_item(page.user, key) for key in ids]),
            self._repository.hidden.of([MemberKey(key, page.user) for key in ids]),
        )
        faults = [outcome.fault for outcome in loaded if outcome.HasField("fault")]
        if faults:
            if len(faults) == len(loaded):
                raise from_fault(faults[0])
            log.warning("conversations are left out of a list", count=len(faults), reason=faults[0].message)
        entries = [_entry(outcome, page.user) for outcome in loaded]
        hidden = {key.conversation: theirs for key, theirs in found.items()}
        now_ms = self._clock.wall_ms()
        last = await self._fill(page, [entry for entry in entries if entry is not None], hidden, now_ms)
        fitting: list[Entry] = []
        done = len(entries)
        for index, entry in enumerate(entries):
            if entry is None or entry.preferences.hidden:
                continue
            message = last.get(entry.record.conversation)
            size = entry.ByteSize() + (len(shown(message, now_ms)) + message.left_out if message else 0)
            if not page.reserve(size):
                done = index
                break
            fitting.append(entry)
        await self._show(page, fitting, last, now_ms)
        return done

    async def _fill(
        self, page: ListPage, entries: Sequence[Entry], hidden: Mapping[str, HiddenSeqs], now_ms: int
    ) -> dict[str, StoredMessage]:
        """Fills in what the entries say to the user alone; gives their last messages, long content left out."""
        preferences, (_, last) = await run_both(
            self._preferences.of(page.user, entries),
            run_both(
                self._unread.fill(page.user, entries, hidden, now_ms),
                self._last.of(entries, hidden, now_ms, content_max(len(entries), page.bytes_left)),
            ),
        )
        for entry in entries:
            conversation = entry.record.conversation
            if conversation in preferences:
                entry.preferences.CopyFrom(preferences[conversation])
            if conversation in hidden:
                entry.hidden_through = hidden[conversation].through
        return last

    async def _show(
        self, page: ListPage, entries: Sequence[Entry], last: dict[str, StoredMessage], now_ms: int
    ) -> None:
        """Adds these to the page, with the whole of their last messages."""
        wanted = [
            (message.conversation, message.seq)
            for entry in entries
            if (message := last.get(entry.record.conversation)) is not None and message.left_out
        ]
        if wanted:
            for key in wanted:
                del last[key[0]]
            for message in (await self._repository.messages.get(wanted)).values():
                last[message.conversation] = message
        mine = await mine_of(self._repository.reactions, page.user, last.values())
        for entry in entries:
            if (message := last.get(entry.record.conversation)) is not None:
                own = mine.get((message.conversation, message.seq), ())
                entry.last = with_mine(shown(message, now_ms), own)
        page.entries += entries


def _load_item(user: str, conversation: str) -> LoadItem:
    users = [user]
    if kind_of(conversation) is ConversationKind.DIRECT:
        users.append(other_of(conversation, user))
    return LoadItem(conversation=conversation, users=users, narrow=True)


def _entry(outcome: LoadOutcome, user: str) -> Entry | None:
    """The entry of a conversation; None if the user has left meanwhile, or nothing was said there yet."""
    members = {member.user: member for member in outcome.members}
    if user not in members or not (outcome.record.head or outcome.record.kind == ConversationKind.GROUP):
        return None
    entry = Entry(record=outcome.record, me=members[user])
    if outcome.record.kind == ConversationKind.DIRECT:
        peer = other_of(outcome.record.conversation, user)
        entry.peer.CopyFrom(members.get(peer) or CachedMember(peer).record())
    return entry


def _is_told(record: storage_pb2.ConversationRecord) -> bool:
    """Whether a member is told of it: `b:all` from its first message on, a group until it is dissolved."""
    return not record.dissolved and (bool(record.head) or record.kind == ConversationKind.GROUP)


def _record(document: ConversationDocument, newest: Newest) -> storage_pb2.ConversationRecord:
    """The record of a conversation; `newest`: as its owner has it in memory."""
    return storage_pb2.ConversationRecord(
        conversation=document.conversation,
        kind=document.kind,
        name=document.name,
        open=document.open,
        channel=document.channel,
        share_history=document.share_history,
        large_from=document.large_from,
        head=max(document.head, document.settled, newest.head),
        version=document.version,
        member_count=document.member_count,
        first_seq=document.first_seq,
        exists=True,
        last_ms=max(document.last_ms, newest.last_ms),
        dissolved=document.dissolved,
    )
