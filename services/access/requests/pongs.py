"""The answers to pings: the heads of a user's inbox and large groups, read from logic in batches.

Guarantees: every ping is answered, with what this node knew last while logic is away. `inbox_head` is never behind
anything that this connection was shown. `group_heads` are those that have moved since the connection was last shown
them. Pongs of one batch that show no group differ by the inbox head and the id alone: each is encoded once.

Does not know: how heads come about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.logic_client import LogicClient
from services.common.clock import Clock
from services.common.lanes.entered import LaneHolder
from services.common.lanes.lane import Lanes
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import BROADCAST

BATCH_MAX: Final = 1000
# Each batch is a call, and 10,000 connections send 667 pings a second. A pong is at most so much later by it.
GATHER_S: Final = 0.25
GROUPS_MAX: Final = 50
NO_HEADS: Final[Mapping[str, int]] = MappingProxyType({})


AskedPing = tuple[Connection, int]  # and the id of its request


class Pongs(dict[int, bytes]):
    """The pongs of one moment that show nothing but an inbox, encoded, by its head: those of most connections are
    alike.
    """

    __slots__ = ("time_ms",)

    def __init__(self, time_ms: int) -> None:
        super().__init__()
        self.time_ms = time_ms

    def __missing__(self, head: int) -> bytes:
        frame = self[head] = _pong(head, self.time_ms).SerializeToString()
        return frame


class Known(NamedTuple):
    """The heads of one connection's user, as logic knows them."""

    inbox_head: int
    group_heads: dict[str, int]


class Groups(NamedTuple):
    """The large groups of a user, with their heads; `complete`: there are no others."""

    heads: dict[str, int]
    complete: bool


class HeartbeatReplies(LaneHolder):
    """Answers pings while it is entered, and shows connections the heads of their groups."""

    def __init__(self, logic: LogicClient, hub: Hub[Connection], clock: Clock, *, capacity: int) -> None:
        self._logic = logic
        self._hub = hub
        self._clock = clock
        self._lanes: Lanes[AskedPing, Known] = Lanes(
            "heads",
            self._read,
            lanes=1,
            capacity=capacity,
            batch_max=BATCH_MAX,
            gather_s=GATHER_S,
            told=self._reply_all,
        )
        # Most connections are told the same (b:all): one dictionary serves them all.
        self._common: dict[str, int] = {}

    def _parts(self) -> Iterable[AbstractAsyncContextManager[Any]]:
        return (self._lanes,)

    def on_ping(self, connection: Connection, request_id: int) -> None:
        """Answers a ping, when logic has answered or has failed to."""
        try:
            self._lanes.offer(0, (connection, request_id))
        except TidingsError as error:
            self._reply_all([(connection, request_id)], [error])

    async def read(self, users: Sequence[str]) -> list[int]:
        """The inbox heads of these users, aligned with them. Raises TidingsError."""
        heads: list[int] = []
        for first in range(0, len(users), BATCH_MAX):
            heads += (await self._logic.heads(users[first : first + BATCH_MAX], [])).users
        return heads

    async def groups(self, users: Sequence[str]) -> list[Groups | None]:
        """The large groups of each of these users and b:all, with their heads, aligned with the users.

        None stands for a user of whom logic does not say. Raises TidingsError.
        """
        groups: list[Groups | None] = []
        for first in range(0, len(users), GROUPS_MAX):
            part = users[first : first + GROUPS_MAX]
            answer = await self._logic.heads(part, [], large_groups=True)
            if len(answer.large_groups) == len(part):
                groups += [Groups(dict(large.heads), not large.more) for large in answer.large_groups]
            else:
                groups += [None] * len(part)  # a logic node of an earlier version does not tell
        return groups

    def push_heads(self, connection: Connection, heads: dict[str, int]) -> None:
        """Shows a connection the heads of groups that it did not know of, in a pong that no ping asked for."""
        pong = client_pb2.Pong(inbox_head=connection.delivery.shown, time_ms=self._clock.wall_ms())
        pong.group_heads.update(heads)
        connection.send(connection.codec.encode_server(client_pb2.ServerFrame(pong=pong)), "pong")

    async def _read(self, asked: list[AskedPing]) -> list[Known | TidingsError]:
        users = list(dict.fromkeys(connection.user for connection, _ in asked))
        groups = {user: joined for user in users if (joined := self._hub.groups_of(user))}
        conversations = list(dict.fromkeys([BROADCAST, *(group for joined in groups.values() for group in joined)]))
        answer = await self._logic.heads(users, conversations)
        inboxes = dict(zip(users, answer.users, strict=True))
        heads = {group: head for group, head in zip(conversations, answer.conversations, strict=True) if head}
        common = {BROADCAST: heads[BROADCAST]} if BROADCAST in heads else {}
        own = {
            user: {**common, **{group: heads[group] for group in joined if group in heads}}
            for user, joined in groups.items()
        }
        return [Known(inboxes[asker.user], own.get(asker.user, common)) for asker, _ in asked]

    def _reply_all(self, asked: Sequence[AskedPing], outcomes: Sequence[Known | TidingsError]) -> None:
        pongs = Pongs(self._clock.wall_ms())
        for (connection, request_id), known in zip(asked, outcomes, strict=True):
            try:
                self._reply(connection, request_id, known, pongs)
            except Exception as defect:  # noqa: BLE001 - the edge: as in `Connection.receive`
                connection.abort_after(defect)

    def _reply(self, connection: Connection, request_id: int, known: Known | TidingsError, pongs: Pongs) -> None:
        delivery = connection.delivery
        moved: dict[str, int] = {}
        if isinstance(known, Known):
            delivery.show(known.inbox_head)
            shown = connection.group_heads
            if shown != known.group_heads:
                moved = {
                    group: head
                    for group, head in known.group_heads.items()
                    if shown is None or shown.get(group) != head
                }
                self._remember(connection, known.group_heads)
        frame = _pong(delivery.shown, pongs.time_ms, moved).SerializeToString() if moved else pongs[delivery.shown]
        connection.send(connection.codec.reply(request_id, frame), "pong")
        connection.answered("ping")

    def _remember(self, connection: Connection, heads: dict[str, int]) -> None:
        if not heads:
            connection.remember_heads(None)
        elif heads == self._common:
            connection.remember_heads(self._common)
        else:
            self._common = heads
            connection.remember_heads(heads)


def _pong(head: int, time_ms: int, group_heads: Mapping[str, int] = NO_HEADS) -> client_pb2.ServerFrame:
    return client_pb2.ServerFrame(pong=client_pb2.Pong(inbox_head=head, time_ms=time_ms, group_heads=group_heads))
