"""Changes of groups: decided by rules.py, made by storage, told to the members.

    load ──▶ decide ──▶ change ──▶ publish ──▶ reply
      ▲ │                 │ stale: somebody else changed it meanwhile
      └─┼─────────────────┘ (at most `DECISIONS_MAX` times)
        └ made by an earlier try ──▶ publish ──▶ reply

Requests of one batch that concern one group are done in their order; different groups at the same time, at most
`AT_ONCE` of a batch.

Guarantees: a change that was answered is durable and published (or Kafka is away). It may be repeated with the same
`op`: storage does it once, and every repeat tells all of it again and is answered as the first, whatever the asker may
do by now. A repeat with another op finds it settled: the act is told as an event, and in large groups the nodes are
told who is in. A create with a client id is one group for good.

Does not know: the rules (rules.py), what is told (announcement.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from hashlib import blake2b

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.clock import Clock
from services.common.telemetry import logs, metrics
from services.logic.groups.loader import Conversations
from services.logic.groups.model import Change, Group, Member, Policy, Role, Settled
from services.logic.groups.rules import Need, decide, info_of, need_of
from services.logic.publishing.events import EventEncoder
from services.logic.publishing.publisher import Publication, Publisher
from services.logic.requests import announcement as announcing
from services.logic.requests.request import Ask, Handler, Reply, ok
from services.logic.storage_client import StorageClient
from tidings_protocol import client_pb2
from tidings_protocol.errors import Internal, NotFound, TidingsError, Unavailable
from tidings_protocol.ids import ConversationKind, check_conversation, new_id

DECISIONS_MAX = 5
CHANGING_RETRY_MS = 200
AT_ONCE = 16
OWNER_PAGE = 500
TELLS_OF_THE_GROUP = frozenset({"create", "join", "rename"})

log = logs.get_logger(__name__)


class GroupActs:
    """Batches of `group` requests that change something."""

    def __init__(
        self,
        storage: StorageClient,
        conversations: Conversations,
        publisher: Publisher,
        events: EventEncoder,
        clock: Clock,
        policy: Policy,
    ) -> None:
        self._storage = storage
        self._conversations = conversations
        self._publisher = publisher
        self._events = events
        self._clock = clock
        self._policy = policy

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By the names of operations."""
        return {"group": self.act}

    async def act(self, asks: Sequence[Ask]) -> list[Reply]:
        """Each of them is done, or has its error."""
        replies: list[Reply] = [Internal("this request was not handled")] * len(asks)
        by_group: dict[str, list[int]] = {}
        for index, ask in enumerate(asks):
            by_group.setdefault(_concerned(ask, index), []).append(index)
        waiting = iter(by_group.values())

        async def work() -> None:
            for indexes in waiting:
                for index in indexes:
                    replies[index] = await self._reply(asks[index])

        workers = min(AT_ONCE, len(by_group))
        if workers == 1:
            await work()
        else:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(work(), name="group acts")
        return replies

    async def owner_of(self, conversation: str) -> str:
        """Who owns a group, for the operator; raises NotFound. Looks through the members of a large one."""
        if check_conversation(conversation) is not ConversationKind.GROUP:
            raise NotFound(f"{conversation} is not a group")
        after = ""
        while True:
            [page] = await self._storage.members(
                [pb.MembersItem(conversation=conversation, after=after, limit=OWNER_PAGE)]
            )
            if isinstance(page, TidingsError):
                raise page
            for member in page.members:
                if member.role == Role.OWNER:
                    return member.user
            if not page.more or not page.members:
                raise NotFound(f"{conversation} has no owner: it does not exist, or everybody has left")
            after = page.members[-1].user

    async def _reply(self, ask: Ask) -> Reply:
        try:
            return await self._act(ask)
        except TidingsError as error:
            return error

    async def _act(self, ask: Ask) -> client_pb2.ServerFrame:
        request, op = ask.frame.group, _op_of(ask)
        need = need_of(request, ask.user, self._policy)
        if need is None:
            return await self._create(ask, op)
        for _ in range(DECISIONS_MAX):
            group, made = await self._conversations.load_for_change(need, ask.user, op)
            if made is not None:
                return await self._tell_made(ask, made)
            decision = decide(request, ask.user, group, self._policy)
            if isinstance(decision, Settled):
                assert group is not None
                await self._tell_again(decision, group)
                return _answer(request, group, ask.user)
            item = announcing.change_item(decision, op)
            outcome = await self._storage.change(item)
            self._conversations.forget(item.conversation)
            if outcome.HasField("made"):
                return await self._tell_made(ask, outcome.made)
            if outcome.status == pb.ChangeOutcome.DONE:
                await self._tell(ask, item, outcome)
                return _answer(request, _after(decision, outcome.record, group), ask.user)
            metrics.STALE_DECISIONS.labels("group").inc()
        raise Unavailable("the group is being changed by others: try again", CHANGING_RETRY_MS)

    async def _create(self, ask: Ask, op: str) -> client_pb2.ServerFrame:
        """The group's id is made of what the creator calls it, so that there is one, whoever is asked how often."""
        request = ask.frame.group
        conversation = _name_of_new(ask.user, request.create.client_id, op)
        decision = decide(request, ask.user, None, self._policy, new=conversation)
        assert isinstance(decision, Change)
        item = announcing.change_item(decision, op)
        outcome = await self._storage.change(item)
        self._conversations.forget(conversation)
        if outcome.HasField("made"):
            return await self._tell_made(ask, outcome.made)
        if outcome.status != pb.ChangeOutcome.DONE:
            return await self._answer_made(ask, conversation)  # so long ago that its first message is gone
        if outcome.notices[0].status == pb.StoreOutcome.DUPLICATE:
            return await self._tell_made(ask, item)
        await self._tell(ask, item, outcome)
        return _answer(request, _after(decision, outcome.record, None), ask.user)

    async def _tell(
        self,
        ask: Ask,
        item: pb.ChangeItem,
        outcome: pb.ChangeOutcome,
        members: Mapping[str, Member] | None = None,
    ) -> None:
        await self._publisher.publish(
            announcing.publication(
                item,
                outcome,
                self._events,
                now_ms=self._clock.wall_ms(),
                session=ask.session,
                trace=ask.trace,
                members=members,
            )
        )
        acts = announcing.acts_of(item)
        log.info("group changed", acts=[act.act for act in acts], users=len(acts[0].users) if acts else 0)

    async def _tell_made(self, ask: Ask, item: pb.ChangeItem) -> client_pb2.ServerFrame:
        """An earlier try with this op has made it, and may not have told anybody: so all of it is told, and answered
        from how the group is now.
        """
        outcome = await self._storage.change(item)
        if outcome.status != pb.ChangeOutcome.DONE:
            raise Unavailable("the group is being changed by others: try again", CHANGING_RETRY_MS)
        concerned = (ask.user, *announcing.indexed_of(item), *announcing.dropped_of(item))
        group = await self._conversations.load_one(Need(item.conversation, tuple(dict.fromkeys(concerned))))
        await self._tell(ask, item, outcome, group.members if group else {})
        return _answer_made(ask, item.conversation, group)

    async def _answer_made(self, ask: Ask, conversation: str) -> client_pb2.ServerFrame:
        group = await self._conversations.load_one(Need(conversation, (ask.user,)))
        if group is None:
            raise Unavailable("the group is being created: try again", CHANGING_RETRY_MS)
        return _answer_made(ask, conversation, group)

    async def _tell_again(self, settled: Settled, group: Group) -> None:
        """What the first time told may have been lost with the node that told it."""
        outgoing = announcing.membership_pushes(settled.conversation, settled.indexed, settled.dropped, group.head)
        events = self._events.acts(settled.conversation, self._clock.wall_ms(), (settled.act,))
        if outgoing or events:
            await self._publisher.publish(Publication(outgoing, events))


