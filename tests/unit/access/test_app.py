"""The wiring: a node on twins comes up, shows itself and drains."""

from __future__ import annotations

import ast
import asyncio
import inspect
from contextlib import AsyncExitStack
from pathlib import Path
from types import ModuleType

import pytest

from services.access import app, listeners, options, wiring
from services.access.app import access_node
from services.access.settings import AccessSettings
from services.access.wiring import AccessPorts
from services.common.auth.claims import Claims
from services.common.bus.memory import MemoryBroker, MemoryBus
from services.common.clock import SystemClock
from services.common.lifecycle import Lifecycle
from services.common.registry.memory import MemoryRegistry, MemoryStore
from services.common.rpc.memory import MemoryNetwork, MemoryPeers
from services.common.telemetry.health import Health

LINES_MAX = 60


class Trusting:
    def known(self, token: str) -> Claims | None:
        return Claims(token, 1e12)

    async def authenticate(self, token: str) -> Claims:
        return Claims(token, 1e12)


def settings_with(**given: object) -> AccessSettings:
    free = {f"{name}_listen": "127.0.0.1:0" for name in ("ws", "tcp", "rpc")}
    return AccessSettings(
        **{  # type: ignore[arg-type]  # as they are written
            "node": "access-0",
            "cluster": "local",
            **free,
            "token_secret_file": Path("no-such-file"),
            "mailbox_partitions": 4,
            "drain_deadline_s": 1.0,
            **given,
        }
    )


async def test_a_node_is_ready_when_it_is_entered_and_gone_when_it_is_left() -> None:
    store, network, health, life = MemoryStore(), MemoryNetwork(), Health(), Lifecycle()
    async with asyncio.TaskGroup() as group, AsyncExitStack() as stack:
        life.begin(group)
        ports = AccessPorts(
            registry=await stack.enter_async_context(MemoryRegistry(store)),
            bus=await stack.enter_async_context(MemoryBus(MemoryBroker())),
            peers=MemoryPeers(network, "access-0"),
            serve=network.serve,
            authenticator=Trusting(),
            clock=SystemClock(),
            health=health,
        )
        async with access_node(settings_with(), life, ports) as debug:
            shown = debug()
            record, _ = store.nodes["access-0"]
            assert (record.state, health.ready) == ("ready", True)
            assert (shown["node"], shown["state"], shown["connections"], shown["handshakes"]) == (
                "access-0",
                "ready",
                0,
                0,
            )
            assert {"send", "close"} <= shown["lanes"].keys()
            assert {"membership", "isolation", "reconciling"} <= set(life.tasks)
        assert store.nodes["access-0"][0].state == "draining"
        assert not health.ready
        life.end()


@pytest.mark.parametrize("module", [app, wiring, listeners, options], ids=lambda module: module.__name__)
def test_the_wiring_is_read_in_small_pieces_without_lambdas(module: ModuleType) -> None:
    tree = ast.parse(inspect.getsource(module))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= LINES_MAX] == []
    assert not any(isinstance(node, ast.Lambda) for node in ast.walk(tree))
