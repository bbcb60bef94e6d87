"""A whole logic node on twins: what it tells of itself, from its start to its end."""

from __future__ import annotations

import asyncio

from services.common.bus.memory import MemoryBroker, MemoryBus
from services.common.clock import SystemClock
from services.common.lifecycle import Lifecycle
from services.common.registry.memory import MemoryRegistry, MemoryStore
from services.common.rpc.memory import MemoryNetwork, MemoryPeers
from services.common.telemetry.health import Health
from services.logic.node import logic_node
from services.logic.settings import LogicSettings
from services.logic.wiring import LogicPorts


async def test_a_node_is_ready_when_entered_and_tells_what_it_holds() -> None:
    network, health = MemoryNetwork(), Health()
    settings = LogicSettings(node="logic-0", rpc_listen="127.0.0.1:9200", mailbox_partitions=2, broadcast_partitions=1)
    life = Lifecycle()
    async with (
        asyncio.TaskGroup() as group,
        MemoryRegistry(MemoryStore()) as registry,
        MemoryBus(MemoryBroker()) as bus,
    ):
        life.begin(group)
        ports = LogicPorts(
            registry=registry,
            bus=bus,
            peers=MemoryPeers(network, "logic-0"),
            serve=network.serve,
            clock=SystemClock(),
            health=health,
        )
        async with logic_node(settings, life, ports) as node:
            assert health.ready
            shown = node.debug_state()
            assert (shown["state"], shown["node"]["name"], shown["registry"]) == (
                "ready",
                "logic-0",
                {"connected": True},
            )
            assert shown["kafka"] == {"degraded": False, "backlog_bytes": 0}
            assert shown["under_way"] == {"sends": 0, "requests": 0}
            assert shown["memory"] == {"groups": 0, "receipts": 0}
            assert set(shown) == {
                *("state", "node", "registry", "kafka", "slots", "under_way", "memory", "lanes", "nodes", "tasks")
            }
        assert not health.ready
