"""What answers clients in tests: the real nodes on twins, and two stand-ins that must not differ from them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.cluster.access_nodes import access_cluster, whole_cluster
from tests.support.cluster.fake_access import FakeAccess
from tests.support.cluster.model_server import ModelServer
from tests.support.device.pipes import Address, Way
from tests.support.device.wire import Wire, connect

WAY: Way = "tcp"


@dataclass(frozen=True, slots=True)
class Server:
    """`session` is a connection that has been welcomed."""

    address: Address
    token: Callable[[str], str]

    @asynccontextmanager
    async def session(self, user: str, device: str = "phone", **hello: Any) -> AsyncIterator[Wire]:
        async with connect(self.address, WAY) as wire:
            await wire.hello(self.token(user), device, **hello)
            yield wire


@asynccontextmanager
async def real(folder: Path) -> AsyncIterator[Server]:
    """An access, a logic and a storage node, as they are wired."""
    async with whole_cluster(folder) as cluster:
        node = await cluster.start("access-0")
        yield Server(node.address, cluster.token)


@asynccontextmanager
async def logic_is_fake(folder: Path) -> AsyncIterator[Server]:
    """A real access node on the logic node of its own tests."""
    async with access_cluster(folder) as cluster:
        node = await cluster.start("access-0")
        yield Server(node.address, cluster.token)


@asynccontextmanager
async def model(_: Path) -> AsyncIterator[Server]:
    """The whole server of the client's tests."""
    async with FakeAccess(ModelServer(page_max=100)) as access:
        yield Server(Address(access.ws, access.tcp), lambda user: user)


SERVERS: dict[str, Callable[[Path], AbstractAsyncContextManager[Server]]] = {
    "real nodes": real,
    "fake logic": logic_is_fake,
    "model": model,
}
