"""Groups: made, changed, joined, left; who may what in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from google.protobuf.message import Message as ProtoMessage

from tidings.calling.asking import Asking, pages, parts
from tidings.model import Group, Invite, JoinRequest, Member, Role
from tidings_protocol import client_pb2 as pb
from tidings_protocol.ids import new_id

USERS_PER_REQUEST = 500


class GroupCalls(Asking):
    async def create_group(
        self,
        name: str,
        members: Iterable[str] = (),
        *,
        open: bool = False,  # noqa: A002  # the protocol's word
        channel: bool = False,
        share_history: bool = False,
        client_id: str | None = None,
    ) -> Group:
        """Any number of members: those beyond the protocol's limit of a request are added behind it.

        Tried again like a send; making it again with the same `client_id` gives the same group. Who cannot be taken in
        is in `refused` of what comes.
        """
        names = list(members)
        first, rest = names[:USERS_PER_REQUEST], names[USERS_PER_REQUEST:]
        asked = pb.GroupRequest.Create(
            name=name,
            members=first,
            open=open,
            channel=channel,
            share_history=share_history,
            client_id=client_id or new_id(),
        )
        group = await self._group(asked)
        if not rest:
            return group
        await self.add(group.id, rest)
        return await self.group(group.id)

    async def group(self, group: str) -> Group:
        """What is known of it."""
        return await self._group(pb.GroupRequest.Info(conversation=group))

    async def invited(self, group: str, invite: str) -> Group:
        """What is told of it to who has an invite, before they join: its name and how many are in it."""
        return await self._group(pb.GroupRequest.Info(conversation=group, invite=invite))

    async def join(self, group: str, *, invite: str = "", text: str = "") -> Group:
        """`role` NONE in what comes: it was asked for (with this text), and owner and admins decide."""
        return await self._group(pb.GroupRequest.Join(conversation=group, invite=invite, text=text))

    async def leave(self, group: str) -> None:
        """Also takes back that one asked to join."""
        await self._ask(pb.GroupRequest.Leave(conversation=group))

    async def add(self, group: str, users: Iterable[str]) -> list[str]:
        """Who was not taken in comes back: banned ones, those who block the caller, and whoever has no room."""
        refused: list[str] = []
        for part in parts(users, USERS_PER_REQUEST):
            refused += (await self._ask(pb.GroupRequest.Add(conversation=group, users=part))).ok.refused
        return refused

    async def remove(self, group: str, users: Iterable[str]) -> None:
        for part in parts(users, USERS_PER_REQUEST):
            await self._ask(pb.GroupRequest.Remove(conversation=group, users=part))

    async def set_role(self, group: str, user: str, role: Role) -> None:
        told = cast("pb.Member.Role.ValueType", int(role))
        await self._ask(pb.GroupRequest.SetRole(conversation=group, user=user, role=told))

    async def rename(self, group: str, name: str) -> Group:
        return await self._group(pb.GroupRequest.Rename(conversation=group, name=name))

    async def update_group(
        self,
        group: str,
        *,
        name: str | None = None,
        description: str | None = None,
        avatar: str | None = None,
        open: bool | None = None,  # noqa: A002  # the protocol's word
        channel: bool | None = None,
        share_history: bool | None = None,
        approval: bool | None = None,
        members_add: bool | None = None,
        muted: bool | None = None,
        slow_s: int | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> Group:
        """Sets these; what is not given stays. Attributes are merged, and an empty one is removed."""
        settings = pb.GroupSettings(
            name=name,
            description=description,
            avatar=avatar,
            open=open,
            channel=channel,
            share_history=share_history,
            approval=approval,
            members_add=members_add,
            muted=muted,
            slow_s=slow_s,
            attributes=attributes or {},
        )
        return await self._group(pb.GroupRequest.Update(conversation=group, settings=settings))

    async def dissolve(self, group: str) -> None:
        """Ends the group for everybody, for good."""
        await self._ask(pb.GroupRequest.Dissolve(conversation=group))

    async def members(self, group: str, limit: int = 1000) -> list[Member]:
        async def ask(after: str, part: int) -> pb.MemberPage:
            asked = pb.GroupRequest.Members(conversation=group, after=after, limit=part)
            return (await self._ask(asked)).member_page

        return await pages(ask, lambda page: [Member.from_proto(told) for told in page.members], limit)

    async def mute(self, group: str, users: Iterable[str], until_ms: int = -1) -> None:
        """These may not send until then; -1: for ever."""
        for part in parts(users, USERS_PER_REQUEST):
            await self._ask(pb.GroupRequest.Mute(conversation=group, users=part, until_ms=until_ms))

    async def unmute(self, group: str, users: Iterable[str]) -> None:
        await self.mute(group, users, 0)

    async def ban(self, group: str, users: Iterable[str]) -> None:
        """These are removed, and neither join, add nor invite brings them back."""
        for part in parts(users, USERS_PER_REQUEST):
            await self._ask(pb.GroupRequest.Ban(conversation=group, users=part, banned=True))

    async def unban(self, group: str, users: Iterable[str]) -> None:
        for part in parts(users, USERS_PER_REQUEST):
            await self._ask(pb.GroupRequest.Ban(conversation=group, users=part, banned=False))

    async def banned(self, group: str, limit: int = 1000) -> list[str]:
        async def ask(after: str, part: int) -> pb.UserPage:
            asked = pb.GroupRequest.Banned(conversation=group, after=after, limit=part)
            return (await self._ask(asked)).user_page

        return await pages(ask, lambda page: page.users, limit)

    async def invite(self, group: str, *, ttl_s: int = 0, uses: int = 0) -> Invite:
        """What lets others in, for so long (0: a week) and so often (0: as many as like)."""
        asked = pb.GroupRequest.Invite(conversation=group, ttl_s=ttl_s, uses=uses)
        return Invite.from_proto((await self._ask(asked)).invite_info)

    async def uninvite(self, group: str, invite: str = "") -> None:
        """Takes an invite back; empty: all that one may take back."""
        await self._ask(pb.GroupRequest.Uninvite(conversation=group, invite=invite))

    async def invites(self, group: str, limit: int = 1000) -> list[Invite]:
        """Those that hold, the oldest first."""

        async def ask(after: str, part: int) -> pb.InvitePage:
            asked = pb.GroupRequest.Invites(conversation=group, after=after, limit=part)
            return (await self._ask(asked)).invite_page

        return await pages(ask, lambda page: [Invite.from_proto(told) for told in page.invites], limit)

    async def join_requests(self, group: str, limit: int = 1000) -> list[JoinRequest]:
        """Who asks to be taken in, the oldest first."""

        async def ask(after: str, part: int) -> pb.JoinRequestPage:
            asked = pb.GroupRequest.JoinRequests(conversation=group, after=after, limit=part)
            return (await self._ask(asked)).join_request_page

        return await pages(ask, lambda page: [JoinRequest.from_proto(told) for told in page.requests], limit)

    async def decide(self, group: str, users: Iterable[str], *, accept: bool) -> None:
        """Whether who asked is taken in."""
        for part in parts(users, USERS_PER_REQUEST):
            await self._ask(pb.GroupRequest.Decide(conversation=group, users=part, accept=accept))

    async def _group(self, request: ProtoMessage) -> Group:
        return Group.from_proto((await self._ask(request)).group_info)
