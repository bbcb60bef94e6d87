"""Where a node listens, and whom it takes for its clients: version 6, proxies before it."""

from __future__ import annotations

import httpx
import pytest

from tests.e2e.wire_client import WAYS, Way, connect
from tests.integration.access.harness import AccessCluster
from tests.ports import free_port


@pytest.mark.parametrize("way", WAYS)
async def test_a_node_on_version_6_serves_its_clients_and_says_where_it_is(empty: AccessCluster, way: Way) -> None:
    node = await empty.start("access-0", ws_listen=f"[::1]:{free_port()}", tcp_listen=f"[::1]:{free_port()}")
    assert node.address.ws.startswith("ws://[::1]:")
    url = node.address.ws.replace("ws:", "http:").replace("/v1/ws", "/v1/route?user=ann")
    async with httpx.AsyncClient() as client:
        route = (await client.get(url)).json()
    assert (route["ws"], route["tcp"]) == (node.address.ws, node.address.tcp)
    async with connect(node.address, way) as wire:
        assert (await wire.hello(empty.token("ann"), "phone")).user == "ann"
