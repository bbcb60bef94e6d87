"""One life of each kind of node on the twins: the services' own wiring with other ports.

Does not know: when a node lives or dies (world.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.access import app as access
from services.access.settings import AccessSettings
from services.access.transport.tcp import TcpServer
from services.access.wiring import AccessPorts
from services.common.auth.claims import Claims
from services.common.clock import SystemClock
from services.common.lifecycle import Lifecycle, live
from services.common.registry.contract import NodeKind
from services.common.registry.memory import MemoryRegistry
from services.common.rpc.memory import MemoryPeers
from services.common.telemetry.health import Health
from services.logic import node as logic
from services.logic.settings import LogicSettings
from services.logic.wiring import LogicPorts
from services.storage import wiring as storage
from services.storage.repository.contract import Repository
from services.storage.repository.memory import Faults
from services.storage.settings import StorageSettings
from tests.simulation.virtual.loop import Protocols
from tests.simulation.virtual.network import SimulatedBus, Wires

FOREVER_S = 1e12
LEASE_TTL_S = 3
LARGE_ABOVE = 5


@dataclass(frozen=True, slots=True)
class Ports:
    """What one life of a node is connected by."""

    registry: MemoryRegistry
    bus: SimulatedBus
    peers: MemoryPeers
    network: Wires
    repository: Repository
    faults: Faults


@dataclass(slots=True)
class Door:
    """Where clients come in, once the node has opened."""

    protocols: Protocols = field(default_factory=list)

    def open(self) -> Callable[[], asyncio.BaseProtocol] | None:
        """Makes the server's end of a new connection; None while the node does not listen."""
        for protocol in self.protocols:
            if isinstance(getattr(protocol, "__self__", None), TcpServer):
                return protocol
        return None


class TrustingAuthenticator:
    """A token is the user's name: signatures are not what is simulated here. One that was shown before is known."""

    def __init__(self) -> None:
        self._shown: set[str] = set()

    def known(self, token: str) -> Claims | None:
        return Claims(token, FOREVER_S) if token in self._shown else None

    async def authenticate(self, token: str) -> Claims:
        self._shown.add(token)
        return Claims(token, FOREVER_S)


def token_of(user: str) -> str:
    return user


async def life_of(name: str, kind: NodeKind, address: str, ports: Ports, life: Lifecycle) -> None:
    """The life of a node from its start until it has drained; cancelled, it ends as it can."""
    shared: dict[str, Any] = {
        "node": name,
        "cluster": "simulated",
        "rpc_listen": address,
        "lease_ttl_s": LEASE_TTL_S,
        "mailbox_partitions": 8,
        "broadcast_partitions": 2,
    }
    match kind:
        case "access":
            settings = AccessSettings(
                **shared,
                ws_listen="127.0.0.1:0",
                tcp_listen="127.0.0.1:0",
                ws_public=f"ws://{address}/v1/ws",
                tcp_public=address,
                token_secret_file=Path("no-such-file"),
            )
            await live(settings, life, lambda settings, life: _access(settings, life, ports))
        case "logic":
            settings_of_logic = LogicSettings(**shared, large_group_threshold=LARGE_ABOVE, events_enabled=False)
            await live(settings_of_logic, life, lambda settings, life: _logic(settings, life, ports))
        case "storage":
            await live(StorageSettings(**shared), life, lambda settings, life: _storage(settings, life, ports))


@asynccontextmanager
async def _access(settings: AccessSettings, life: Lifecycle, ports: Ports) -> AsyncIterator[None]:
    connected = AccessPorts(
        registry=ports.registry,
        bus=ports.bus,
        peers=ports.peers,
        serve=ports.network.listen,
        authenticator=TrustingAuthenticator(),
        clock=SystemClock(),
        health=Health(),
    )
    async with ports.registry, ports.bus, access.access_node(settings, life, connected):
        yield


@asynccontextmanager
async def _logic(settings: LogicSettings, life: Lifecycle, ports: Ports) -> AsyncIterator[None]:
    connected = LogicPorts(
        registry=ports.registry,
        bus=ports.bus,
        peers=ports.peers,
        serve=ports.network.listen,
        clock=SystemClock(),
        health=Health(),
    )
    async with ports.registry, ports.bus, logic.logic_node(settings, life, connected):
        yield


@asynccontextmanager
async def _storage(settings: StorageSettings, life: Lifecycle, ports: Ports) -> AsyncIterator[None]:
    connected = storage.StoragePorts(
        repository=ports.repository,
        bus=ports.bus,
        registry=ports.registry,
        peers=ports.peers,
        serve=ports.network.listen,
        clock=SystemClock(),
        health=Health(),
    )
    async with ports.registry, ports.bus, storage.storage_node(settings, life, connected):
        yield
