"""Sessions that a newer one has replaced end: here at once, elsewhere by a call that is repeated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from protos.tidings.internal.v1 import access_pb2, logic_pb2
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.handshake import replacement
from services.access.handshake.replacement import SessionReplacement
from services.access.session.session import Phase
from services.common.registry.contract import NodeIncarnation, NodeRecord
from tests.unit.access.fakes import open_client
from tidings_protocol.errors import Unavailable

Place = logic_pb2.SessionPlace
THERE = NodeRecord("access-1", "access", "boot-b", "access-1:1", state="ready")


class Peers:
    """The other node; it fails as often as the test says."""

    def __init__(self) -> None:
        self.calls: list[list[tuple[str, str, int]]] = []
        self.failures = 0

    async def call(self, method: str, request: Any, reply_type: Any, *, node: NodeRecord, timeout_s: float) -> Any:
        assert method.endswith("Access/Evict")
        assert (node, timeout_s) == (THERE, 1.0)
        self.calls.append([(eviction.user, eviction.session, eviction.code) for eviction in request.evictions])
        if self.failures:
            self.failures -= 1
            raise Unavailable("as asked")
        return access_pb2.EvictOutcome(evicted=len(request.evictions))


class Here:
    def __init__(self) -> None:
        self.peers, self.hub = Peers(), Hub[Connection]()
        self.there: dict[str, NodeRecord] = {"access-1": THERE}
        self.replacement = SessionReplacement(
            self.peers,
            self.hub,
            me=lambda: NodeIncarnation("access-0", "boot-a"),
            node=self.there.get,
            timeout_s=5,
        )


@asynccontextmanager
async def here() -> AsyncIterator[Here]:
    place = Here()
    async with place.replacement:
        yield place


async def eventually(so: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not so():  # noqa: ASYNC110 - plain values are looked at
            await asyncio.sleep(0)


async def test_a_session_here_ends_at_once_and_no_other_one() -> None:
    place = Here()
    old, new = open_client("ann", session="s1"), open_client("ann", session="s2")
    for client in (old, new):
        place.hub.add("ann", client.connection)
    place.replacement.end("ann", [Place(node="access-0", session="s1")])
    assert old.goodbye is not None
    assert old.goodbye.code == 4501
    assert (old.connection.session.phase, new.connection.session.phase) == (Phase.CLOSING, Phase.OPEN)


async def test_sessions_of_one_node_end_by_one_call() -> None:
    async with here() as place:
        place.replacement.end("ann", [Place(node="access-1", session="s1"), Place(node="access-1", session="s2")])
        place.replacement.end("bob", [Place(node="access-1", session="s3")])
        await eventually(lambda: place.peers.calls)
    assert place.peers.calls == [[("ann", "s1", 4501), ("ann", "s2", 4501), ("bob", "s3", 4501)]]


async def test_a_node_that_is_gone_is_not_called() -> None:
    async with here() as place:
        place.replacement.end("ann", [Place(node="access-9", session="s1")])
    assert place.peers.calls == []


async def test_a_call_that_fails_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replacement, "RETRY_S", 0.0)
    async with here() as place:
        place.peers.failures = 2
        running = asyncio.ensure_future(place.replacement.run())
        place.replacement.end("ann", [Place(node="access-1", session="s1")])
        await eventually(lambda: len(place.peers.calls) == 3)
        running.cancel()
    assert place.peers.calls == [[("ann", "s1", 4501)]] * 3


async def test_after_so_many_tries_a_node_is_left_to_its_own_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replacement, "RETRY_S", 0.0)
    monkeypatch.setattr(replacement, "TRIES_MAX", 2)
    async with here() as place:
        place.peers.failures = 99
        running = asyncio.ensure_future(place.replacement.run())
        place.replacement.end("ann", [Place(node="access-1", session="s1")])
        await eventually(lambda: len(place.peers.calls) == 2)
        for _ in range(50):
            await asyncio.sleep(0)
        running.cancel()
    assert len(place.peers.calls) == 2
