"""Changes of groups: decided by groups/rules.py, made by storage, told to the members.

    load ──▶ decide ──▶ change ──▶ publish ──▶ reply
      ▲ │                 │ stale: somebody else changed it meanwhile
      └─┼─────────────────┘ (at most `DECISIONS_MAX` times)
        └ made by an earlier try ──▶ publish ──▶ reply

Requests of one batch that concern one group are done in their order; different groups at the same time, at most
`AT_ONCE` of a batch.

Guarantees: a change that was answered is durable and published (or Kafka is away). It may be repeated with the same
`op`: storage does it once, and every repeat tells all of it again and is answered as the first, whatever the asker may
do by now. A repeat with another op finds it done already: in large groups the nodes are told again who is in. A
create with a client id is one group for good.

Does not know: the rules (groups/rules.py), what is told (announcement.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.clock import Clock
from services.common.scope import run_each
from services.common.telemetry import logs, metrics
from services.logic.changes import announcement
from services.logic.changes.join_requests import JoinRequests
from services.logic.groups.loader import GroupLoader
from services.logic.groups.model import (
    AlreadyDone,
    AskToJoin,
    Circumstances,
    Decision,
    DropRequests,
    GroupChange,
    GroupMember,
    GroupPolicy,
    GroupRole,
    GroupSnapshot,
    WithdrawInvites,
)
from services.logic.groups.needs import Need, need_of
from services.logic.groups.rules import decide, info_of
from services.logic.groups.settings import decoded
from services.logic.people.blocks import Blocks
from services.logic.publishing.publisher import Publisher
from services.logic.publishing.records import Publication
from services.logic.requests.request import ClientRequest, Reply, ok_reply
from services.logic.storage_client import StorageClient
from tidings_protocol import client_pb2
from tidings_protocol.errors import Internal, NotFound, TidingsError, Unavailable
from tidings_protocol.ids import ConversationKind, check_conversation, new_id

DECISIONS_MAX = 5
CHANGING_RETRY_MS = 200
AT_ONCE = 16
OWNER_PAGE = 500
TELLS_OF_THE_GROUP = frozenset({"create", "join", "rename", "update"})

log = logs.get_logger(__name__)


class GroupChanges:
    """Makes the changes that batches of `group` requests ask for."""

    def __init__(
        self,
        storage: StorageClient,
        loader: GroupLoader,
        publisher: Publisher,
        policy: GroupPolicy,
        *,
        blocks: Blocks,
        requests: JoinRequests,
        clock: Clock,
    ) -> None:
        self._storage = storage
        self._loader = loader
        self._publisher = publisher
        self._policy = policy
        self._blocks = blocks
        self._requests = requests
        self._clock = clock

    async def act(self, requests: Sequence[ClientRequest]) -> list[Reply]:
        """A reply for each request, in their order: it is done, or its error says why not."""
        replies: list[Reply] = [Internal("this request was not handled: ask again")] * len(requests)
        by_group: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            by_group.setdefault(_concerned(request, index), []).append(index)

        async def work(indexes: Sequence[int]) -> None:
            for index in indexes:
                replies[index] = await self._reply(requests[index])

        await run_each(work, list(by_group.values()), at_once=AT_ONCE)
        return replies

    async def owner_of(self, conversation: str) -> str:
        """The user who owns a group, for the operator; the members of a large one are looked through.

        Raises NotFound if there is no group, or no owner.
        """
        if check_conversation(conversation) is not ConversationKind.GROUP:
            raise NotFound(f"{conversation} is not a group: give the id of a group, g:<id>")
        after = ""
        while True:
            [page] = await self._storage.members(
                [pb.MembersItem(conversation=conversation, after=after, limit=OWNER_PAGE)]
            )
            if isinstance(page, TidingsError):
                raise page
            for member in page.members:
                if member.role == GroupRole.OWNER:
                    return member.user
            if not page.more or not page.members:
                raise NotFound(f"{conversation} does not exist, or everybody has left it: check its id")
            after = page.members[-1].user

    async def _reply(self, request: ClientRequest) -> Reply:
        try:
            return await self._act(request)
        except TidingsError as error:
            return error

    async def _act(self, request: ClientRequest) -> client_pb2.ServerFrame:
        body, op = request.frame.group, _op_of(request)
        need = need_of(body, request.user, self._policy)
        if need is None:
            return await self._create(request, op)
        for _ in range(DECISIONS_MAX):
            group, known, made = await self._loader.load_for_change(need, request.user, op)
            if made is not None:
                return await self._tell_made(request, made)
            known = replace(known, now_ms=self._clock.wall_ms(), blocking=await self._blocking(request, group))
            decision = decide(body, request.user, group, self._policy, known)
            if isinstance(decision, GroupChange):
                answer = await self._make(request, op, decision, group, known)
            else:
                answer = await self._do_beside(request, decision, group)
            if answer is not None:
                return answer
            metrics.STALE_DECISIONS.labels("group").inc()
        raise Unavailable("the group is being changed by others: try again", CHANGING_RETRY_MS)

    async def _make(
        self,
        request: ClientRequest,
        op: str,
        change: GroupChange,
        group: GroupSnapshot | None,
        known: Circumstances,
    ) -> client_pb2.ServerFrame | None:
        """Makes the change, and tells of it. None: it is stale."""
        item = announcement.change_item(change, op)
        outcome = await self._storage.change(item)
        self._loader.forget(item.conversation)
        if outcome.HasField("made"):
            return await self._tell_made(request, outcome.made)
        if outcome.status != pb.ChangeOutcome.DONE:
            return None
        await self._tell(request, item, outcome)
        if known.asking.intersection((*(member.user for member in change.members), *change.banned)):
            self._requests.note(item.conversation)  # their requests have fallen
        return _answer(request.frame.group, _after(change, outcome.record, group), request.user, change.refused)

    async def _do_beside(
        self, request: ClientRequest, decision: Decision, group: GroupSnapshot | None
    ) -> client_pb2.ServerFrame | None:
        """Does what changes nothing of the group itself. None: the decision is stale."""
        body = request.frame.group
        match decision:
            case AlreadyDone():
                assert group is not None
                await self._tell_again(decision)
                return _answer(body, group, request.user, decision.refused)
            case AskToJoin():
                assert group is not None
                if not await self._requests.ask(decision):
                    return None
                info = info_of(group, group.conversation, request.user) if group.open else None
                return client_pb2.ServerFrame(group_info=info or client_pb2.GroupInfo(conversation=group.conversation))
            case DropRequests():
                await self._requests.drop(decision)
                return ok_reply()
            case WithdrawInvites():
                withdrawn = pb.AdmitItem.Uninvite(invite=decision.invite, by=decision.by)
                await self._storage.admit_one(pb.AdmitItem(conversation=decision.conversation, uninvite=withdrawn))
                return ok_reply()
            case _:
                raise AssertionError("a change is made, not done beside")

    async def _blocking(self, request: ClientRequest, group: GroupSnapshot | None) -> frozenset[str]:
        """Who of those that are to be taken in has blocked whoever adds them."""
        body = request.frame.group
        match body.WhichOneof("act"):
            case "create":
                users = set(body.create.members) - {request.user}
            case "add":
                users = set(body.add.users) - set(group.members if group else ())
            case _:
                return frozenset()
        return await self._blocks.blocking(request.user, users) if users else frozenset()

    async def _create(self, request: ClientRequest, op: str) -> client_pb2.ServerFrame:
        """The group's id is made of what the creator calls it, so that there is one, whoever is asked how often."""
        body = request.frame.group
        conversation = _name_of_new(request.user, body.create.client_id, op)
        known = Circumstances(blocking=await self._blocking(request, None))
        decision = decide(body, request.user, None, self._policy, known, new=conversation)
        assert isinstance(decision, GroupChange)
        item = announcement.change_item(decision, op)
        outcome = await self._storage.change(item)
        self._loader.forget(conversation)
        if outcome.HasField("made"):
            return await self._tell_made(request, outcome.made)
        if outcome.status != pb.ChangeOutcome.DONE:
            return await self._answer_made(request, conversation)  # so long ago that its first message is gone
        if outcome.notices[0].status == pb.StoreOutcome.DUPLICATE:
            return await self._tell_made(request, item)
        await self._tell(request, item, outcome)
        return _answer(body, _after(decision, outcome.record, None), request.user, decision.refused)

    async def _tell(
        self,
        request: ClientRequest,
        item: pb.ChangeItem,
        outcome: pb.ChangeOutcome,
        members: Mapping[str, GroupMember] | None = None,
    ) -> None:
        await self._publisher.publish(
            announcement.publication(
                item,
                outcome,
                session=request.session,
                trace=request.trace,
                members=members,
            )
        )
        acts = announcement.acts_of(item)
        log.info("group changed", acts=[act.act for act in acts], users=len(acts[0].users) if acts else 0)

    async def _tell_made(self, request: ClientRequest, item: pb.ChangeItem) -> client_pb2.ServerFrame:
        """Tells all of a change that an earlier try with this op has made, and may not have told anybody.

        The answer is from how the group is now.
        """
        outcome = await self._storage.change(item)
        if outcome.status != pb.ChangeOutcome.DONE:
            raise Unavailable("the group is being changed by others: try again", CHANGING_RETRY_MS)
        concerned = (request.user, *announcement.indexed_of(item), *announcement.dropped_of(item))
        group = await self._loader.load_one(Need(item.conversation, tuple(dict.fromkeys(concerned))))
        await self._tell(request, item, outcome, group.members if group else {})
        return _answer_made(request, item.conversation, group, item.refused)

    async def _answer_made(self, request: ClientRequest, conversation: str) -> client_pb2.ServerFrame:
        group = await self._loader.load_one(Need(conversation, (request.user,)))
        if group is None:
            raise Unavailable("the group is being created: try again", CHANGING_RETRY_MS)
        return _answer_made(request, conversation, group)

    async def _tell_again(self, done: AlreadyDone) -> None:
        """Tells once more what is so already: the first news may have been lost with the node that told it."""
        outgoing = announcement.membership_pushes(done.conversation, done.indexed, done.dropped)
        if outgoing:
            await self._publisher.publish(Publication(outgoing))


