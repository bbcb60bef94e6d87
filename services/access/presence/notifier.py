"""The notifier of presence: shows watchers the changes, and asks logic about users whose session ended.

Guarantees: a watcher is shown a change at the latest when the session's record has changed and logic has answered;
while logic is away the question stays. Questions gather for `GATHER_S`, so a user who changes nodes does not flicker. A
user who is still online according to the answer is asked about once more, since the news that a session ended may be
quicker than its record. Who blocks the user of a watcher looks offline to it: from its first answer on, and by the news
of blocks; where some may be lost, logic is asked anew in each watcher's name.

Does not know: sessions, who may watch whom (logic answers the request itself), who blocks whom.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from typing import Final

from protos.tidings.internal.v1 import delivery_pb2, logic_pb2
from services.access.connection.connection import Connection
from services.access.connection.traffic import label_of
from services.access.logic_client import LogicClient
from services.access.presence.questions import GATHER_S, ITEMS_MAX, USERS_MAX, check_users, chunks, frame_in
from services.access.presence.watchers import Followup, PresenceWatchers
from services.common.clock import Clock
from services.common.gatherer import Gatherer
from services.common.scope import Owned, TaskScope
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, TidingsError
from tidings_protocol.ids import new_id
from tidings_protocol.wire.body import EncodedBody

AGAIN_S: Final = 2.0


class PresenceNotifier(Owned):
    """Asks logic while it is entered; `watched_max` is how many users one connection may watch."""

    def __init__(self, logic: LogicClient, clock: Clock, *, watched_max: int) -> None:
        self.watchers: PresenceWatchers[Connection] = PresenceWatchers(watched_max=watched_max)
        self._logic = logic
        self._clock = clock
        self._watched_max = watched_max
        self._asked: dict[str, None] = {}
        self._again: dict[str, None] = {}
        self._checks: list[tuple[Connection, Sequence[str]]] = []
        self._waking: asyncio.TimerHandle | None = None
        self._gatherer = Gatherer(self._ask_logic, gather_s=GATHER_S)
        self._scope = TaskScope()

    async def _running(self) -> AsyncIterator[None]:
        async with self._scope:
            self._scope.spawn(self._gatherer.run(), name="presence")
            try:
                yield
            finally:
                if self._waking is not None:
                    self._waking.cancel()

    def watch(self, connection: Connection, request: client_pb2.PresenceRequest) -> None:
        """Begins or ends watches, as the request asks. Raises BadRequest.

        Call it before the request goes to logic, so that no change in between is missed.
        """
        check_users(request.users)
        if not request.watch:
            self.watchers.unwatch(connection, request.users)
        elif not self.watchers.watch(connection, request.users):
            raise BadRequest(f"one connection may watch {self._watched_max} users: stop watching some first")

    def learn(
        self, answer: client_pb2.PresenceList, asker: Connection | None = None, hiding: Collection[str] = ()
    ) -> None:
        """Takes an answer of logic and shows the watchers what has changed, but the `asker`, whose reply showed it:
        that comes first. Users who are `hiding` look offline to the asker alone.
        """
        for presence in answer.users:
            if presence.user not in hiding and self.watchers.learn(presence.user, online=presence.online):
                self._show(presence, asker)
        if asker is not None:
            for user in self.watchers.answered(asker, [presence.user for presence in answer.users], hiding):
                self._show_as_it_is(asker, user, self._clock.wall_ms())

    def blocks_changed(self, change: delivery_pb2.BlockChange) -> None:
        """Shows watchers whom a user blocks now, or blocks no more, whether that user is online."""
        others = frozenset(change.users)
        changed = self.watchers.block_changed(
            change.user, lambda connection: connection.user in others, blocked=change.blocked
        )
        for connection in changed:
            self._show_as_it_is(connection, change.user, change.time_ms)

    def check_all(self) -> None:
        """News of blocks may have been lost: logic is asked about all watches."""
        self._checks = [(connection, chunk) for connection, users in self.watchers.watches() for chunk in chunks(users)]
        if self._checks:
            self._gatherer.note()

    def forget(self, connection: Connection) -> None:
        """The connection has ended."""
        self.watchers.forget(connection)

    def sessions_changed(self, changes: delivery_pb2.SessionChanges) -> None:
        """Shows or asks about what follows from sessions that began or ended, on whichever node."""
        for change in changes.changes:
            match self.watchers.session_changed(change.user, up=change.up):
                case Followup.TELL:
                    if self.watchers.has_unsure(change.user):
                        self._again[change.user] = None  # the answer on its way may be of before
                        self.ask((change.user,))
                    self._show(client_pb2.Presence(user=change.user, online=True, last_seen_ms=change.time_ms))
                case Followup.ASK:
                    self._again[change.user] = None
                    self.ask((change.user,))
                case Followup.NOTHING:
                    pass

    def node_died(self) -> None:
        """Asks about all watched users that may be online, since any of them may have been on the node that died."""
        users = self.watchers.online()
        self._again.update(dict.fromkeys(users))
        self.ask(users)

    def ask(self, users: Iterable[str]) -> None:
        """Asks logic about these users in a moment."""
        self._asked.update(dict.fromkeys(users))
        if self._asked:
            self._gatherer.note()

    def _ask_again(self) -> None:
        self._waking = None
        users, self._again = list(self._again), {}
        self.ask(user for user in users if self.watchers.watchers_of(user))

    async def _ask_logic(self) -> bool:
        users, self._asked = list(self._asked), {}
        done = True
        for first in range(0, len(users), ITEMS_MAX * USERS_MAX):
            asked = chunks(users[first : first + ITEMS_MAX * USERS_MAX])
            # The node asks for itself, in the name of the first user that the question is about.
            items = [logic_pb2.HandleItem(user=chunk[0], frame=_question(chunk), op=new_id()) for chunk in asked]
            for chunk, outcome in zip(asked, await self._logic.handle(items), strict=True):
                done = self._take_answer(chunk, outcome) and done
        done = await self._check() and done
        if done and self._again and self._waking is None:
            self._waking = asyncio.get_running_loop().call_later(AGAIN_S, self._ask_again)
        return done

    async def _check(self) -> bool:
        """Asks about watches in the watchers' own names."""
        while self._checks:
            part = self._checks[:ITEMS_MAX]
            items = [
                logic_pb2.HandleItem(
                    user=connection.user, session=connection.session_id, frame=_question(users), op=new_id()
                )
                for connection, users in part
            ]
            outcomes = await self._logic.handle(items)
            failed = [
                each for each, outcome in zip(part, outcomes, strict=True) if not self._take_check(each[0], outcome)
            ]
            self._checks = failed + self._checks[len(part) :]
            if failed:
                return False
        return True

    def _take_check(self, connection: Connection, outcome: logic_pb2.HandleOutcome | TidingsError) -> bool:
        if isinstance(outcome, TidingsError):
            return not outcome.retryable
        answer = frame_in(outcome).presence_list
        self.learn(answer, hiding=outcome.hiding)
        for presence in answer.users:
            hidden = presence.user in outcome.hiding
            if self.watchers.block_changed(presence.user, lambda each: each is connection, blocked=hidden):
                self._push((connection,), presence)
        return True

    def _take_answer(self, users: Sequence[str], outcome: logic_pb2.HandleOutcome | TidingsError) -> bool:
        if isinstance(outcome, TidingsError):
            self.ask(user for user in users if self.watchers.watchers_of(user))
            return False
        answer = frame_in(outcome).presence_list
        for presence in answer.users:
            if not presence.online:
                self._again.pop(presence.user, None)
        self.learn(answer)
        return True

    def _show(self, presence: client_pb2.Presence, asker: Connection | None = None) -> None:
        self._push((each for each in self.watchers.shown_to(presence.user) if each is not asker), presence)

    def _show_as_it_is(self, connection: Connection, user: str, time_ms: int) -> None:
        """Shows a watcher whether the user is online, now that this was hidden from it, or is no more."""
        if self.watchers.online_of(user) is None:
            # Nobody else was shown anything, and this one has been shown somebody who is offline.
            self.watchers.learn(user, online=False)
            self.ask((user,))
        elif self.watchers.online_of(user):
            online = not self.watchers.is_hidden(connection, user)
            self._push((connection,), client_pb2.Presence(user=user, online=online, last_seen_ms=time_ms))

    def _push(self, connections: Iterable[Connection], presence: client_pb2.Presence) -> None:
        body = EncodedBody.of(client_pb2.PresenceList(users=[presence]))
        now = self._clock.now_s()
        for connection in connections:
            connection.push(connection.transport.wrap(connection.codec.push(body)), 0, now, label_of(body))


def _question(users: Sequence[str]) -> bytes:
    return client_pb2.ClientFrame(presence=client_pb2.PresenceRequest(users=users)).SerializeToString()
