"""People: who is online, profiles, who is blocked; and what the user sets for a conversation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tidings.calling.asking import Asking, pages, parts
from tidings.core.signals import Watch
from tidings.model import Presence, Profile
from tidings_protocol import client_pb2 as pb

USERS_PER_REQUEST = 100


class PeopleCalls(Asking):
    async def presence(self, users: Iterable[str], *, watch: bool = False) -> list[Presence]:
        """Who is online. `watch`: changes come in `events`, also over reconnections (at most 500 users)."""
        found: list[Presence] = []
        for part in parts(users, USERS_PER_REQUEST):
            answer = (await self._ask(pb.PresenceRequest(users=part, watch=watch))).presence_list
            found += map(Presence.from_proto, answer.users)
            if watch:
                self._opened().engine.step(Watch(tuple(part), on=True))
        return found

    async def unwatch(self, users: Iterable[str]) -> None:
        """No more changes of these."""
        names = list(users)
        self._opened().engine.step(Watch(tuple(names), on=False))
        await self.presence(names, watch=False)

    async def profiles(self, users: Iterable[str], *, watch: bool = False) -> list[Profile]:
        """How users are shown. `watch`: changes come in `events`, also over reconnections (at most 500 users)."""
        found: list[Profile] = []
        for part in parts(users, USERS_PER_REQUEST):
            answer = (await self._ask(pb.ProfileRequest.Get(users=part, watch=watch))).profile_list
            found += map(Profile.from_proto, answer.profiles)
            if watch:
                self._opened().engine.step(Watch(tuple(part), on=True, profiles=True))
        return found

    async def unwatch_profiles(self, users: Iterable[str]) -> None:
        """No more changes of these."""
        names = list(users)
        self._opened().engine.step(Watch(tuple(names), on=False, profiles=True))
        await self.profiles(names, watch=False)

    async def set_profile(
        self, name: str, *, avatar: str = "", attributes: Mapping[str, str] | None = None, version: int = 0
    ) -> Profile:
        """One's own, all of it. `version`: the one that it replaces, else Conflict is raised; 0: whichever it is."""
        asked = pb.Profile(name=name, avatar=avatar, attributes=attributes or {}, version=version)
        answer = (await self._ask(asked)).profile_list
        return Profile.from_proto(answer.profiles[0])

    async def block(self, users: Iterable[str]) -> None:
        """What these do directly to this user is refused from now on."""
        await self._block(users, blocked=True)

    async def unblock(self, users: Iterable[str]) -> None:
        await self._block(users, blocked=False)

    async def blocked(self, limit: int = 1000) -> list[str]:
        """Whom this user has blocked, by name."""

        async def ask(after: str, part: int) -> pb.UserPage:
            return (await self._ask(pb.BlockRequest.List(after=after, limit=part))).user_page

        return await pages(ask, lambda page: page.users, limit)

    async def prefer(
        self,
        conversation: str,
        *,
        muted_until_ms: int | None = None,
        pinned: bool | None = None,
        archived: bool | None = None,
        marked_unread: bool | None = None,
        draft: str | None = None,
        hidden: bool | None = None,
    ) -> None:
        """Sets these for the user, on all devices; what is not given stays.

        `muted_until_ms` 0: not muted; -1: for ever. `hidden`: not in the list until its next message.
        """
        asked = pb.Prefer(
            conversation=self.conversation(conversation),
            muted_until_ms=muted_until_ms,
            pinned=pinned,
            archived=archived,
            marked_unread=marked_unread,
            draft=draft,
            hidden=hidden,
        )
        await self._ask(asked)

    async def _block(self, users: Iterable[str], *, blocked: bool) -> None:
        for part in parts(users, USERS_PER_REQUEST):
            await self._ask(pb.BlockRequest.Set(users=part, blocked=blocked))
