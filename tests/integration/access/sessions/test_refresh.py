"""A new token within a session."""

from __future__ import annotations

import time

import jwt
import pytest

from tests.support.cluster.access_nodes import SECRET, AccessCluster
from tests.support.device.pipes import WAYS, Way
from tests.support.device.wire import Refused, connect
from tidings_protocol.client_pb2 import Ping, Refresh

each_way = pytest.mark.parametrize("way", WAYS)


def ending(user: str, after_s: float) -> str:
    """A token whose session ends so many seconds from now: at `exp` plus 10 s."""
    claims = {"sub": user, "aud": "local", "exp": time.time() + after_s - 10}
    return jwt.encode(claims, SECRET, algorithm="HS256")


@each_way
async def test_the_session_lives_as_long_as_the_new_token(cluster: AccessCluster, way: Way) -> None:
    async with connect(cluster.nodes["access-0"].address, way) as wire:
        await wire.hello(ending("ann", 1.0))
        reply = await wire.request(refresh=Refresh(token=ending("ann", 3.0)))
        assert reply.WhichOneof("body") == "ok"
        began = time.monotonic()
        closed = await wire.end()
        assert closed.goodbye is not None
        assert closed.goodbye.code == 4506
        assert 2.0 < time.monotonic() - began < 4.5


@each_way
async def test_a_shorter_life_counts_as_well(cluster: AccessCluster, way: Way) -> None:
    async with connect(cluster.nodes["access-0"].address, way) as wire:
        await wire.hello(cluster.token("ann"))
        assert (await wire.request(refresh=Refresh(token=ending("ann", 1.0)))).WhichOneof("body") == "ok"
        closed = await wire.end()
        assert closed.goodbye is not None
        assert closed.goodbye.code == 4506


@each_way
async def test_a_bad_token_or_another_users_is_refused_and_the_session_goes_on(
    cluster: AccessCluster, way: Way
) -> None:
    async with connect(cluster.nodes["access-0"].address, way) as wire:
        await wire.hello(ending("ann", 2.0))
        for token in ("", "x", cluster.token("bob"), ending("ann", -60.0), cluster.token("ann")[:-3]):
            with pytest.raises(Refused) as refused:
                await wire.request(refresh=Refresh(token=token))
            assert refused.value.code == "UNAUTHENTICATED"
            assert refused.value.message
        assert (await wire.request(ping=Ping())).WhichOneof("body") == "pong"
        closed = await wire.end()
        assert closed.goodbye is not None
        assert closed.goodbye.code == 4506


@each_way
async def test_a_flood_of_refreshes_is_refused_with_a_time(cluster: AccessCluster, way: Way) -> None:
    async with connect(cluster.nodes["access-0"].address, way) as wire:
        await wire.hello(cluster.token("ann"))
        for _ in range(10):
            assert (await wire.request(refresh=Refresh(token=cluster.token("ann")))).WhichOneof("body") == "ok"
        with pytest.raises(Refused) as refused:
            await wire.request(refresh=Refresh(token=cluster.token("ann")))
        assert refused.value.code == "RATE_LIMITED"
        assert refused.value.retry_after_ms > 0


async def test_idle_sessions_show_in_the_state(cluster: AccessCluster) -> None:
    node = cluster.nodes["access-0"]
    async with cluster.session("ann") as wire:
        await wire.request(ping=Ping())
        assert node.state["idle"] == 0
        await wire.request(ping=Ping(idle=True))
        assert node.state["idle"] == 1
