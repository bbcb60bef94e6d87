"""`group` requests for what lies beside a group's members, by pages: requests to join, invites, banned users.

    join_requests, banned     owner and admins
    invites                   owner and admins; a member sees their own

Guarantees: a reply for each request, in their order. Who may read is decided on what storage says now, not on memory. A
limit over the maximum is cut to it.

Does not know: how they are made (changes/).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.logic.groups.loader import GroupLoader
from services.logic.groups.model import GroupPolicy, GroupRole, GroupSnapshot
from services.logic.groups.permissions import check_leader, check_member
from services.logic.requests.groups.asked import groups_of
from services.logic.requests.request import ClientRequest, Handler, Reply, page_limit
from services.logic.storage_client import StorageClient
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError

LIMIT_DEFAULT, LIMIT_MAX = 50, 200

Allowed = Callable[[GroupSnapshot | None, ClientRequest], pb.AdmitItem]
Shown = Callable[[str, pb.AdmitOutcome], client_pb2.ServerFrame]


class GroupLists:
    """Answers batches of `group` requests with one of these acts."""

    def __init__(self, storage: StorageClient, loader: GroupLoader, policy: GroupPolicy) -> None:
        self._storage = storage
        self._loader = loader
        self._policy = policy

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By the names of operations."""
        return {
            "group.join_requests": self.join_requests,
            "group.invites": self.invites,
            "group.banned": self.banned,
        }

    async def join_requests(self, requests: Sequence[ClientRequest]) -> list[Reply]:
        """Who asks to join, oldest first."""
        return await self._pages(requests, _of_requests, _request_page)

    async def invites(self, requests: Sequence[ClientRequest]) -> list[Reply]:
        """The invites that are not over, oldest first."""
        return await self._pages(requests, _of_invites, _invite_page)

    async def banned(self, requests: Sequence[ClientRequest]) -> list[Reply]:
        """Who is banned, by user id."""
        return await self._pages(requests, _of_banned, _user_page)

    async def _pages(self, requests: Sequence[ClientRequest], allowed: Allowed, shown: Shown) -> list[Reply]:
        groups = await groups_of(requests, self._loader, self._policy)
        replies: list[Reply | None] = [None] * len(requests)
        items: dict[int, pb.AdmitItem] = {}
        for index, (request, group) in enumerate(zip(requests, groups, strict=True)):
            try:
                if isinstance(group, TidingsError):
                    raise group
                items[index] = allowed(group, request)
            except TidingsError as error:
                replies[index] = error
        outcomes = await self._storage.admit(list(items.values())) if items else ()
        for (index, item), outcome in zip(items.items(), outcomes, strict=True):
            replies[index] = outcome if isinstance(outcome, TidingsError) else shown(item.conversation, outcome)
        return [reply for reply in replies if reply is not None]


def invite_info(conversation: str, invite: pb.InviteRecord) -> client_pb2.InviteInfo:
    """The invite as its maker, the owner and admins see it."""
    info = client_pb2.InviteInfo(
        conversation=conversation, invite=invite.invite, expires_ms=invite.expires_ms, by=invite.by
    )
    if invite.uses:
        info.uses_left = max(0, invite.uses - invite.used)
    return info


def _of_requests(group: GroupSnapshot | None, request: ClientRequest) -> pb.AdmitItem:
    asked = request.frame.group.join_requests
    check_leader(group, asked.conversation, request.user)
    return pb.AdmitItem(conversation=asked.conversation, requests=_page(asked))


def _of_banned(group: GroupSnapshot | None, request: ClientRequest) -> pb.AdmitItem:
    asked = request.frame.group.banned
    check_leader(group, asked.conversation, request.user)
    return pb.AdmitItem(conversation=asked.conversation, banned=_page(asked))


def _of_invites(group: GroupSnapshot | None, request: ClientRequest) -> pb.AdmitItem:
    asked = request.frame.group.invites
    _, me = check_member(group, asked.conversation, request.user)
    page = _page(asked)
    if me.role is GroupRole.MEMBER:
        page.by = request.user
    return pb.AdmitItem(conversation=asked.conversation, invites=page)


def _page(
    asked: client_pb2.GroupRequest.JoinRequests | client_pb2.GroupRequest.Banned | client_pb2.GroupRequest.Invites,
) -> pb.AdmitItem.Page:
    return pb.AdmitItem.Page(after=asked.after, limit=page_limit(asked.limit, LIMIT_DEFAULT, LIMIT_MAX))


def _request_page(_: str, outcome: pb.AdmitOutcome) -> client_pb2.ServerFrame:
    page = client_pb2.JoinRequestPage(next=outcome.next, more=outcome.more)
    for each in outcome.requests:
        page.requests.add(user=each.user, text=each.text, time_ms=each.time_ms)
    return client_pb2.ServerFrame(join_request_page=page)


def _invite_page(conversation: str, outcome: pb.AdmitOutcome) -> client_pb2.ServerFrame:
    invites = [invite_info(conversation, each) for each in outcome.invites]
    return client_pb2.ServerFrame(
        invite_page=client_pb2.InvitePage(invites=invites, next=outcome.next, more=outcome.more)
    )


def _user_page(_: str, outcome: pb.AdmitOutcome) -> client_pb2.ServerFrame:
    page = client_pb2.UserPage(users=outcome.users, next=outcome.next, more=outcome.more)
    return client_pb2.ServerFrame(user_page=page)
