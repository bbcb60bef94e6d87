"""`group` requests that change nothing: `info` and `members`.

Guarantees: a reply for each request, in their order. Who may read is decided on what storage says now, not on memory. A
limit over the maximum is cut to it.

Does not know: changes of groups (changes/group_changes.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.clock import Clock, SystemClock
from services.logic.groups.loader import GroupLoader
from services.logic.groups.model import FOR_EVER, GroupPolicy
from services.logic.groups.needs import Need
from services.logic.groups.permissions import check_member
from services.logic.groups.rules import info_of
from services.logic.requests.groups.asked import groups_of, need_in
from services.logic.requests.request import ClientRequest, Handler, Reply, page_limit
from services.logic.storage_client import StorageClient
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError

LIMIT_DEFAULT, LIMIT_MAX = 100, 500


class GroupReader:
    """Answers batches of `group` requests with the act `info`, or with the act `members`."""

    def __init__(
        self, storage: StorageClient, loader: GroupLoader, policy: GroupPolicy, clock: Clock | None = None
    ) -> None:
        """`clock`: None: the system's."""
        self._storage = storage
        self._loader = loader
        self._policy = policy
        self._clock = clock or SystemClock()

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By the names of operations."""
        return {"group.info": self.info, "group.members": self.members}

    async def info(self, requests: Sequence[ClientRequest]) -> list[Reply]:
        """What each asker may see of a group, also by an invite."""
        needs = [need_in(request, self._policy) for request in requests]
        loaded = iter(await self._loader.load_each([need for need in needs if isinstance(need, Need)]))
        now_ms = self._clock.wall_ms()
        replies: list[Reply] = []
        for request, need in zip(requests, needs, strict=True):
            found = next(loaded) if isinstance(need, Need) else need
            if isinstance(found, TidingsError):
                replies.append(found)
                continue
            asked, known = request.frame.group.info, replace(found.known, now_ms=now_ms)
            try:
                info = info_of(found.group, asked.conversation, request.user, known, invite=asked.invite)
                replies.append(client_pb2.ServerFrame(group_info=info))
            except TidingsError as error:
                replies.append(error)
        return replies

    async def members(self, requests: Sequence[ClientRequest]) -> list[Reply]:
        """Pages of a group's members, in the order of their names, for its members."""
        groups = await groups_of(requests, self._loader, self._policy)
        replies: list[Reply | None] = [None] * len(requests)
        allowed: list[int] = []
        for index, (request, group) in enumerate(zip(requests, groups, strict=True)):
            if isinstance(group, TidingsError):
                replies[index] = group
                continue
            try:
                check_member(group, request.frame.group.members.conversation, request.user)
                allowed.append(index)
            except TidingsError as error:
                replies[index] = error
        outcomes = await self._storage.members([_item(requests[index].frame.group.members) for index in allowed])
        for index, outcome in zip(allowed, outcomes, strict=True):
            replies[index] = outcome if isinstance(outcome, TidingsError) else _page(outcome, self._clock.wall_ms())
        return [reply for reply in replies if reply is not None]


def _item(members: client_pb2.GroupRequest.Members) -> pb.MembersItem:
    return pb.MembersItem(
        conversation=members.conversation,
        after=members.after,
        limit=page_limit(members.limit, LIMIT_DEFAULT, LIMIT_MAX),
    )


def _page(outcome: pb.MembersOutcome, now_ms: int) -> client_pb2.ServerFrame:
    page = client_pb2.MemberPage(more=outcome.more, next=outcome.members[-1].user if outcome.members else "")
    for member in outcome.members:
        until_ms = member.muted_until_ms
        page.members.add(
            user=member.user,
            role=client_pb2.Member.Role.ValueType(member.role),
            joined_ms=member.joined_ms,
            muted_until_ms=until_ms if until_ms == FOR_EVER or until_ms > now_ms else 0,
        )
    return client_pb2.ServerFrame(member_page=page)
