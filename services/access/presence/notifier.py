"""Presence: what watchers are told, and asking logic about those whose session ended.

Guarantees: a watcher hears of a change at the latest after the session's record changed and logic answered; while logic
is away the question stays. Changes gather for `GATHER_S`, so a user who changes nodes does not flicker. Who is still
online when asked about is asked about once more: the news that a session ended may be quicker than its record.

Does not know: sessions, who may watch whom (logic answers the request itself).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self

from google.protobuf.message import DecodeError

from protos.tidings.internal.v1 import delivery_pb2, logic_pb2
from services.access.connection.connection import Connection
from services.access.logic_client import Logic
from services.access.presence.watchers import Verdict, Watches
from services.common.clock import Clock
from services.common.gatherer import Gatherer
from services.common.scope import TaskScope
from services.common.telemetry import logs
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, TidingsError
from tidings_protocol.ids import new_id
from tidings_protocol.wire.body import EncodedBody

USERS_MAX: Final = 100
ITEMS_MAX: Final = 50
GATHER_S: Final = 0.2
AGAIN_S: Final = 2.0

log = logs.get_logger(__name__)


class Watching:
    """Asks while it is entered."""

    def __init__(self, logic: Logic, clock: Clock, *, watched_max: int) -> None:
        self.watches: Watches[Connection] = Watches(watched_max=watched_max)
        self._logic = logic
        self._clock = clock
        self._watched_max = watched_max
        self._asked: dict[str, None] = {}
        self._again: dict[str, None] = {}
        self._waking: asyncio.TimerHandle | None = None
        self._gatherer = Gatherer(self._find_out, gather_s=GATHER_S)
        self._scope = TaskScope()

    async def __aenter__(self) -> Self:
        await self._scope.__aenter__()
        self._scope.spawn(self._gatherer.run(), name="presence")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._waking is not None:
            self._waking.cancel()
        await self._scope.__aexit__(kind, error, traceback)

    def watch(self, connection: Connection, request: client_pb2.PresenceRequest) -> None:
        """Before the request goes to logic, so that no change in between is missed. Raises BadRequest."""
        if len(request.users) > USERS_MAX:
            raise BadRequest(f"{len(request.users)} users are asked for, {USERS_MAX} are allowed: ask in parts")
        if not request.watch:
            self.watches.unwatch(connection, request.users)
        elif not self.watches.watch(connection, request.users):
            raise BadRequest(f"one connection may watch {self._watched_max} users: stop watching some first")

    def learn(self, answer: client_pb2.PresenceList, told: Connection | None = None) -> None:
        """Logic said who is online; `told` gets this as its reply."""
        for presence in answer.users:
            if self.watches.learn(presence.user, online=presence.online):
                self._tell(presence, told)

    def sessions_changed(self, changes: delivery_pb2.SessionChanges) -> None:
        """Sessions began or ended, somewhere."""
        for change in changes.changes:
            match self.watches.session_changed(change.user, up=change.up):
                case Verdict.TELL:
                    self._tell(client_pb2.Presence(user=change.user, online=True, last_seen_ms=change.time_ms))
                case Verdict.ASK:
                    self._again[change.user] = None
                    self.ask((change.user,))
                case Verdict.NOTHING:
                    pass

    def node_died(self) -> None:
        """Whoever is believed to be online may have been there."""
        users = self.watches.online()
        self._again.update(dict.fromkeys(users))
        self.ask(users)

    def ask(self, users: Iterable[str]) -> None:
        """Find out about these."""
        self._asked.update(dict.fromkeys(users))
        if self._asked:
            self._gatherer.note()

    def _ask_again(self) -> None:
        self._waking = None
        users, self._again = list(self._again), {}
        self.ask(user for user in users if self.watches.watchers(user))

    async def _find_out(self) -> bool:
        users, self._asked = list(self._asked), {}
        done = True
        for first in range(0, len(users), ITEMS_MAX * USERS_MAX):
            part = users[first : first + ITEMS_MAX * USERS_MAX]
            chunks = [part[start : start + USERS_MAX] for start in range(0, len(part), USERS_MAX)]
            # A question of the node's own: it is asked in the name of the first user it is about.
            items = [logic_pb2.HandleItem(user=chunk[0], frame=_question(chunk), op=new_id()) for chunk in chunks]
            for chunk, outcome in zip(chunks, await self._logic.handle(items), strict=True):
                done = self._found_out(chunk, outcome) and done
        if done and self._again and self._waking is None:
            self._waking = asyncio.get_running_loop().call_later(AGAIN_S, self._ask_again)
        return done

    def _found_out(self, users: list[str], outcome: logic_pb2.HandleOutcome | TidingsError) -> bool:
        if isinstance(outcome, TidingsError):
            self.ask(user for user in users if self.watches.watchers(user))
            return False
        try:
            answer = client_pb2.ServerFrame.FromString(outcome.frame).presence_list
        except DecodeError:
            log.error("logic answered with something that is no frame")  # noqa: TRY400 - the stack says nothing
            return True
        for presence in answer.users:
            if not presence.online:
                self._again.pop(presence.user, None)
        self.learn(answer)
        return True

    def _tell(self, presence: client_pb2.Presence, told: Connection | None = None) -> None:
        body = EncodedBody.of(client_pb2.PresenceList(users=[presence]))
        now = self._clock.now_s()
        for connection in tuple(self.watches.watchers(presence.user)):
            if connection is not told:
                connection.transport.traffic.frames_out["presence_list"] += 1
                connection.push(connection.transport.wrap(connection.codec.push(body)), 0, now)


def _question(users: list[str]) -> bytes:
    return client_pb2.ClientFrame(presence=client_pb2.PresenceRequest(users=users)).SerializeToString()
