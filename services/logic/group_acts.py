"""Changes of groups: decided by groups.py, made by storage, told to the members.

    load ──▶ decide ──▶ change ──▶ publish ──▶ reply
      ▲                   │ stale: somebody else changed it meanwhile
      └───────────────────┘ (at most `DECISIONS_MAX` times)

Requests of one batch that concern one group are done in their order; different groups at the same time, at most
`AT_ONCE` of a batch.

Guarantees: a change that was answered is durable and published (or Kafka is away). It may be repeated with the same
`op`: storage does it once; and a repeat with another one finds it settled and only tells the nodes again who is in a
large group.

Does not know: the rules.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import blake2b

from protos.tidings.internal.v1 import delivery_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from protos.tidings.v1 import client_pb2
from services.common.clock import Clock
from services.common.errors import Internal, NotFound, TidingsError, Unavailable
from services.common.ids import ConversationKind, check_conversation, new_id
from services.common.telemetry import logs, metrics
from services.logic import notices
from services.logic.asking import Ask, Reply, ok
from services.logic.conversations import Conversations
from services.logic.events import EventEncoder, StreamEvent
from services.logic.groups import decide, info_of, need_of
from services.logic.model import Change, Group, Member, Policy, Role, Settled
from services.logic.publisher import Publication, Publisher
from services.logic.router import Outgoing
from services.logic.sending import SYSTEM, message_pushes
from services.logic.storage_client import StorageClient

DECISIONS_MAX = 5
CHANGING_RETRY_MS = 200
AT_ONCE = 16
OWNER_PAGE = 500

Push = delivery_pb2.Push
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
        request, op = ask.frame.group, ask.op or new_id()
        need = need_of(request, ask.user, self._policy)
        for _ in range(DECISIONS_MAX):
            group = None if need is None else await self._conversations.load_one(need)
            decision = decide(request, ask.user, group, self._policy, new=_name_of_new(ask.user, op))
            if isinstance(decision, Settled):
                assert group is not None
                await self._tell_again(decision, group)
                return _answer(request, group, ask.user)
            outcome = await self._storage.change(_change_item(decision, op))
            self._conversations.forget(decision.conversation)
            if outcome.status == pb.ChangeOutcome.DONE:
                await self._tell(decision, outcome, ask, op)
                return _answer(request, _after(decision, outcome.record, group), ask.user)
            metrics.STALE_DECISIONS.labels("group").inc()
        raise Unavailable("the group is being changed by others: try again", CHANGING_RETRY_MS)

    async def _tell(self, change: Change, outcome: pb.ChangeOutcome, ask: Ask, op: str) -> None:
        outgoing = _index_pushes(change, outcome.record, ask.session)
        events: list[StreamEvent] = []
        item = _change_item(change, op)
        for index, (notice, stored) in enumerate(zip(item.notices, outcome.notices, strict=True)):
            message = pb.StoreItem(
                conversation=change.conversation,
                sender=change.actor,
                client_id=op if index == 0 else f"{op}.{index}",
                content=notice.content,
                kind=SYSTEM,
                # Who is in a group that is created large does not know it yet: its first message is brought to them.
                recipients=notice.recipients or (change.indexed if change.version == 0 else ()),
                trace=ask.trace,
            )
            push, told = message_pushes(message, stored, self._events)
            outgoing += push
            events += told
        events += self._events.acts(change.conversation, self._clock.wall_ms(), change.acts)
        await self._publisher.publish(Publication(outgoing, events))
        log.info("group changed", acts=[act.act for act in change.acts], users=len(change.acts[0].users))

    async def _tell_again(self, settled: Settled, group: Group) -> None:
        """What the first time told the nodes may have been lost with the node that told it."""
        outgoing = _membership_pushes(settled.conversation, settled.indexed, settled.dropped, group.head)
        if outgoing:
            await self._publisher.publish(Publication(outgoing))


def _concerned(ask: Ask, index: int) -> str:
    """The group that a request is about; creates concern nobody else."""
    request = ask.frame.group
    act = request.WhichOneof("act")
    return f"new {index}" if act in {None, "create"} else getattr(request, act).conversation


def _name_of_new(user: str, op: str) -> str:
    """The same for a repeat of the same create."""
    return "g:" + blake2b(f"{user} {op}".encode(), digest_size=12).hexdigest()


def _change_item(change: Change, op: str) -> pb.ChangeItem:
    return pb.ChangeItem(
        conversation=change.conversation,
        op=op,
        actor=change.actor,
        version=change.version,
        settings=pb.ConversationRecord(
            conversation=change.conversation,
            kind=ConversationKind.GROUP,
            name=change.name,
            open=change.open,
            channel=change.channel,
            share_history=change.share_history,
        ),
        set=[_member_record(member) for member in change.members],
        removed=change.removed,
        notices=[
            pb.ChangeItem.Notice(content=notices.content_of(notice.act), recipients=notice.recipients)
            for notice in change.notices
        ],
        becomes_large=change.becomes_large,
        keep_version=change.keep_version,
    )


def _member_record(member: Member) -> pb.MemberRecord:
    return pb.MemberRecord(user=member.user, role=member.role, joined_seq=member.joined_seq, joined_ms=member.joined_ms)


def _index_pushes(change: Change, record: pb.ConversationRecord, session: str) -> list[Outgoing]:
    """What the nodes must know of a large group, and that who is out of it hears so on all devices."""
    outgoing = _membership_pushes(change.conversation, change.indexed, change.dropped, record.head)
    if change.dropped:
        info = client_pb2.GroupInfo(conversation=change.conversation, name=change.name)
        outgoing.append(
            Outgoing(
                kind=Push.GROUP_INFO,
                body=info.SerializeToString(),
                users=change.dropped,
                conversation=change.conversation,
                except_session=session,
            )
        )
    return outgoing


def _membership_pushes(conversation: str, indexed: Sequence[str], dropped: Sequence[str], head: int) -> list[Outgoing]:
    return [
        Outgoing(
            kind=Push.MEMBERSHIP,
            body=delivery_pb2.LargeMembership(conversation=conversation, member=member, head=head).SerializeToString(),
            users=users,
            conversation=conversation,
        )
        for users, member in ((indexed, True), (dropped, False))
        if users
    ]


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
    if request.WhichOneof("act") in {"create", "join", "rename"}:
        return client_pb2.ServerFrame(group_info=info_of(group, group.conversation, user))
    return ok()
