"""Commands about groups: made, joined, left, set; who is in them and who may what."""

from __future__ import annotations

import time
from typing import Any

from tidings import Group, Role
from tidings_protocol.errors import BadRequest
from tidings_protocol.ids import check_user
from tools.cli.chat.commands import SETTINGS
from tools.cli.chat.doing.standing import Standing, count, now_ms, when

MINUTE_MS = 60_000
MINUTES_MAX = 60 * 24 * 365
HOURS_MAX = 24 * 365
USES_MAX = 100_000
# The words of a person, where the protocol has others.
FIELDS = {"share": "share_history", "adding": "members_add", "silent": "muted", "slow": "slow_s"}


class GroupCommands(Standing):
    async def _on_create(self, name: str, *users: str) -> None:
        group = await self._client.create_group(name, [check_user(user) for user in users])
        self._take(group)
        await self._enter(self._model.open(group.id))
        self._note(f"The group {group.name} is {group.id}; /add USER adds others.")
        self._refused(group.refused)

    async def _on_join(self, group: str, invite: str = "") -> None:
        await self._joined_or_asked(await self._client.join(group, invite=invite))

    async def _on_ask(self, group: str, text: str = "") -> None:
        await self._joined_or_asked(await self._client.join(group, text=text))

    async def _joined_or_asked(self, group: Group) -> None:
        if group.role is Role.NONE:
            self._note(f"You asked to be taken into {group.name or group.id}; who keeps it decides.")
            return
        self._take(group)
        await self._enter(self._model.open(group.id))

    async def _on_leave(self) -> None:
        talk = self._group()
        await self._client.leave(talk.id)
        self._model.forget(talk.id)
        if self._model.talk is not None:
            await self._enter(self._model.talk)
        self._note(f"You left {talk.name}.")

    async def _on_dissolve(self, name: str) -> None:
        talk = self._group()
        if name != talk.name:
            raise BadRequest(f"the group is called {talk.name}: type its name, since it is not brought back")
        await self._client.dissolve(talk.id)

    async def _on_add(self, *users: str) -> None:
        self._refused(await self._client.add(self._group().id, [check_user(user) for user in users]))

    async def _on_remove(self, *users: str) -> None:
        await self._client.remove(self._group().id, users)

    async def _on_members(self) -> None:
        members = await self._client.members(self._group().id, limit=200)
        said = [
            f"{member.user} ({member.role.name.lower()}{', silent' if member.muted_until_ms else ''})"
            for member in members
        ]
        self._note(", ".join(said))

    async def _on_role(self, user: str, role: str) -> None:
        if role.upper() not in ("MEMBER", "ADMIN", "OWNER"):
            raise BadRequest(f"{role!r} is no role: it is member, admin or owner")
        await self._client.set_role(self._group().id, user, Role[role.upper()])

    async def _on_rename(self, name: str) -> None:
        self._take(await self._client.rename(self._group().id, name))

    async def _on_set(self, what: str, value: str) -> None:
        kind = SETTINGS.get(what)
        if kind is None:
            raise BadRequest(f"{what!r} is nothing that can be set: it is {', '.join(SETTINGS)}")
        given: dict[str, Any] = {FIELDS.get(what, what): _value(kind, value)}
        self._take(await self._client.update_group(self._group().id, **given))

    async def _on_silence(self, user: str, word: str = "") -> None:
        group = self._group().id
        if word.lower() == "off":
            await self._client.unmute(group, [user])
        elif word:
            await self._client.mute(group, [user], now_ms() + MINUTE_MS * count(word, "minutes", MINUTES_MAX))
        else:
            await self._client.mute(group, [user])

    async def _on_ban(self, *users: str) -> None:
        await self._client.ban(self._group().id, users)

    async def _on_unban(self, *users: str) -> None:
        await self._client.unban(self._group().id, users)

    async def _on_banned(self) -> None:
        users = await self._client.banned(self._group().id)
        self._note(", ".join(users) if users else "Nobody is banned from this group.")

    async def _on_invite(self, hours: str = "", uses: str = "") -> None:
        talk = self._group()
        ttl_s = 3600 * count(hours, "hours", HOURS_MAX) if hours else 0
        invite = await self._client.invite(talk.id, ttl_s=ttl_s, uses=count(uses, "uses", USES_MAX) if uses else 0)
        self._note(f"/join {invite.group} {invite.invite}  until {when(invite.expires_ms)}")

    async def _on_invites(self) -> None:
        invites = await self._client.invites(self._group().id)
        if not invites:
            self._note("There is no invite to this group; /invite makes one.")
        for invite in invites:
            left = "" if invite.uses_left is None else f", {invite.uses_left} times"
            self._note(f"{invite.invite} by {invite.by}, until {when(invite.expires_ms)}{left}")

    async def _on_uninvite(self, invite: str = "") -> None:
        await self._client.uninvite(self._group().id, invite)
        self._note("The invite is taken back." if invite else "The invites are taken back.")

    async def _on_requests(self) -> None:
        requests = await self._client.join_requests(self._group().id)
        if not requests:
            self._note("Nobody asks to be taken in.")
        for request in requests:
            self._note(f"{request.user}: {request.text}".rstrip(": "))

    async def _on_accept(self, *users: str) -> None:
        await self._client.decide(self._group().id, users, accept=True)

    async def _on_decline(self, *users: str) -> None:
        await self._client.decide(self._group().id, users, accept=False)
        self._note(f"You left out {', '.join(users)}.")

    def _take(self, group: Group) -> None:
        self._model.apply(group, time.monotonic())

    def _refused(self, users: list[str] | tuple[str, ...]) -> None:
        if users:
            self._note(f"Not taken in: {', '.join(users)}.")


def _value(kind: type, word: str) -> str | bool | int:
    """What a person typed for a setting. Raises BadRequest."""
    if kind is bool:
        if word.lower() not in ("on", "off"):
            raise BadRequest(f"{word!r} is neither on nor off")
        return word.lower() == "on"
    if kind is int:
        if not (word.isascii() and word.isdigit()):
            raise BadRequest(f"{word!r} is no number of seconds: 0 is as fast as one likes")
        return int(word)
    return word
