"""Before a connection of a node behind proxies: what its first bytes say of it."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address, ip_network
from typing import Any, cast

import pytest

from services.access.admission.addresses import TrustedProxies
from services.access.transport.gate import Gate
from services.common.telemetry import metrics
from tests.support.network.port import LIMITS, FakeStream, OpenDoor
from tests.support.network.proxy_header import version_1
from tests.unit.access.transport.test_arrival import Inner


class Listener:
    """Hands out protocols, and notes for which addresses."""

    limits = LIMITS

    def __init__(self, *trusted: str) -> None:
        self.trusted = TrustedProxies([ip_network(each) for each in trusted])
        self.door = OpenDoor()
        self.made: list[tuple[str, Inner]] = []

    def protocol(self, address: str = "") -> asyncio.BaseProtocol:
        inner = Inner()
        self.made.append((address, inner))
        return inner


def gate(listener: Listener) -> tuple[Gate, FakeStream]:
    made, stream = Gate(cast("Any", listener), None), FakeStream()
    made.connection_made(stream)
    return made, stream


HEADER = version_1(ip_address("198.51.100.7"))


async def test_a_trusted_proxy_says_whose_the_connection_is() -> None:
    listener = Listener("192.0.2.0/24")
    entered, stream = gate(listener)
    for byte in HEADER:
        entered.data_received(bytes([byte]))
    ((address, inner),) = listener.made
    assert (address, stream.protocol) == ("198.51.100.7", inner)
    assert inner.said == ["made"]


async def test_what_came_behind_the_header_is_handed_on() -> None:
    listener = Listener("192.0.2.0/24")
    gate(listener)[0].data_received(HEADER + b"hello")
    assert listener.made[0][1].data == b"hello"


async def test_who_writes_no_header_speaks_for_itself() -> None:
    listener = Listener("192.0.2.0/24")
    gate(listener)[0].data_received(b"GET / HTTP/1.1\r\n")
    ((address, inner),) = listener.made
    assert (address, inner.data) == ("192.0.2.1", b"GET / HTTP/1.1\r\n")


async def test_a_stranger_passes_at_once_without_being_believed() -> None:
    listener = Listener("203.0.113.0/24")
    _, stream = gate(listener)
    ((address, inner),) = listener.made
    assert (address, stream.protocol) == ("192.0.2.1", inner)


@pytest.mark.parametrize("data", [b"PROXY nonsense\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 99999999\r\n"])
async def test_a_wrong_header_ends_the_connection_and_is_counted(data: bytes) -> None:
    listener = Listener("192.0.2.0/24")
    refused = metrics.CONNECTIONS_REFUSED.labels("proxy")
    before = refused._value.get()
    entered, stream = gate(listener)
    entered.data_received(data)
    assert stream.closing
    assert (listener.made, refused._value.get()) == ([], before + 1)
    entered.connection_lost(None)
