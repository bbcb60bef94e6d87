"""Where a node listens, and whom it takes for its clients: version 6, proxies before it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import httpx2
import pytest
import structlog

from services.common.telemetry import logs
from tests.certificates import Authority
from tests.e2e.wire_client import WAYS, Way, connect
from tests.integration.access.harness import AccessCluster, RunningNode
from tests.integration.access.raw import Transport, frames_in, raw
from tests.ports import free_port
from tests.unit.access.transport.test_proxy_header import version_2
from tidings_protocol.client_pb2 import ClientFrame, Hello

CLIENT = IPv4Address("198.51.100.7")
LINE = f"PROXY TCP4 {CLIENT} 192.0.2.1 50000 443\r\n".encode()
HEADERS = {"version 1": LINE, "version 2": version_2(CLIENT, more=b"\x04\x00\x01\x00")}
each_transport = pytest.mark.parametrize("transport", ["ws", "tcp"])
each_version = pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """What is logged."""
    stream, root = io.StringIO(), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    logs.configure(level="info", form="json", stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def logged(out: io.StringIO, event: str) -> dict[str, str]:
    lines = map(json.loads, out.getvalue().splitlines())
    found: dict[str, str] = next(line for line in lines if line["event"] == event)
    return found


async def address_of_session(
    cluster: AccessCluster, node: RunningNode, transport: Transport, *, first: bytes = b"", headers: bytes = b""
) -> str:
    """Says hello; where logic is told that the client is."""
    async with raw(node, transport, first=first) as wire:
        await wire.upgrade(headers)
        wire.send_frame(ClientFrame(id=1, hello=Hello(token=cluster.token("ann"), device="d")))
        assert (await wire.frame()).WhichOneof("body") == "welcome"
        return cluster.logic.opened[-1].address


@pytest.mark.parametrize("way", WAYS)
async def test_a_node_on_version_6_serves_its_clients_and_says_where_it_is(empty: AccessCluster, way: Way) -> None:
    node = await empty.start("access-0", ws_listen=f"[::1]:{free_port()}", tcp_listen=f"[::1]:{free_port()}")
    assert node.address.ws.startswith("ws://[::1]:")
    url = node.address.ws.replace("ws:", "http:").replace("/v1/ws", "/v1/route?user=ann")
    async with httpx2.AsyncClient() as client:
        route = (await client.get(url)).json()
    assert (route["ws"], route["tcp"]) == (node.address.ws, node.address.tcp)
    async with connect(node.address, way) as wire:
        assert (await wire.hello(empty.token("ann"), "phone")).user == "ann"


@each_transport
async def test_the_address_of_a_client_reaches_logic_and_the_log(
    cluster: AccessCluster, transport: Transport, out: io.StringIO
) -> None:
    assert await address_of_session(cluster, cluster.nodes["access-0"], transport) == "127.0.0.1"
    assert logged(out, "connection opened")["address"] == "127.0.0.1"


@each_transport
@each_version
async def test_a_proxy_that_is_trusted_says_whose_the_connection_is(
    empty: AccessCluster, transport: Transport, header: bytes
) -> None:
    node = await empty.start("access-0", trusted_proxies=["127.0.0.0/8"])
    assert await address_of_session(empty, node, transport, first=header) == str(CLIENT)
    assert await address_of_session(empty, node, transport, first=b"PROXY UNKNOWN\r\n") == "127.0.0.1"
    assert await address_of_session(empty, node, transport) == "127.0.0.1"


@each_transport
@each_version
async def test_a_header_in_pieces_is_a_header(empty: AccessCluster, transport: Transport, header: bytes) -> None:
    node = await empty.start("access-0", trusted_proxies=["127.0.0.1"])
    async with raw(node, transport) as wire:
        for byte in header:
            wire.send(bytes([byte]))
            await wire.writer.drain()
        await wire.upgrade()
        wire.send_frame(ClientFrame(id=1, hello=Hello(token=empty.token("ann"), device="d")))
        assert (await wire.frame()).WhichOneof("body") == "welcome"
    assert empty.logic.opened[-1].address == str(CLIENT)


@each_transport
@each_version
async def test_it_comes_before_tls(empty: AccessCluster, transport: Transport, header: bytes, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    pair = authority.issue("localhost")
    node = await empty.start(
        "access-0", trusted_proxies=["127.0.0.0/8"], tls_certificate_file=pair.certificate, tls_key_file=pair.key
    )
    for first, address in ((header, str(CLIENT)), (b"", "127.0.0.1")):
        async with raw(node, transport, tls=authority.trusted(), first=first) as wire:
            await wire.upgrade()
            wire.send_frame(ClientFrame(id=1, hello=Hello(token=empty.token("ann"), device="d")))
            assert (await wire.frame()).WhichOneof("body") == "welcome"
            assert empty.logic.opened[-1].address == address


@pytest.mark.parametrize("trusted", [[], ["10.0.0.0/8"]], ids=["nobody", "others"])
@each_version
async def test_a_header_of_anybody_else_is_refused_with_a_sentence_that_leads_somewhere(
    empty: AccessCluster, header: bytes, trusted: list[str]
) -> None:
    node = await empty.start("access-0", trusted_proxies=trusted)
    async with raw(node, "tcp", first=header) as wire:
        (frame,) = frames_in(await wire.rest())
        assert frame.goodbye.code == 4503
        assert "a PROXY header from an address that is not in trusted_proxies" in frame.goodbye.message
    async with raw(node, "ws", first=header) as wire:
        answer = await wire.rest()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"a PROXY header from an address that is not in trusted_proxies" in answer


async def test_under_tls_it_is_refused_and_the_log_says_why(
    empty: AccessCluster, out: io.StringIO, tmp_path: Path
) -> None:
    pair = Authority(tmp_path / "authority").issue("localhost")
    node = await empty.start(
        "access-0", trusted_proxies=["10.0.0.0/8"], tls_certificate_file=pair.certificate, tls_key_file=pair.key
    )
    async with raw(node, "tcp", first=LINE) as wire:
        assert await wire.rest() == b""
    assert "trusted_proxies" in logged(out, "connection with a wrong PROXY header refused")["error"]


@each_transport
async def test_a_header_that_is_none_or_never_ends_closes_the_connection(
    empty: AccessCluster, transport: Transport
) -> None:
    node = await empty.start("access-0", trusted_proxies=["127.0.0.1"], handshake_s=0.3)
    for first in (b"PROXY TCP4 here there 1 2\r\n", b"PROXY TCP4 "):
        async with raw(node, transport, first=first) as wire:
            assert await wire.rest() == b""


async def test_who_says_nothing_behind_a_trusted_proxy_is_told_so(empty: AccessCluster) -> None:
    node = await empty.start("access-0", trusted_proxies=["127.0.0.1"], handshake_s=0.3)
    async with raw(node, "tcp") as wire:
        (frame,) = frames_in(await wire.rest())
        assert frame.goodbye.code == 4004


async def test_the_headers_of_a_proxy_count_if_it_is_trusted(empty: AccessCluster) -> None:
    trusting = await empty.start("access-0", trusted_proxies=["127.0.0.1"], placement="any")
    other = await empty.start("access-1", placement="any")
    for headers in (b"X-Forwarded-For: 6.6.6.6, 198.51.100.7\r\n", b"Forwarded: for=6.6.6.6, for=198.51.100.7\r\n"):
        assert await address_of_session(empty, trusting, "ws", headers=headers) == str(CLIENT)
        assert await address_of_session(empty, other, "ws", headers=headers) == "127.0.0.1"
    # A balancer for TCP before a proxy for HTTP: each says who came to it.
    both = await address_of_session(
        empty, trusting, "ws", first=b"PROXY TCP4 127.0.0.1 192.0.2.1 1 2\r\n", headers=b"X-Forwarded-For: 6.6.6.6\r\n"
    )
    assert both == "6.6.6.6"
    assert await address_of_session(empty, trusting, "ws", first=LINE, headers=b"X-Forwarded-For: 6.6.6.6\r\n") == str(
        CLIENT
    )


@each_transport
async def test_an_address_makes_so_many_new_connections_and_others_feel_nothing(
    empty: AccessCluster, transport: Transport
) -> None:
    node = await empty.start("access-0", trusted_proxies=["127.0.0.1"], address_connections_per_s=0.3)
    for _ in range(3):
        assert await address_of_session(empty, node, transport, first=LINE) == str(CLIENT)
    async with raw(node, transport, first=LINE) as wire:
        if transport == "tcp":
            (frame,) = frames_in(await wire.rest())
            assert frame.goodbye.code == 4003
            assert frame.goodbye.retry_after_ms >= 1000
        else:
            with pytest.raises(AssertionError, match=r"503 Service Unavailable.*Retry-After"):
                await wire.upgrade()
    other = version_2(IPv4Address("198.51.100.8"))
    assert await address_of_session(empty, node, transport, first=other) == "198.51.100.8"
    for _ in range(10):
        assert await address_of_session(empty, node, transport) == "127.0.0.1"
