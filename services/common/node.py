"""The process around a node: its ops address, its registry, its bus, its calls, its certificates.

    async with NodeShell(settings, life) as shell:                          # /healthz answers, "starting"
        ports = await shell.connect(LogicPorts, kafka=True)                 # etcd, Kafka, calls to other nodes
        shell.show(await shell.enter(logic_node(settings, life, ports)))    # /debug/state shows the node
        yield

A node stands on ports, so that a simulation gives it twins; the shell gives it etcd, Kafka and gRPC.

Guarantees: what was entered is left in reverse order, the ops address last, so that a node can be looked at while it
drains. A renewed certificate is put to use in every connection that shows it.

Does not know: what a node does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from protos.tidings.internal.v1 import common_pb2, node_pb2, node_pb2_grpc
from services.common.certificates import Certificates, watch_inner
from services.common.clock import Clock, SystemClock
from services.common.lifecycle import Lifecycle
from services.common.registry.contract import NodeKind, NodeRecord, Registry
from services.common.registry.stateless_registration import StatelessRegistration
from services.common.rpc import Peers, PeersPort, RpcServer, Service, serve, tls_of
from services.common.scope import Owned
from services.common.settings.node import NodeSettings
from services.common.telemetry.health import Health
from services.common.telemetry.ops import OpsServer
from tidings_protocol.ids import new_id

P = TypeVar("P", bound="NodePorts")
Thing = TypeVar("Thing")

# services.common.rpc.serve, or its twin: serves at an address while it is entered.
Serve = Callable[[str, Sequence[Service]], AbstractAsyncContextManager[RpcServer]]
# What /debug/state shows, by name; asked for when somebody looks.
DebugState = Mapping[str, Callable[[], Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePorts:
    """What every node stands on; entered by whoever made them."""

    registry: Registry
    peers: PeersPort
    serve: Serve
    clock: Clock
    health: Health


class NodeShell(Owned):
    """Enter it first; then `connect`, and `show` the node that was built on the ports."""

    def __init__(self, settings: NodeSettings, life: Lifecycle) -> None:
        self.clock: Clock = SystemClock()
        self.health = Health()
        self._settings = settings
        self._life = life
        self._stack = AsyncExitStack()
        self._state: Callable[[], Mapping[str, Any]] = lambda: {"state": "starting"}

    async def enter(self, thing: AbstractAsyncContextManager[Thing]) -> Thing:
        """Enters it; it is left before everything that was entered earlier."""
        return await self._stack.enter_async_context(thing)

    async def connect(self, ports: Callable[..., P], *, kafka: bool, **own: Any) -> P:
        """Joins the cluster's backends and makes the ports: `own` are those that only this kind of node has.

        `kafka`: whether the ports have a `bus`. Does not wait for etcd or Kafka. Raises OSError, ValueError if a
        certificate cannot be used.
        """
        # Not needed, and not to be had, where a simulation wires nodes to twins.
        from services.common.bus.kafka.bus import KafkaBus
        from services.common.bus.kafka.security import kafka_security_of
        from services.common.registry.etcd import EtcdRegistry
        from services.common.registry.etcd_tls import etcd_tls_of

        settings = self._settings
        registry = EtcdRegistry(
            settings.etcd_endpoints, settings.cluster, lease_ttl_s=settings.lease_ttl_s, tls=etcd_tls_of(settings)
        )
        bus = KafkaBus(settings.kafka_bootstrap, settings.node, security=kafka_security_of(settings)) if kafka else None
        tls = tls_of(settings)
        certificates = Certificates()
        watch_inner(
            certificates,
            settings,
            rpc=tls.renew if tls is not None else None,
            etcd=registry.renew_certificate,
            kafka=bus.renew_certificate if bus is not None else None,
        )
        self._life.spawn(certificates.run(), name="certificates")
        await self.enter(registry)
        if bus is not None:
            own["bus"] = await self.enter(bus)
        return ports(
            registry=registry,
            peers=await self.enter(Peers(tls=tls)),
            serve=partial(serve, tls=tls),
            clock=self.clock,
            health=self.health,
            **own,
        )

    def show(self, state: DebugState | Callable[[], Mapping[str, Any]]) -> None:
        """This is what /debug/state shows from now on."""
        self._state = state if callable(state) else partial(_values_of, state)

    async def _running(self) -> AsyncIterator[None]:
        async with self._stack:
            await self.enter(OpsServer(self._settings.ops_listen, self.health, self._debug))
            yield

    def _debug(self) -> Mapping[str, Any]:
        return self._state()


class NodeServicer(node_pb2_grpc.NodeServicer):
    """tidings.internal.v1.Node. `leave` asks the process to drain, with goodbyes a second (0: the setting)."""

    def __init__(self, leave: Callable[[int], None]) -> None:
        self._leave = leave

    async def Drain(self, request: node_pb2.DrainRequest, context: Any) -> common_pb2.Empty:  # noqa: ARG002, N802
        """Returns at once; the registry shows how it goes on."""
        self._leave(request.pace_per_s)
        return common_pb2.Empty()


def node_service(leave: Callable[[int], None]) -> Service:
    """The service that every node serves beside its own."""
    return node_pb2_grpc.add_NodeServicer_to_server, NodeServicer(leave)


@asynccontextmanager
async def registered(
    settings: NodeSettings, kind: NodeKind, server: RpcServer, ports: NodePorts
) -> AsyncIterator[StatelessRegistration]:
    """A node that keeps no state of its own is in the ring, and healthy, while this is entered: enter it last.

    Raises Unavailable if the registry does not answer within the settings' `drain_deadline_s`.
    """
    record = NodeRecord(
        name=settings.node,
        kind=kind,
        boot_id=new_id(),
        rpc=settings.rpc_advertise or server.address,
        weight=settings.weight,
        ops=settings.ops_listen,
        since_ms=ports.clock.wall_ms(),
    )
    async with StatelessRegistration(ports.registry, record, timeout_s=settings.drain_deadline_s) as registration:
        ports.health.started()
        try:
            yield registration
        finally:
            ports.health.set("drain", ok=False, reason="the node is leaving")


def shown(record: NodeRecord) -> Mapping[str, object]:
    """A node's record, for /debug/state."""
    return {"name": record.name, "kind": record.kind, "boot_id": record.boot_id, "state": record.state}


def _values_of(state: DebugState) -> Mapping[str, Any]:
    return {name: value() for name, value in state.items()}
