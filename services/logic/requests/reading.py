"""What clients read: inbox pages, history, conversations, groups and their members, presence.

Each method takes all the requests of its kind that came in one batch and asks storage once for each owner concerned.

Guarantees: a reply for each request, in their order. Who may read is decided on what storage says now, not on memory: a
former member reads nothing. Limits over their maximum are cut to it, pages hold about `page_bytes_max`. A message that
was stored and cannot be read is shown without its content, as a placeholder with its number and its place, so that
nobody's page fails by it.

Does not know: how pages are found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.clock import Clock
from services.common.telemetry import logs, metrics
from services.logic.groups.loader import Conversations, Found
from services.logic.groups.model import Group, Policy
from services.logic.groups.permissions import check_member, check_read
from services.logic.groups.rules import Need, info_of, need_of
from services.logic.requests.request import Ask, Handler, Reply, cut
from services.logic.sessions import presence
from services.logic.storage_client import StorageClient
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, TidingsError
from tidings_protocol.ids import ConversationKind, check_conversation, kind_of, other_of
from tidings_protocol.wire.body import read_message

SYNC_DEFAULT, SYNC_MAX = 100, 500
HISTORY_DEFAULT, HISTORY_MAX = 50, 200
CONVERSATIONS_DEFAULT, CONVERSATIONS_MAX = 50, 200
MEMBERS_DEFAULT, MEMBERS_MAX = 100, 500

log = logs.get_logger(__name__)


class Reading:
    """`alive` says of a boot id whether the registry knows it."""

    def __init__(
        self,
        storage: StorageClient,
        conversations: Conversations,
        clock: Clock,
        policy: Policy,
        *,
        alive: Callable[[str], bool],
        page_bytes_max: int,
    ) -> None:
        self._storage = storage
        self._conversations = conversations
        self._clock = clock
        self._policy = policy
        self._alive = alive
        self._page_bytes_max = page_bytes_max

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By the names of operations."""
        return {
            "sync": self.sync,
            "history": self.history,
            "conversations": self.conversations,
            "presence": self.presence,
            "group.info": self.info,
            "group.members": self.members,
        }

    async def sync(self, asks: Sequence[Ask]) -> list[Reply]:
        items = [
            pb.InboxItem(
                user=ask.user,
                after=ask.frame.sync.after,
                limit=cut(ask.frame.sync.limit, SYNC_DEFAULT, SYNC_MAX),
                bytes_max=self._page_bytes_max,
            )
            for ask in asks
        ]
        outcomes = await self._storage.inbox(items)
        return [_page(outcome, "sync", item.after) for item, outcome in zip(items, outcomes, strict=True)]

    async def history(self, asks: Sequence[Ask]) -> list[Reply]:
        replies: list[Reply | None] = [None] * len(asks)
        checked: list[int] = []
        for index, ask in enumerate(asks):
            try:
                _check_history(ask.frame.history)
                checked.append(index)
            except TidingsError as error:
                replies[index] = error
        groups = await self._groups([(asks[index].frame.history.conversation, asks[index].user) for index in checked])
        allowed: list[tuple[int, pb.HistoryItem]] = []
        for index in checked:
            try:
                allowed.append((index, self._history_item(asks[index], groups)))
            except TidingsError as error:
                replies[index] = error
        outcomes = await self._storage.history([item for _, item in allowed])
        for (index, item), outcome in zip(allowed, outcomes, strict=True):
            replies[index] = _page(outcome, "history", item.after if item.HasField("after") else item.before)
        return [reply for reply in replies if reply is not None]

    async def conversations(self, asks: Sequence[Ask]) -> list[Reply]:
        items = [
            pb.ConversationsItem(
                user=ask.user,
                after=ask.frame.conversations.after,
                limit=cut(ask.frame.conversations.limit, CONVERSATIONS_DEFAULT, CONVERSATIONS_MAX),
                bytes_max=self._page_bytes_max,
            )
            for ask in asks
        ]
        outcomes = await self._storage.conversations(items)
        return [
            outcome if isinstance(outcome, TidingsError) else _conversation_page(item.user, outcome)
            for item, outcome in zip(items, outcomes, strict=True)
        ]

    async def info(self, asks: Sequence[Ask]) -> list[Reply]:
        """`group` requests with the act `info`."""
        found = await self._asked_groups(asks)
        replies: list[Reply] = []
        for ask, group in zip(asks, found, strict=True):
            try:
                info = info_of(_or_raise(group), ask.frame.group.info.conversation, ask.user)
                replies.append(client_pb2.ServerFrame(group_info=info))
            except TidingsError as error:
                replies.append(error)
        return replies

    async def members(self, asks: Sequence[Ask]) -> list[Reply]:
        """`group` requests with the act `members`."""
        found = await self._asked_groups(asks)
        replies: list[Reply | None] = [None] * len(asks)
        allowed: list[int] = []
        for index, (ask, group) in enumerate(zip(asks, found, strict=True)):
            try:
                check_member(_or_raise(group), ask.frame.group.members.conversation, ask.user)
                allowed.append(index)
            except TidingsError as error:
                replies[index] = error
        requests = [asks[index].frame.group.members for index in allowed]
        outcomes = await self._storage.members(
            [
                pb.MembersItem(
                    conversation=request.conversation,
                    after=request.after,
                    limit=cut(request.limit, MEMBERS_DEFAULT, MEMBERS_MAX),
                )
                for request in requests
            ]
        )
        for index, outcome in zip(allowed, outcomes, strict=True):
            replies[index] = outcome if isinstance(outcome, TidingsError) else _member_page(outcome)
        return [reply for reply in replies if reply is not None]

    async def presence(self, asks: Sequence[Ask]) -> list[Reply]:
        replies: list[Reply | None] = [None] * len(asks)
        users: dict[str, pb.SessionsOutcome | TidingsError | None] = {}
        for index, ask in enumerate(asks):
            try:
                presence.check_users(ask.frame.presence.users)
                users.update(dict.fromkeys(ask.frame.presence.users))
            except TidingsError as error:
                replies[index] = error
        names = list(users)
        users.update(zip(names, await self._storage.sessions(names), strict=True))
        now_ms = self._clock.wall_ms()
        for index, ask in enumerate(asks):
            if replies[index] is None:
                replies[index] = self._presence_list(ask.frame.presence.users, users, now_ms)
        return [reply for reply in replies if reply is not None]

    def _presence_list(
        self, names: Sequence[str], users: dict[str, pb.SessionsOutcome | TidingsError | None], now_ms: int
    ) -> Reply:
        answer = client_pb2.PresenceList()
        for user in dict.fromkeys(names):
            outcome = users[user]
            assert outcome is not None
            if isinstance(outcome, TidingsError):
                return outcome
            answer.users.append(presence.presence_of(user, outcome.sessions, outcome.last_seen_ms, self._alive, now_ms))
        return client_pb2.ServerFrame(presence_list=answer)

    # ---- groups

    async def _groups(self, readers: Sequence[tuple[str, str]]) -> Found:
        """The groups among these (conversation, reader), as they are now."""
        needs: dict[str, list[str]] = {}
        for conversation, user in readers:
            if kind_of(conversation) is ConversationKind.GROUP:
                needs.setdefault(conversation, []).append(user)
        if not needs:
            return {}
        return await self._conversations.load(
            [Need(conversation, tuple(dict.fromkeys(users))) for conversation, users in needs.items()]
        )

    async def _asked_groups(self, asks: Sequence[Ask]) -> list[Group | TidingsError | None]:
        """The group of each request, or what is wrong with the request."""
        needs: list[Need | TidingsError] = []
        for ask in asks:
            try:
                need = need_of(ask.frame.group, ask.user, self._policy)
                assert need is not None
                needs.append(need)
            except TidingsError as error:
                needs.append(error)
        found = await self._groups(
            [(need.conversation, user) for need in needs if isinstance(need, Need) for user in need.users]
        )
        return [found[need.conversation] if isinstance(need, Need) else need for need in needs]

    def _history_item(self, ask: Ask, groups: Found) -> pb.HistoryItem:
        request = ask.frame.history
        group = _or_raise(groups.get(request.conversation))
        return pb.HistoryItem(
            conversation=request.conversation,
            before=request.before if request.HasField("before") else None,
            after=request.after if request.HasField("after") else None,
            limit=cut(request.limit, HISTORY_DEFAULT, HISTORY_MAX),
            first_seq=check_read(request.conversation, ask.user, group),
            bytes_max=self._page_bytes_max,
        )


