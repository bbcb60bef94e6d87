"""Bans, invites, requests to join, paces and dissolved groups of the twin in memory.

Guarantees: those of repository/group_contract.py. Does not know: what a change ends.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from services.storage.repository.group_contract import GroupPorts
from services.storage.repository.group_records import (
    BanDocument,
    InviteDocument,
    InviteUse,
    JoinRequestDocument,
    Pace,
)
from services.storage.repository.memory.faults import Faults
from services.storage.repository.memory.port import MemoryPort
from services.storage.repository.memory.tables import Tables
from services.storage.repository.records import MemberKey


@dataclass(slots=True)
class GroupTables:
    """What is durable beside members."""

    bans: dict[MemberKey, BanDocument] = field(default_factory=dict)
    invites: dict[tuple[str, str], InviteDocument] = field(default_factory=dict)
    uses: set[tuple[str, str, str]] = field(default_factory=set)
    requests: dict[MemberKey, JoinRequestDocument] = field(default_factory=dict)
    paces: dict[MemberKey, int] = field(default_factory=dict)
    dissolved: dict[str, int] = field(default_factory=dict)


class _GroupPort(MemoryPort):
    __slots__ = ("_beside",)

    def __init__(self, data: Tables, faults: Faults, beside: GroupTables) -> None:
        super().__init__(data, faults)
        self._beside = beside


class MemoryBans(_GroupPort):
    async def write(self, bans: Sequence[BanDocument]) -> None:
        await self._faults.before("bans.write")
        for ban in bans:
            present = self._beside.bans.get(MemberKey(ban.conversation, ban.user))
            if present is None or present.stamp < ban.stamp:
                self._beside.bans[MemberKey(ban.conversation, ban.user)] = ban
        await self._faults.after("bans.write")

    async def find(self, keys: Collection[MemberKey]) -> set[MemberKey]:
        await self._faults.before("bans.find")
        return {key for key in keys if (ban := self._beside.bans.get(key)) is not None and not ban.gone}

    async def page(self, conversation: str, after: str, limit: int) -> list[str]:
        await self._faults.before("bans.page")
        users = [
            key.user for key, ban in self._beside.bans.items() if key.conversation == conversation and not ban.gone
        ]
        return sorted(user for user in users if user > after)[:limit]


class MemoryInvites(_GroupPort):
    async def make(self, invite: InviteDocument) -> None:
        await self._faults.before("invites.make")
        self._beside.invites.setdefault((invite.conversation, invite.invite), invite)
        await self._faults.after("invites.make")

    async def find(self, conversation: str, invite: str, now_ms: int) -> InviteDocument | None:
        await self._faults.before("invites.find")
        found = self._beside.invites.get((conversation, invite))
        return found if found is not None and found.expires_ms > now_ms else None

    async def made_by(self, conversation: str, user: str, now_ms: int, limit: int) -> list[InviteDocument]:
        await self._faults.before("invites.made_by")
        return self._sorted(conversation, user, now_ms)[:limit]

    async def page(
        self, conversation: str, after: tuple[int, str], by: str, now_ms: int, limit: int
    ) -> list[InviteDocument]:
        await self._faults.before("invites.page")
        return [each for each in self._sorted(conversation, by, now_ms) if (each.time_ms, each.invite) > after][:limit]

    async def end(self, conversation: str, *, invite: str = "", by: Collection[str] | None = None, below: int) -> None:
        await self._faults.before("invites.end")
        for key, each in list(self._beside.invites.items()):
            is_meant = each.conversation == conversation and invite in {"", each.invite} and each.stamp < below
            if is_meant and (by is None or each.by in by):
                del self._beside.invites[key]
        await self._faults.after("invites.end")

    async def use(self, uses: Sequence[InviteUse]) -> None:
        await self._faults.before("invites.use")
        self._beside.uses |= {use[:3] for use in uses}
        await self._faults.after("invites.use")

    async def used_by(self, conversation: str, invite: str, user: str) -> bool:
        await self._faults.before("invites.used_by")
        return (conversation, invite, user) in self._beside.uses

    async def used(self, conversation: str, invites: Collection[str]) -> dict[str, int]:
        await self._faults.before("invites.used")
        counts: dict[str, int] = {}
        for there, invite, _ in self._beside.uses:
            if there == conversation and invite in invites:
                counts[invite] = counts.get(invite, 0) + 1
        return counts

    def _sorted(self, conversation: str, by: str, now_ms: int) -> list[InviteDocument]:
        found = [
            each
            for each in self._beside.invites.values()
            if each.conversation == conversation and by in {"", each.by} and each.expires_ms > now_ms
        ]
        return sorted(found, key=lambda each: (each.time_ms, each.invite))


class MemoryJoinRequests(_GroupPort):
    async def ask(self, request: JoinRequestDocument, since: int) -> None:
        await self._faults.before("requests.ask")
        key = MemberKey(request.conversation, request.user)
        present = self._beside.requests.get(key)
        kept = present is not None and present.stamp >= since
        self._beside.requests[key] = replace(present, text=request.text) if present and kept else request
        await self._faults.after("requests.ask")

    async def find(self, keys: Collection[MemberKey], since: int) -> set[MemberKey]:
        await self._faults.before("requests.find")
        there = self._beside.requests
        return {key for key in keys if key in there and there[key].stamp >= since}

    async def count(self, conversation: str, since: int, most: int) -> int:
        await self._faults.before("requests.count")
        return min(most, len(self._sorted(conversation, since)))

    async def page(
        self, conversation: str, since: int, after: tuple[int, str], limit: int
    ) -> list[JoinRequestDocument]:
        await self._faults.before("requests.page")
        return [each for each in self._sorted(conversation, since) if (each.time_ms, each.user) > after][:limit]

    async def drop(self, conversation: str, users: Collection[str] | None, below: int) -> None:
        await self._faults.before("requests.drop")
        for key, each in list(self._beside.requests.items()):
            if key.conversation == conversation and each.stamp < below and (users is None or key.user in users):
                del self._beside.requests[key]
        await self._faults.after("requests.drop")

    def _sorted(self, conversation: str, since: int) -> list[JoinRequestDocument]:
        found = [
            each for each in self._beside.requests.values() if each.conversation == conversation and each.stamp >= since
        ]
        return sorted(found, key=lambda each: (each.time_ms, each.user))


class MemoryPaces(_GroupPort):
    async def find(self, keys: Collection[MemberKey]) -> dict[MemberKey, int]:
        await self._faults.before("paces.find")
        return {key: self._beside.paces[key] for key in keys if key in self._beside.paces}

    async def write(self, paces: Sequence[Pace]) -> None:
        await self._faults.before("paces.write")
        for pace in paces:
            key = MemberKey(pace.conversation, pace.user)
            self._beside.paces[key] = max(pace.sent_ms, self._beside.paces.get(key, 0))
        await self._faults.after("paces.write")


class MemoryDissolved(_GroupPort):
    async def note(self, conversation: str, stamp: int) -> None:
        await self._faults.before("dissolved.note")
        self._beside.dissolved[conversation] = stamp
        await self._faults.after("dissolved.note")

    async def some(self, limit: int) -> list[tuple[str, int]]:
        await self._faults.before("dissolved.some")
        return list(self._beside.dissolved.items())[:limit]

    async def release(self, conversation: str, stamp: int, limit: int) -> int:
        await self._faults.before("dissolved.release")
        members = self._data.members[conversation]
        released = [user for user in sorted(members) if not members[user].gone][:limit]
        for user in released:
            members[user] = replace(members[user], gone=True, former=True, stamp=max(stamp, members[user].stamp))
        await self._faults.after("dissolved.release")
        return len(released)

    async def clear(self, conversation: str) -> None:
        await self._faults.before("dissolved.clear")
        beside = self._beside
        for table in (beside.bans, beside.requests):
            for key in [key for key in table if key.conversation == conversation]:
                del table[key]
        for invite in [key for key in beside.invites if key[0] == conversation]:
            del beside.invites[invite]
        beside.uses = {use for use in beside.uses if use[0] != conversation}
        beside.dissolved.pop(conversation, None)
        await self._faults.after("dissolved.clear")

    async def former(self, keys: Collection[MemberKey]) -> set[MemberKey]:
        await self._faults.before("dissolved.former")
        found = ((key, self._data.members[key.conversation].get(key.user)) for key in keys)
        return {key for key, member in found if member is not None and (member.former or not member.gone)}


def memory_groups(data: Tables, faults: Faults, beside: GroupTables) -> GroupPorts:
    """All ports for what lies beside members, on these tables."""
    return GroupPorts(
        MemoryBans(data, faults, beside),
        MemoryInvites(data, faults, beside),
        MemoryJoinRequests(data, faults, beside),
        MemoryPaces(data, faults, beside),
        MemoryDissolved(data, faults, beside),
    )
