"""Sessions of devices: they begin with what a welcome needs, they end, and others ask for them.

Guarantees: of the openings of one device the newest wins (newest.py, writer.py), whoever handles them, and is told
whom it replaced, also when it is repeated; one that is older changes nothing and is told so. "Others" are sessions on
boots that the asker says are alive; nobody is refused because of a dead node. When a user was seen last is written
behind.
Does not know: connections. Who is alive, but for the sweep.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from protos.tidings.internal.v1 import storage_pb2
from services.common.clock import Clock
from services.common.lanes.lane import Lanes
from services.storage.inboxes.writer import InboxWriter, Seen
from services.storage.limits import OVERLAP_MIN, READ_MAX, Limits
from services.storage.memory.write_behind import WriteBehind
from services.storage.pages.lists import ConversationLists
from services.storage.repository.contract import Repository
from services.storage.repository.records import MemberKey, SessionKey
from services.storage.sessions.newest import Login, Overtaken
from services.storage.sessions.records import document_of, record_of, replaced_record
from services.storage.sessions.writer import LoginResults, SessionWriter
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import SLOTS, hash64

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
        writer: SessionWriter,
        behind: WriteBehind,
        clock: Clock,
        limits: Limits,
        epoch: str,
    ) -> None:
        self._repository = repository
        self._inboxes = inboxes
        self._lists = lists
        self._writer = writer
        self._behind = behind
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
        waiting = {user: self._behind.seen_ms(user) for user in users}  # before what is written is read
        known = await self._repository.users.find(users)
        return [
            storage_pb2.SessionsOutcome(
                sessions=[record_of(session) for session in sessions.get(user, ())],
                last_seen_ms=max(known[user].last_seen_ms, waiting[user]) if user in known else 0,
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
        waiting = {user: self._behind.seen_ms(user) for user in users}
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
                record.last_seen_ms = max(known[user].last_seen_ms, waiting[user])
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
            await self._writer.close(list(works.values()))
        except TidingsError as error:
            outcomes.update(dict.fromkeys(works, error))
        else:
            outcomes.update({index: SessionOpenOutcome() for index in works})

    async def _open_all(
        self, works: Mapping[int, Login], outcomes: dict[int, SessionOpenOutcome | TidingsError]
    ) -> None:
        if not works:
            return
        results = LoginResults()
        opened = results.opened
        try:
            await self._writer.open(works, results)
            users = list({works[index].session.user for index in opened})
            inboxes = await self._inboxes.touch(
                users, [Seen(work.session.user, work.cursor) for work in works.values()]
            )
            large = await self._lists.large_groups_of(users) if users else {}
            left = await self._left({index: works[index] for index in opened}, large)
        except TidingsError as error:
            outcomes.update(dict.fromkeys(works, error))
            return
        finally:
            outcomes.update((index, _refused(error)) for index, error in results.refused.items())
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


def _refused(error: TidingsError | Overtaken) -> SessionOpenOutcome | TidingsError:
    return SessionOpenOutcome(newer=record_of(error.newer)) if isinstance(error, Overtaken) else error