def _concerned(ask: Ask, index: int) -> str:
    """The group that a request is about; creates concern nobody else."""
    request = ask.frame.group
    act = request.WhichOneof("act")
    return f"new {index}" if act in {None, "create"} else getattr(request, act).conversation


def _op_of(ask: Ask) -> str:
    """What a repeat of this request is known by: a create that has a name of its client's is made once for good."""
    if ask.frame.group.create.client_id:
        return "create"
    return ask.op or new_id()


def _name_of_new(user: str, client_id: str, op: str) -> str:
    """The same for a repeat of the same create."""
    person = b"client id" if client_id else b""
    return "g:" + blake2b(f"{user} {client_id or op}".encode(), digest_size=12, person=person).hexdigest()


def _after(change: Change, record: pb.ConversationRecord, group: Group | None) -> Group:
    """The group as the one who asked sees it after the change."""
    members = dict(group.members) if group else {}
    members.update({member.user: member for member in change.members})
    for user in change.removed:
        members.pop(user, None)
    return Group(
        conversation=change.conversation,
        version=record.version,
        members=members,
        member_count=record.member_count,
        name=record.name,
        open=record.open,
        channel=record.channel,
        share_history=record.share_history,
        large_from=record.large_from,
        head=record.head,
    )


def _answer(request: client_pb2.GroupRequest, group: Group, user: str) -> client_pb2.ServerFrame:
    if request.WhichOneof("act") in TELLS_OF_THE_GROUP:
        return client_pb2.ServerFrame(group_info=info_of(group, group.conversation, user))
    return ok()


def _answer_made(ask: Ask, conversation: str, group: Group | None) -> client_pb2.ServerFrame:
    """To whom may be out of the group by now: then as to those who are put out of it."""
    request = ask.frame.group
    if group is not None and (group.open or group.role_of(ask.user) is not None):
        return _answer(request, group, ask.user)
    gone = client_pb2.GroupInfo(conversation=conversation)
    return client_pb2.ServerFrame(group_info=gone) if request.WhichOneof("act") in TELLS_OF_THE_GROUP else ok()
