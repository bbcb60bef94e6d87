"""A logic node as a process: etcd, Kafka and gRPC for `logic_node`, and the ops address before all else.

    ops ─▶ etcd, Kafka, calls, certificates ─▶ the node (node.py)

Guarantees: /healthz and /debug/state answer while the node still starts. Certificates are renewed while it runs.

Does not know: what a logic node consists of.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from services.common.certificates import Certificates, watch_inner
from services.common.clock import SystemClock
from services.common.lifecycle import Lifecycle
from services.common.rpc import Peers, serve, tls_of
from services.common.telemetry.health import Health
from services.common.telemetry.ops import OpsServer
from services.logic.node import LogicPorts, logic_node
from services.logic.settings import LogicSettings


@asynccontextmanager
async def app(settings: LogicSettings, life: Lifecycle) -> AsyncIterator[None]:
    """The node serves while this is entered."""
    # Not needed, and not to be had, where a simulation wires nodes to twins.
    from services.common.bus.kafka import KafkaBus
    from services.common.bus.kafka_security import kafka_security_of
    from services.common.registry.etcd import EtcdRegistry
    from services.common.registry.etcd_client import etcd_tls_of

    health, state = Health(), LogicDebugState()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        await enter(OpsServer(settings.ops_listen, health, state.shown))
        registry = EtcdRegistry(
            settings.etcd_endpoints,
            settings.cluster,
            lease_ttl_s=settings.lease_ttl_s,
            tls=etcd_tls_of(settings),
        )
        bus = KafkaBus(settings.kafka_bootstrap, settings.node, security=kafka_security_of(settings))
        tls = tls_of(settings)
        certificates = Certificates()
        rpc = tls.renew if tls is not None else None
        watch_inner(certificates, settings, rpc=rpc, etcd=registry.renew_certificate, kafka=bus.renew_certificate)
        life.spawn(certificates.run(), name="certificates")
        ports = LogicPorts(
            registry=await enter(registry),
            bus=await enter(bus),
            peers=await enter(Peers(tls=tls)),
            serve=partial(serve, tls=tls),
            clock=SystemClock(),
            health=health,
        )
        node = await enter(logic_node(settings, life, ports))
        state.follow(node.debug_state)
        yield


class LogicDebugState:
    """What /debug/state shows: that the node starts, and then what the node tells of itself."""

    def __init__(self) -> None:
        self._shown: Callable[[], Mapping[str, Any]] = _starting

    def follow(self, shown: Callable[[], Mapping[str, Any]]) -> None:
        """From now on `shown` is asked."""
        self._shown = shown

    def shown(self) -> Mapping[str, Any]:
        return self._shown()


def _starting() -> Mapping[str, Any]:
    return {"state": "starting"}
