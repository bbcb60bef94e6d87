"""Sessions, users and the time of the twin in memory.

Guarantees: those of repository/contract.py. Does not know: which session is the newest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from services.storage.repository.memory.port import MemoryPort, following, those
from services.storage.repository.records import (
    Acknowledged,
    DeviceKey,
    SessionDocument,
    SessionKey,
    SessionPut,
    UserDocument,
)


class MemorySessions(MemoryPort):
    async def of_users(self, users: Collection[str]) -> dict[str, list[SessionDocument]]:
        await self._faults.before("sessions.of_users")
        return {user: list(self._data.sessions[user].values()) for user in users if self._data.sessions[user]}

    async def put(self, puts: Sequence[SessionPut]) -> list[bool]:
        await self._faults.before("sessions.put")
        done: list[bool] = []
        for document, expected in puts:
            devices = self._data.sessions[document.user]
            present = devices.get(document.device)
            fits = (present.session if present else "") in (expected, document.session)
            if fits:
                devices[document.device] = document
            done.append(fits)
        await self._faults.after("sessions.put")
        return done

    async def remove(self, keys: Collection[SessionKey]) -> None:
        await self._faults.before("sessions.remove")
        for key in keys:
            present = self._data.sessions[key.user].get(key.device)
            if present is not None and present.session == key.session:
                del self._data.sessions[key.user][key.device]
        await self._faults.after("sessions.remove")

    async def boots(self) -> set[str]:
        await self._faults.before("sessions.boots")
        return {session.boot_id for devices in self._data.sessions.values() for session in devices.values()}

    async def under(self, boot_id: str, after: DeviceKey, limit: int) -> list[SessionDocument]:
        await self._faults.before("sessions.under")
        every = [session for devices in self._data.sessions.values() for session in devices.values()]
        mine = [each for each in every if each.boot_id == boot_id and (each.user, each.device) > after]
        return sorted(mine, key=lambda each: (each.user, each.device))[:limit]


class MemoryUsers(MemoryPort):
    async def find(self, users: Collection[str]) -> dict[str, UserDocument]:
        await self._faults.before("users.find")
        return those(self._data.users, users)

    async def held(self, users: Collection[str]) -> dict[str, int]:
        await self._faults.before("users.held")
        return {user: max(devices.values()) for user in users if (devices := self._data.devices[user])}

    async def create(self, users: Collection[str], now_ms: int, *, welcomed: bool = False) -> None:
        await self._faults.before("users.create")
        for user in users:
            present = self._data.users.setdefault(user, UserDocument(user, now_ms))
            if welcomed:
                self._data.users[user] = replace(present, welcomed=True)
        await self._faults.after("users.create")

    async def seen(self, times: Mapping[str, int]) -> None:
        await self._faults.before("users.seen")
        for user, time_ms in times.items():
            if present := self._data.users.get(user):
                self._data.users[user] = replace(present, last_seen_ms=max(present.last_seen_ms, time_ms))
        await self._faults.after("users.seen")

    async def acknowledge(self, held: Sequence[Acknowledged]) -> None:
        await self._faults.before("users.acknowledge")
        for user, device, number in held:
            devices = self._data.devices[user]
            devices[device] = max(devices.get(device, 0), number)
        await self._faults.after("users.acknowledge")

    async def after(self, user: str, limit: int) -> list[UserDocument]:
        await self._faults.before("users.after")
        return following(self._data.users, user, limit)

    async def epoch(self, candidate: str) -> str:
        await self._faults.before("users.epoch")
        self._data.epoch = self._data.epoch or candidate
        return self._data.epoch


class MemoryTime(MemoryPort):
    async def now_ms(self) -> int:
        await self._faults.before("time.now")
        return self._data.clock.wall_ms()
