"""The notifier of profiles: shows watchers the profiles that change.

Guarantees: a watcher is shown a profile that was set as soon as the news of it are here, but the connection that has
set it, whose reply shows it. Where news may have been lost, logic is asked about all who are watched, until it answers:
then a watcher may be shown once more what it has.

Does not know: who may set a profile, what is in one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from protos.tidings.internal.v1 import logic_pb2
from services.access.connection.connection import Connection
from services.access.connection.traffic import label_of
from services.access.logic_client import LogicClient
from services.access.presence.profile_watchers import ProfileWatchers
from services.access.presence.questions import GATHER_S, ITEMS_MAX, USERS_MAX, check_users, chunks, frame_in
from services.common.clock import Clock
from services.common.gatherer import Gatherer
from services.common.scope import Owned, TaskScope
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, TidingsError
from tidings_protocol.ids import new_id
from tidings_protocol.wire.body import EncodedBody


class ProfileNotifier(Owned):
    """Asks logic while it is entered; `watched_max` is how many users one connection may watch."""

    def __init__(self, logic: LogicClient, clock: Clock, *, watched_max: int) -> None:
        self.watchers: ProfileWatchers[Connection] = ProfileWatchers(watched_max=watched_max)
        self._logic = logic
        self._clock = clock
        self._watched_max = watched_max
        self._lost: list[str] = []
        self._gatherer = Gatherer(self._ask_logic, gather_s=GATHER_S)
        self._scope = TaskScope()

    async def _running(self) -> AsyncIterator[None]:
        async with self._scope:
            self._scope.spawn(self._gatherer.run(), name="profiles")
            yield

    def watch(self, connection: Connection, request: client_pb2.ProfileRequest.Get) -> None:
        """Begins or ends watches, as the request asks. Raises BadRequest.

        Call it before the request goes to logic, so that no change in between is missed.
        """
        check_users(request.users)
        if not request.watch:
            self.watchers.unwatch(connection, request.users)
        elif not self.watchers.watch(connection, request.users):
            raise BadRequest(f"one connection may watch {self._watched_max} profiles: stop watching some first")

    def changed(self, profiles: client_pb2.ProfileList, session: str = "") -> None:
        """Shows these profiles to who watches them, but the connection of this session."""
        now = self._clock.now_s()
        for profile in profiles.profiles:
            connections = self.watchers.changed(profile.user, profile.version)
            body = EncodedBody.of(client_pb2.ProfileList(profiles=[profile])) if connections else None
            for connection in connections:
                if body is not None and (connection.session_id != session or not session):
                    connection.push(connection.transport.wrap(connection.codec.push(body)), 0, now, label_of(body))

    def check_all(self) -> None:
        """News may have been lost: logic is asked about all who are watched."""
        self._lost = self.watchers.users()
        if self._lost:
            self._gatherer.note()

    def forget(self, connection: Connection) -> None:
        """The connection has ended."""
        self.watchers.forget(connection)

    async def _ask_logic(self) -> bool:
        while self._lost:
            part = self._lost[: ITEMS_MAX * USERS_MAX]
            asked = chunks(part)
            # The node asks for itself, in the name of the first user that the question is about.
            items = [logic_pb2.HandleItem(user=chunk[0], frame=_question(chunk), op=new_id()) for chunk in asked]
            failed: list[str] = []
            for chunk, outcome in zip(asked, await self._logic.handle(items), strict=True):
                if isinstance(outcome, TidingsError):
                    failed += chunk
                else:
                    self.changed(frame_in(outcome).profile_list)
            self._lost = failed + self._lost[len(part) :]
            if failed:
                return False
        return True


def _question(users: Sequence[str]) -> bytes:
    get = client_pb2.ProfileRequest.Get(users=users)
    return client_pb2.ClientFrame(profile=client_pb2.ProfileRequest(get=get)).SerializeToString()
