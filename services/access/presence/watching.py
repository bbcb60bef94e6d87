"""What connections watch of users: whether they are online, and their profiles.

Guarantees: a watch begins before its request goes to logic, so that no change in between is missed.

Does not know: who is shown what (notifier.py, profiles.py).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection

from services.access.connection.connection import Connection
from services.access.logic_client import LogicClient
from services.access.presence.notifier import PresenceNotifier
from services.access.presence.profiles import ProfileNotifier
from services.common.clock import Clock
from services.common.scope import Owned
from tidings_protocol import client_pb2


class Watching(Owned):
    """Both, while it is entered; `watched_max` is how many users one connection may watch, of each."""

    def __init__(self, logic: LogicClient, clock: Clock, *, watched_max: int) -> None:
        self.presence = PresenceNotifier(logic, clock, watched_max=watched_max)
        self.profiles = ProfileNotifier(logic, clock, watched_max=watched_max)

    async def _running(self) -> AsyncIterator[None]:
        async with self.presence, self.profiles:
            yield

    def begin(self, connection: Connection, frame: client_pb2.ClientFrame) -> None:
        """Begins or ends what a request asks for, if it is one that watches. Raises BadRequest."""
        if frame.HasField("presence"):
            self.presence.watch(connection, frame.presence)
        elif frame.HasField("profile") and frame.profile.WhichOneof("act") == "get":
            self.profiles.watch(connection, frame.profile.get)

    def learn(self, answer: client_pb2.PresenceList, asker: Connection, hiding: Collection[str]) -> None:
        """Takes the answer to a request of presence, after the asker was sent it."""
        self.presence.learn(answer, asker, hiding)

    def forget(self, connection: Connection) -> None:
        """The connection has ended."""
        self.presence.forget(connection)
        self.profiles.forget(connection)

    def check_all(self) -> None:
        """News of all kinds may have been lost."""
        self.presence.check_all()
        self.profiles.check_all()