def _concerned(request: ClientRequest, index: int) -> str:
    """The group that a request is about; creates concern nobody else."""
    body = request.frame.group
    act = body.WhichOneof("act")
    return f"new {index}" if act in {None, "create"} else getattr(body, act).conversation


def _op_of(request: ClientRequest) -> str:
    """What a repeat of this request is known by: a create that has a name of its client's is made once for good."""
    if request.frame.group.create.client_id:
        return "create"
    return request.op or new_id()


def _name_of_new(user: str, client_id: str, op: str) -> str:
    """The id of a new group; it is the same for a repeat of the same create."""
    person = b"client id" if client_id else b""
    return "g:" + blake2b(f"{user} {client_id or op}".encode(), digest_size=12, person=person).hexdigest()


def _after(change: GroupChange, record: pb.ConversationRecord, group: GroupSnapshot | None) -> GroupSnapshot:
    """The group as the one who asked sees it after the change."""
    members = dict(group.members) if group else {}
    members.update({member.user: member for member in change.members})
    for user in change.removed:
        members.pop(user, None)
    return GroupSnapshot(
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
        further=decoded(record.settings),
        bans=record.bans,
        pinned=tuple(record.pinned),
    )


def _answer(
    body: client_pb2.GroupRequest, group: GroupSnapshot, user: str, refused: Sequence[str] = ()
) -> client_pb2.ServerFrame:
    """`refused`: who was not taken in."""
    if body.WhichOneof("act") not in TELLS_OF_THE_GROUP:
        return client_pb2.ServerFrame(ok=client_pb2.Ok(refused=refused))
    info = info_of(group, group.conversation, user)
    info.refused.extend(refused)
    return client_pb2.ServerFrame(group_info=info)


def _answer_made(
    request: ClientRequest, conversation: str, group: GroupSnapshot | None, refused: Sequence[str] = ()
) -> client_pb2.ServerFrame:
    """The answer to an asker who may be out of the group by now: then as to those who are put out of it."""
    body = request.frame.group
    if group is not None and not group.dissolved and (group.open or group.role_of(request.user) is not None):
        return _answer(body, group, request.user, refused)
    if body.WhichOneof("act") not in TELLS_OF_THE_GROUP:
        return client_pb2.ServerFrame(ok=client_pb2.Ok(refused=refused))
    return client_pb2.ServerFrame(group_info=client_pb2.GroupInfo(conversation=conversation))
