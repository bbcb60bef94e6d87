"""The process around a node: it can be looked at from its start to its end, and told to leave."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from protos.tidings.internal.v1 import node_pb2
from services.common.lifecycle import Lifecycle
from services.common.node import NodeServicer, NodeShell, node_service, shown
from services.common.registry.contract import NodeRecord
from services.common.settings.node import NodeSettings
from tests.ports import free_address


async def state_of(address: str) -> Any:
    def ask() -> Any:
        with urllib.request.urlopen(f"http://{address}/debug/state", timeout=5) as answer:
            return answer.read()

    return json.loads(await asyncio.to_thread(ask))


async def test_a_node_shows_that_it_starts_and_then_what_it_is() -> None:
    settings = NodeSettings(node="logic-0", ops_listen=free_address())
    async with NodeShell(settings, Lifecycle()) as shell:
        assert (await state_of(settings.ops_listen))["state"] == "starting"
        shell.show({"state": lambda: "ready", "depth": lambda: 3})
        shown = await state_of(settings.ops_listen)
        assert (shown["state"], shown["depth"]) == ("ready", 3)
        shell.show(lambda: {"state": "draining"})
        assert (await state_of(settings.ops_listen))["state"] == "draining"


async def test_what_was_entered_last_is_left_first_and_the_node_can_be_looked_at_until_then() -> None:
    left: list[str] = []
    settings = NodeSettings(node="logic-0", ops_listen=free_address())

    @asynccontextmanager
    async def part(name: str) -> AsyncIterator[None]:
        yield
        assert (await state_of(settings.ops_listen))["state"] == "starting"
        left.append(name)

    async with NodeShell(settings, Lifecycle()) as shell:
        await shell.enter(part("registry"))
        await shell.enter(part("node"))
    assert left == ["node", "registry"]


async def test_a_drain_asks_the_process_to_stop_at_the_pace_that_was_asked_for() -> None:
    asked: list[int] = []
    await NodeServicer(asked.append).Drain(node_pb2.DrainRequest(pace_per_s=7), None)
    assert asked == [7]
    _, servicer = node_service(asked.append)
    assert isinstance(servicer, NodeServicer)


def test_a_record_is_shown_with_the_boot_that_it_is_of() -> None:
    record = NodeRecord("logic-0", "logic", "boot-1", "h:1", state="ready")
    assert shown(record) == {"name": "logic-0", "kind": "logic", "boot_id": "boot-1", "state": "ready"}
