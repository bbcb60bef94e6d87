"""The part of the model server that keeps profiles, who is blocked, and preferences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidings_protocol import client_pb2 as pb

if TYPE_CHECKING:
    from tests.support.cluster.model_server import ModelServer, Session


class People:
    def __init__(self, server: ModelServer) -> None:
        self._server = server
        self.blocked: dict[str, set[str]] = {}
        self.profiles: dict[str, pb.Profile] = {}
        self.preferences: dict[tuple[str, str], pb.ConversationPreferences] = {}

    def set_profile(self, profile: pb.Profile) -> None:
        """Whoever watches is told."""
        known = self.profiles.get(profile.user)
        stored = pb.Profile()
        stored.CopyFrom(profile)
        stored.version = known.version + 1 if known is not None else 1
        self.profiles[profile.user] = stored
        for session in self._server.sessions:
            if profile.user in session.profiles:
                session.push(pb.ServerFrame(profile_list=pb.ProfileList(profiles=[stored])))

    def on_profile(self, session: Session, asked: pb.ProfileRequest) -> pb.ServerFrame:
        if asked.WhichOneof("act") == "get":
            users = set(asked.get.users)
            session.profiles = session.profiles | users if asked.get.watch else session.profiles - users
            found = [self.profiles.get(user) or pb.Profile(user=user) for user in asked.get.users]
            return pb.ServerFrame(profile_list=pb.ProfileList(profiles=found))
        known = self.profiles.get(session.user)
        if asked.set.version and known is not None and asked.set.version != known.version:
            return pb.ServerFrame(error=pb.Error(code="CONFLICT", message="it was changed meanwhile: read it again"))
        profile = pb.Profile()
        profile.CopyFrom(asked.set)
        profile.user = session.user
        self.set_profile(profile)
        return pb.ServerFrame(profile_list=pb.ProfileList(profiles=[self.profiles[session.user]]))

    def on_block(self, session: Session, asked: pb.BlockRequest) -> pb.ServerFrame:
        mine = self.blocked.setdefault(session.user, set())
        if asked.WhichOneof("act") == "set":
            if asked.set.blocked:
                mine.update(asked.set.users)
            else:
                mine.difference_update(asked.set.users)
            return pb.ServerFrame(ok=pb.Ok())
        part = sorted(user for user in mine if user > asked.list.after)[: self._server.page_max]
        more = bool(part) and part[-1] != max(mine)
        return pb.ServerFrame(user_page=pb.UserPage(users=part, next=part[-1] if part else "", more=more))

    def on_prefer(self, session: Session, asked: pb.Prefer) -> pb.ServerFrame:
        key = (session.user, asked.conversation)
        kept = self.preferences.setdefault(key, pb.ConversationPreferences(conversation=asked.conversation))
        for name in ("muted_until_ms", "pinned", "archived", "marked_unread", "draft", "hidden"):
            if asked.HasField(name):
                setattr(kept, name, getattr(asked, name))
        self._server.tell(session.user, pb.ServerFrame(preferences=kept), session)
        return pb.ServerFrame(ok=pb.Ok())
