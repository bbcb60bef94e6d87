"""Sessions of devices, and the users that come into being with them.

Guarantees: of the openings of one device the newest wins (newest.py), whoever handles them, and is told whom it
replaced, also when it is repeated; one that is older changes nothing and is told so. "Others" are sessions on boots
that the asker says are alive; nobody is refused because of a dead node.
Does not know: connections. Who is alive, but for the sweep.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from protos.tidings.internal.v1 import storage_pb2
from services.common.clock import Clock
from services.common.lanes.lane import Lanes
from services.storage.inboxes.writer import InboxWriter, Seen
from services.storage.limits import OVERLAP_MIN, READ_MAX, TRIES_MAX, Limits
from services.storage.pages.lists import ConversationLists
from services.storage.repository.contract import Repository
from services.storage.repository.records import (
    DeviceKey,
    MemberDocument,
    MemberKey,
    SessionDocument,
    SessionKey,
    SessionPut,
)
from services.storage.sessions.newest import Login, LoginDecision, Overtaken, decide_together
from services.storage.sessions.records import document_of, record_of, replaced_record
from tidings_protocol.errors import TidingsError, Unavailable
from tidings_protocol.ids import BROADCAST, SLOTS, hash64

SessionOpenOutcome = storage_pb2.SessionOpenOutcome
SessionRecord = storage_pb2.SessionRecord

# Groups of cursors that are looked up for one batch: those who name few are told, who names many may not be.
GROUPS_MAX = 5000
PAGE_MAX = 1000


Work = Login | SessionKey


class SessionStore:
    def __init__(
        self,
        repository: Repository,
        inboxes: InboxWriter,
        lists: ConversationLists,
        clock: Clock,
        limits: Limits,
        epoch: str,
    ) -> None:
        self._repository = repository
        self._inboxes = inboxes
        self._lists = lists
        self._clock = clock
        self._epoch = epoch
        self.lanes: Lanes[Work, SessionOpenOutcome] = Lanes(
            "session",
            self._handle,
            lanes=limits.session_lanes,
            capacity=limits.lane_capacity,
            batch_max=limits.batch_max,
            overlap_min=OVERLAP_MIN,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The lanes run until this is left, which handles what waits."""
        async with self.lanes:
            yield

    async def open(
        self, items: Sequence[storage_pb2.SessionItem], live_boots: Sequence[str]
    ) -> list[SessionOpenOutcome | TidingsError]:
        """Begins sessions; outcomes are aligned with the items. `live_boots`: the boot ids that the asker knows as
        alive. Unavailable may mean that the session is in: a repeat says so.

        If this is cancelled, the sessions begin all the same.
        """
        live = frozenset(live_boots)
        now_ms = self._clock.wall_ms()
        works = [
            Login(document_of(item.record, now_ms), item.devices_max, live, item.cursor, item.again, tuple(item.groups))
            for item in items
        ]
        return await self.lanes.submit_all([(hash64(work.session.user) // SLOTS, work) for work in works])

    async def close(self, items: Sequence[storage_pb2.SessionCloseItem]) -> None:
        """Ends these sessions, and no later ones of the same devices. Raises the first failure."""
        works = [(hash64(item.user) // SLOTS, SessionKey(item.user, item.device, item.session)) for item in items]
        for outcome in await self.lanes.submit_all(works):
            if isinstance(outcome, TidingsError):
                raise outcome

    async def sessions_of(self, users: Sequence[str]) -> list[storage_pb2.SessionsOutcome]:
        """All sessions of each user, also those of dead nodes; aligned with the users. Raises Unavailable."""
        sessions = await self._repository.sessions.of_users(users)
        known = await self._repository.users.find(users)
        return [
            storage_pb2.SessionsOutcome(
                sessions=[record_of(session) for session in sessions.get(user, ())],
                last_seen_ms=known[user].last_seen_ms if user in known else 0,
            )
            for user in users
        ]

    async def under(self, query: storage_pb2.BootQuery) -> storage_pb2.BootPage:
        """The sessions that are stored under a boot id, by pages."""
        limit = min(query.limit or PAGE_MAX, PAGE_MAX)
        found = await self._repository.sessions.under(query.boot_id, (query.after_user, query.after_device), limit)
        return storage_pb2.BootPage(sessions=[record_of(session) for session in found], more=len(found) == limit)

    async def users(self, users: Sequence[str]) -> list[storage_pb2.UserRecord]:
        """Aligned with the users. Raises the first failure."""
        known = await self._repository.users.find(users)
        inboxes = await self._inboxes.touch(known)
        records: list[storage_pb2.UserRecord] = []
        for user in users:
            record = storage_pb2.UserRecord(user=user)
            if user in known:
                inbox = inboxes[user]
                if isinstance(inbox, TidingsError):
                    raise inbox
                record.exists = True
                record.first_seen_ms = known[user].first_seen_ms
                record.last_seen_ms = known[user].last_seen_ms
                record.inbox_head = inbox.head
            records.append(record)
        return records

    async def _handle(self, batch: list[Work]) -> list[SessionOpenOutcome | TidingsError]:
        """Does what begins first, then what ends: an end is of one session alone, so it takes nothing from a session
        that it comes before, and one that is ended shall not be there, whatever came first. One after the other, the
        logins of a device that gives up and comes again took a round each, and more came than were done.
        """
        outcomes: dict[int, SessionOpenOutcome | TidingsError] = {}
        works = dict(enumerate(batch))
        await self._open_all({index: work for index, work in works.items() if isinstance(work, Login)}, outcomes)
        await self._close_all({index: work for index, work in works.items() if isinstance(work, SessionKey)}, outcomes)
        return [outcomes[index] for index in range(len(batch))]

    async def _close_all(
        self, works: Mapping[int, SessionKey], outcomes: dict[int, SessionOpenOutcome | TidingsError]
    ) -> None:
        if not works:
            return
        try:
            now_ms = self._clock.wall_ms()
            await self._repository.users.seen({key.user: now_ms for key in works.values()})
            await self._repository.sessions.remove(list(works.values()))
        except TidingsError as error:
            outcomes.update(dict.fromkeys(works, error))
        else:
            outcomes.update({index: SessionOpenOutcome() for index in works})

    async def _open_all(
        self, works: Mapping[int, Login], outcomes: dict[int, SessionOpenOutcome | TidingsError]
    ) -> None:
        if not works:
            return
        opened: dict[int, SessionDocument] = {}
        try:
            await self._welcome({work.session.user for work in works.values()})
            await self._put_all(dict(works), opened, outcomes)
            users = list({works[index].session.user for index in opened})
            inboxes = await self._inboxes.touch(
                users, [Seen(work.session.user, work.cursor) for work in works.values()]
            )
            large = await self._lists.large_groups_of(users) if users else {}
            left = await self._left({index: works[index] for index in opened}, large)
        except TidingsError as error:
            outcomes.update({index: error for index in works if index not in outcomes})
            return
        for index, session in opened.items():
            inbox = inboxes[session.user]
            if isinstance(inbox, TidingsError):
                outcomes[index] = inbox  # it is stored: a repeat of this login is answered with what it is
                continue
            outcome = SessionOpenOutcome(
                inbox_head=inbox.head,
                epoch=self._epoch,
                large=large.get(session.user, ()),
                left=left.get(index, ()),
            )
            replaced = [replaced_record(session, each) for each in session.replaced]
            if replaced:
                outcome.replaced.CopyFrom(replaced[0])
                outcome.replaced_before.extend(replaced[1:])
            outcomes[index] = outcome

    async def _left(
        self, works: Mapping[int, Login], large: Mapping[str, Sequence[storage_pb2.ConversationRecord]]
    ) -> dict[int, list[str]]:
        """The groups of those that each login asks about in which its user is not; nothing for logins beyond what one
        batch may ask.
        """
        asked: dict[int, list[MemberKey]] = {}
        count = 0
        for index in sorted(works, key=lambda index: len(works[index].groups)):
            user = works[index].session.user
            known = {record.conversation for record in large.get(user, ())}
            keys = [MemberKey(group, user) for group in works[index].groups if group not in known]
            count += len(keys)
            if count > GROUPS_MAX:
                break
            asked[index] = keys
        wanted = list({key for keys in asked.values() for key in keys})
        found: set[MemberKey] = set()
        for start in range(0, len(wanted), READ_MAX):
            found.update(await self._repository.members.find(wanted[start : start + READ_MAX]))
        return {index: [key.conversation for key in keys if key not in found] for index, keys in asked.items()}

    async def _welcome(self, users: set[str]) -> None:
        """Users come into being, and b:all begins for them where it is now."""
        known = await self._repository.users.find(users)
        new = [user for user in users if user not in known or not known[user].welcomed]
        if not new:
            return
        notices = (await self._lists.records([BROADCAST])).get(BROADCAST)
        head, now_ms = notices.head if notices is not None else 0, self._clock.wall_ms()
        await self._repository.members.write(
            [
                MemberDocument(BROADCAST, user, joined_ms=now_ms, read_seq=head, delivered_seq=head, large=True)
                for user in new
            ]
        )
        await self._repository.users.create(new, now_ms, welcomed=True)

    async def _put_all(
        self,
        works: dict[int, Login],
        opened: dict[int, SessionDocument],
        outcomes: dict[int, SessionOpenOutcome | TidingsError],
    ) -> None:
        """Puts each session where the one before it is, as often as another one came between."""
        for _ in range(TRIES_MAX):
            existing = await self._repository.sessions.of_users({work.session.user for work in works.values()})
            puts: list[tuple[LoginDecision, SessionPut]] = []
            counts: dict[str, int] = {}
            for (user, _), mine in _by_device(works).items():
                verdict = decide_together(mine, existing.get(user, []), counts.get(user, 0))
                for index, error in verdict.refused.items():
                    outcomes[index] = _refused(error)
                    del works[index]
                if verdict.put is None:
                    continue
                opened.update((index, verdict.put.document) for index in verdict.opened)
                if verdict.is_there:
                    for index in verdict.opened:
                        del works[index]
                    continue
                puts.append((verdict, verdict.put))
                if not verdict.put.expected:
                    counts[user] = counts.get(user, 0) + 1
            done = await self._repository.sessions.put([put for _, put in puts])
            for (verdict, _), is_in in zip(puts, done, strict=True):
                for index in verdict.opened:
                    if is_in:
                        del works[index]
                    else:
                        del opened[index]
            if not works:
                return
        raise Unavailable("this device logs in too often at once: try again")


def _by_device(works: Mapping[int, Login]) -> dict[DeviceKey, dict[int, Login]]:
    devices: dict[DeviceKey, dict[int, Login]] = {}
    for index, work in works.items():
        devices.setdefault(work.key, {})[index] = work
    return devices


def _refused(error: TidingsError | Overtaken) -> SessionOpenOutcome | TidingsError:
    return SessionOpenOutcome(newer=record_of(error.newer)) if isinstance(error, Overtaken) else error
