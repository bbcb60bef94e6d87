"""Sessions of devices, and the users that come into being with them.

Guarantees: of two openings of one device the later one wins, whoever handles them, and is told whom it replaced, also
when it is repeated; a repeat that comes after yet another opening of the device changes nothing. "Others" are sessions
on boots that the asker says are alive; nobody is refused because of a dead node.
Does not know: connections. Who is alive, but for the sweep.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from protos.tidings.internal.v1 import storage_pb2
from services.common.clock import Clock
from services.common.errors import Overloaded, TidingsError, Unavailable
from services.common.ids import BROADCAST, SLOTS, hash64
from services.common.lane import Lanes
from services.storage.appending import Inboxes
from services.storage.batches import through
from services.storage.limits import OVERLAP_MIN, TRIES_MAX, Limits
from services.storage.listing import Listing
from services.storage.repository.contract import Repository
from services.storage.repository.records import MemberDocument, SessionDocument, SessionKey, SessionPut

SessionOpenOutcome = storage_pb2.SessionOpenOutcome
SessionRecord = storage_pb2.SessionRecord

TOO_MANY_DEVICES_RETRY_MS = 60_000


@dataclass(frozen=True, slots=True)
class Opening:
    """A session that begins; `live` are the boots that the asker's registry says are alive."""

    session: SessionDocument
    devices_max: int
    live: frozenset[str] = field(repr=False)
    cursor: int = 0

    @property
    def key(self) -> tuple[str, str]:
        return self.session.user, self.session.device


Work = Opening | SessionKey