def _check_history(request: client_pb2.History) -> None:
    check_conversation(request.conversation)
    if request.HasField("before") and request.HasField("after"):
        raise BadRequest("give `before` or `after`, not both")


def _or_raise(group: Group | TidingsError | None) -> Group | None:
    if isinstance(group, TidingsError):
        raise group
    return group


def _page(outcome: pb.PageOutcome | TidingsError, request: str, asked: int) -> Reply:
    """`asked`: where the page begins, which is where the next one does if there is nothing in it."""
    if isinstance(outcome, TidingsError):
        return outcome
    metrics.SYNC_ENTRIES.labels(request).observe(len(outcome.entries))
    page = client_pb2.Page(
        next=outcome.next or asked, head=outcome.head, more=outcome.more, truncated=outcome.truncated
    )
    for entry in outcome.entries:
        _show(entry.message, page.entries.add(number=entry.number).message)
    return client_pb2.ServerFrame(page=page)


def _show(encoded: bytes, into: client_pb2.Message) -> None:
    if not read_message(encoded, into):
        log.error("message cannot be read", conversation=into.conversation, seq=into.seq)


def _conversation_page(user: str, outcome: pb.ConversationsOutcome) -> client_pb2.ServerFrame:
    page = client_pb2.ConversationPage(next=outcome.next, more=outcome.more)
    for entry in outcome.entries:
        record = entry.record
        kind = kind_of(record.conversation)
        added = page.conversations.add(
            conversation=record.conversation,
            name=other_of(record.conversation, user) if kind is ConversationKind.DIRECT else record.name,
            kind=client_pb2.Conversation.Kind.ValueType(kind),
            head=record.head,
            # What retention took is nobody's unread message.
            read_seq=max(entry.me.read_seq, record.first_seq - 1),
            peer_delivered_seq=entry.peer.delivered_seq,
            peer_read_seq=entry.peer.read_seq,
            large_from=record.large_from,
        )
        if entry.last:
            _show(entry.last, added.last)
    return client_pb2.ServerFrame(conversation_page=page)


def _member_page(outcome: pb.MembersOutcome) -> client_pb2.ServerFrame:
    page = client_pb2.MemberPage(more=outcome.more, next=outcome.members[-1].user if outcome.members else "")
    for member in outcome.members:
        page.members.add(user=member.user, role=client_pb2.Member.Role.ValueType(member.role))
    return client_pb2.ServerFrame(member_page=page)
