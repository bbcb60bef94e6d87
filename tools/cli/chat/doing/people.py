"""Commands about people, and about what the person sets for oneself."""

from __future__ import annotations

from typing import Any

from tidings import ProfileChanged
from tidings_protocol.errors import BadRequest
from tidings_protocol.ids import check_user
from tools.cli.chat.doing.standing import Standing, count, now_ms, when
from tools.cli.chat.talk import prefer

HOUR_MS = 3_600_000
HOURS_MAX = 24 * 365


class PeopleCommands(Standing):
    async def _on_who(self, *users: str) -> None:
        names = [check_user(user) for user in users]
        for profile in await self._client.profiles(names):
            self._model.apply(ProfileChanged(profile), 0.0)
        for presence in await self._client.presence(names):
            seen = f"last seen {when(presence.last_seen_ms)}" if presence.last_seen_ms else "never seen"
            name = self._model.name_of(presence.user)
            called = f" ({name})" if name != presence.user else ""
            self._note(f"{presence.user}{called}: {'online' if presence.online else seen}")

    async def _on_name(self, name: str) -> None:
        (known,) = await self._client.profiles([self._model.me])
        profile = await self._client.set_profile(
            name, avatar=known.avatar, attributes=known.attributes, version=known.version
        )
        self._model.apply(ProfileChanged(profile), 0.0)
        self._note(f"You are called {profile.name} now.")

    async def _on_block(self, *users: str) -> None:
        await self._client.block([check_user(user) for user in users])
        self._note(f"You take no more messages from {', '.join(users)}.")

    async def _on_unblock(self, *users: str) -> None:
        await self._client.unblock([check_user(user) for user in users])
        self._note(f"You take messages from {', '.join(users)} again.")

    async def _on_blocked(self) -> None:
        users = await self._client.blocked()
        self._note(f"You take no messages from {', '.join(users)}." if users else "You take messages from everybody.")

    async def _on_mute(self, word: str = "") -> None:
        until_ms = -1
        if word.lower() == "off":
            until_ms = 0
        elif word:
            until_ms = now_ms() + HOUR_MS * count(word, "hours", HOURS_MAX)
        await self._prefer(muted_until_ms=until_ms)
        said = "notifies you again" if until_ms == 0 else "notifies you no more"
        until = f" until {when(until_ms)}" if until_ms > 0 else ""
        self._note(f"This conversation {said}{until}.")

    async def _on_top(self, word: str = "") -> None:
        on = _on(word)
        await self._prefer(pinned=on, **({"archived": False} if on else {}))
        self._note(f"This conversation stands at the top of the list{'' if on else ' no more'}.")

    async def _on_archive(self, word: str = "") -> None:
        on = _on(word)
        await self._prefer(archived=on, **({"pinned": False} if on else {}))
        self._note(f"This conversation stands at the end of the list{'' if on else ' no more'}.")

    async def _prefer(self, **given: Any) -> None:
        talk = self._here()
        await self._client.prefer(talk.id, **given)
        talk.preferences = prefer(talk.preferences, talk.id, **given)


def _on(word: str) -> bool:
    if word.lower() not in ("", "on", "off"):
        raise BadRequest(f"{word!r} is neither on nor off: say nothing, or off")
    return word.lower() != "off"
