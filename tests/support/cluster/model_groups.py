"""The part of the model server that changes groups: settings, invites, who asks to join, who is muted or banned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidings_protocol import client_pb2 as pb
from tidings_protocol.ids import new_id

if TYPE_CHECKING:
    from tests.support.cluster.model_server import ModelServer, Room, Session


class Groups:
    """Whoever is a member may do everything."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server

    def act(self, session: Session, room: Room, request: pb.GroupRequest) -> pb.ServerFrame | None:
        """None: it is none of these acts."""
        act = request.WhichOneof("act") or ""
        handler = getattr(self, f"_on_{act}", None)
        if handler is None:
            return None
        answer: pb.ServerFrame = handler(session, room, getattr(request, act))
        return answer

    def _on_join(self, session: Session, room: Room, asked: pb.GroupRequest.Join) -> pb.ServerFrame:
        if asked.invite and asked.invite not in room.invites:
            return pb.ServerFrame(error=pb.Error(code="NOT_FOUND", message="there is no such invite"))
        if session.user in room.banned:
            return pb.ServerFrame(error=pb.Error(code="FORBIDDEN", message="you are banned from this group"))
        if room.settings.approval and not asked.invite:
            room.requests[session.user] = asked.text
        else:
            room.members.setdefault(session.user, room.head)
        return self._server.info(room, session.user)

    def _on_update(self, session: Session, room: Room, asked: pb.GroupRequest.Update) -> pb.ServerFrame:
        attributes = {**room.settings.attributes, **asked.settings.attributes}
        room.settings.MergeFrom(asked.settings)
        room.settings.attributes.clear()
        room.settings.attributes.update({key: value for key, value in attributes.items() if value})
        room.name = room.settings.name or room.name
        return self._server.info(room, session.user)

    def _on_mute(self, _session: Session, room: Room, asked: pb.GroupRequest.Mute) -> pb.ServerFrame:
        room.muted.update(dict.fromkeys(asked.users, asked.until_ms))
        return pb.ServerFrame(ok=pb.Ok())

    def _on_ban(self, _session: Session, room: Room, asked: pb.GroupRequest.Ban) -> pb.ServerFrame:
        for user in asked.users:
            if asked.banned:
                room.banned.add(user)
                room.members.pop(user, None)
            else:
                room.banned.discard(user)
        return pb.ServerFrame(ok=pb.Ok())

    def _on_banned(self, _session: Session, room: Room, asked: pb.GroupRequest.Banned) -> pb.ServerFrame:
        part = sorted(user for user in room.banned if user > asked.after)[: self._server.page_max]
        more = bool(part) and part[-1] != max(room.banned)
        return pb.ServerFrame(user_page=pb.UserPage(users=part, next=part[-1] if part else "", more=more))

    def _on_join_requests(self, _session: Session, room: Room, _asked: pb.GroupRequest.JoinRequests) -> pb.ServerFrame:
        requests = [
            pb.JoinRequestPage.Request(user=user, text=text, time_ms=self._server.time_ms)
            for user, text in room.requests.items()
        ]
        return pb.ServerFrame(join_request_page=pb.JoinRequestPage(requests=requests))

    def _on_decide(self, _session: Session, room: Room, asked: pb.GroupRequest.Decide) -> pb.ServerFrame:
        for user in asked.users:
            if room.requests.pop(user, None) is not None and asked.accept:
                room.members[user] = room.head
        return pb.ServerFrame(ok=pb.Ok())

    def _on_invite(self, session: Session, room: Room, asked: pb.GroupRequest.Invite) -> pb.ServerFrame:
        invite = pb.InviteInfo(
            conversation=room.id,
            invite=new_id(),
            expires_ms=self._server.time_ms + 1000 * (asked.ttl_s or 604_800),
            uses_left=asked.uses or None,
            by=session.user,
        )
        room.invites[invite.invite] = invite
        return pb.ServerFrame(invite_info=invite)

    def _on_uninvite(self, _session: Session, room: Room, asked: pb.GroupRequest.Uninvite) -> pb.ServerFrame:
        for invite in [asked.invite] if asked.invite else list(room.invites):
            room.invites.pop(invite, None)
        return pb.ServerFrame(ok=pb.Ok())

    def _on_invites(self, _session: Session, room: Room, _asked: pb.GroupRequest.Invites) -> pb.ServerFrame:
        return pb.ServerFrame(invite_page=pb.InvitePage(invites=list(room.invites.values())))

    def _on_dissolve(self, _session: Session, room: Room, _asked: pb.GroupRequest.Dissolve) -> pb.ServerFrame:
        room.members.clear()
        return pb.ServerFrame(ok=pb.Ok())