class Sessions:
    def __init__(
        self,
        repository: Repository,
        inboxes: Inboxes,
        listing: Listing,
        clock: Clock,
        limits: Limits,
        epoch: str,
    ) -> None:
        self._repository = repository
        self._inboxes = inboxes
        self._listing = listing
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
        """Leaving handles what waits."""
        async with self.lanes:
            yield

    async def open(
        self, items: Sequence[storage_pb2.SessionItem], live_boots: Sequence[str]
    ) -> list[SessionOpenOutcome | TidingsError]:
        """Aligned with the items."""
        live = frozenset(live_boots)
        now_ms = self._clock.wall_ms()
        works = [Opening(_document(item.record, now_ms), item.devices_max, live, item.cursor) for item in items]
        return await through(self.lanes, [(hash64(work.session.user) // SLOTS, work) for work in works])

    async def close(self, items: Sequence[storage_pb2.SessionCloseItem]) -> None:
        """Ends these sessions, and no later ones of the same devices. Raises the first failure."""
        works = [(hash64(item.user) // SLOTS, SessionKey(item.user, item.device, item.session)) for item in items]
        for outcome in await through(self.lanes, works):
            if isinstance(outcome, TidingsError):
                raise outcome

    async def of(self, users: Sequence[str]) -> list[storage_pb2.SessionsOutcome]:
        """Also those of dead nodes; aligned with the users."""
        sessions = await self._repository.sessions.of(users)
        known = await self._repository.users.find(users)
        return [
            storage_pb2.SessionsOutcome(
                sessions=[_record(session) for session in sessions.get(user, ())],
                last_seen_ms=known[user].last_seen_ms if user in known else 0,
            )
            for user in users
        ]

    async def users(self, users: Sequence[str]) -> list[storage_pb2.UserRecord]:
        """Aligned."""
        known = await self._repository.users.find(users)
        inboxes = await self._inboxes.touch(known)
        return [
            storage_pb2.UserRecord(
                user=user,
                exists=True,
                first_seen_ms=known[user].first_seen_ms,
                last_seen_ms=known[user].last_seen_ms,
                inbox_head=inboxes[user].head,
            )
            if user in known
            else storage_pb2.UserRecord(user=user)
            for user in users
        ]

    async def _handle(self, batch: list[Work]) -> list[SessionOpenOutcome | TidingsError]:
        outcomes: dict[int, SessionOpenOutcome | TidingsError] = {}
        left = list(range(len(batch)))
        while left:
            now: dict[tuple[str, str], int] = {}
            for index in left:
                now.setdefault(_key(batch[index]), index)
            chosen = set(now.values())
            left = [index for index in left if index not in chosen]
            works = [(index, batch[index]) for index in sorted(chosen)]
            await self._open_all({index: work for index, work in works if isinstance(work, Opening)}, outcomes)
            await self._close_all({index: work for index, work in works if isinstance(work, SessionKey)}, outcomes)
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
        self, works: Mapping[int, Opening], outcomes: dict[int, SessionOpenOutcome | TidingsError]
    ) -> None:
        if not works:
            return
        opened: dict[int, tuple[SessionDocument, list[SessionDocument]]] = {}
        try:
            await self._welcome({work.session.user for work in works.values()})
            await self._put_all(dict(works), opened, outcomes)
            users = list({works[index].session.user for index in opened})
            inboxes = await self._inboxes.touch(users, [(work.session.user, work.cursor) for work in works.values()])
            large = await self._listing.large_of(users) if users else {}
        except TidingsError as error:
            outcomes.update({index: error for index in works if index not in outcomes})
            return
        for index, (session, others) in opened.items():
            outcome = SessionOpenOutcome(
                inbox_head=inboxes[session.user].head,
                epoch=self._epoch,
                large=large.get(session.user, ()),
                others=[_record(other) for other in others],
            )
            if session.replaced is not None:
                name, node, boot_id = session.replaced
                outcome.replaced.CopyFrom(
                    SessionRecord(user=session.user, device=session.device, session=name, node=node, boot_id=boot_id)
                )
            outcomes[index] = outcome

    async def _welcome(self, users: set[str]) -> None:
        """Users come into being, and b:all begins for them where it is now."""
        known = await self._repository.users.find(users)
        new = [user for user in users if user not in known or not known[user].welcomed]
        if not new:
            return
        (notices,) = await self._listing.load_anywhere([storage_pb2.LoadItem(conversation=BROADCAST, narrow=True)])
        if notices.HasField("fault"):
            raise Unavailable(notices.fault.message, notices.fault.retry_after_ms)
        head, now_ms = notices.record.head, self._clock.wall_ms()
        await self._repository.members.write(
            [
                MemberDocument(BROADCAST, user, joined_ms=now_ms, read_seq=head, delivered_seq=head, large=True)
                for user in new
            ]
        )
        await self._repository.users.create(new, now_ms, welcomed=True)

    async def _put_all(
        self,
        works: dict[int, Opening],
        opened: dict[int, tuple[SessionDocument, list[SessionDocument]]],
        outcomes: dict[int, SessionOpenOutcome | TidingsError],
    ) -> None:
        """Puts each session where the one before it is, as often as another one came between."""
        for _ in range(TRIES_MAX):
            existing = await self._repository.sessions.of({work.session.user for work in works.values()})
            puts: dict[int, SessionPut] = {}
            counts: dict[str, int] = {}
            for index, work in list(works.items()):
                sessions = existing.get(work.session.user, [])
                try:
                    put, others = _decide(work, sessions, counts.get(work.session.user, 0))
                except TidingsError as error:
                    outcomes[index] = error
                    del works[index]
                    continue
                opened[index] = put.document, others
                if put.document in sessions:
                    del works[index]  # a repeat: it is there
                    continue
                puts[index] = put
                if not put.expected:
                    counts[work.session.user] = counts.get(work.session.user, 0) + 1
            done = await self._repository.sessions.put(list(puts.values()))
            for index, is_in in zip(puts, done, strict=True):
                if is_in:
                    del works[index]
                else:
                    del opened[index]
            if not works:
                return
        raise Unavailable("this device logs in too often at once: try again")


def _decide(
    work: Opening, sessions: Sequence[SessionDocument], opening: int
) -> tuple[SessionPut, list[SessionDocument]]:
    """What to put where, and the user's other sessions that are alive. `opening`: more devices of the user in this
    batch.
    """
    session = work.session
    before = next((each for each in sessions if each.device == session.device), None)
    others = [each for each in sessions if each.device != session.device and each.boot_id in work.live]
    if before is None:
        put = SessionPut(session, "")
    elif before.session == session.session:
        put = SessionPut(before, before.session)
    elif before.replaced is not None and before.replaced[0] == session.session:
        raise Unavailable("this device has logged in again meanwhile", 0)
    else:
        replaced = (before.session, before.node, before.boot_id)
        put = SessionPut(replace(session, replaced=replaced), before.session)
    is_new = before is None or before.boot_id not in work.live
    if work.devices_max and is_new and len(others) + opening >= work.devices_max:
        raise Overloaded(
            f"{work.devices_max} devices of this user are connected already: close one, or try later",
            TOO_MANY_DEVICES_RETRY_MS,
        )
    return put, others


def _key(work: Work) -> tuple[str, str]:
    return work.key if isinstance(work, Opening) else (work.user, work.device)


def _document(record: SessionRecord, now_ms: int) -> SessionDocument:
    return SessionDocument(
        user=record.user,
        device=record.device,
        session=record.session,
        kind=record.kind,
        node=record.node,
        boot_id=record.boot_id,
        since_ms=record.since_ms or now_ms,
        client=record.client,
        address=record.address,
    )


def _record(session: SessionDocument) -> SessionRecord:
    return SessionRecord(
        user=session.user,
        device=session.device,
        kind=session.kind,
        session=session.session,
        node=session.node,
        boot_id=session.boot_id,
        since_ms=session.since_ms,
        client=session.client,
        address=session.address,
    )
