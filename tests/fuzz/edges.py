"""Targets beside those of the clients' frames: what reads the bytes of strangers at the other ports of a node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from services.access.admission.addresses import TrustedProxies, canonical, networks
from services.access.admission.proxy_header import (
    HEADER_BYTES_MAX,
    VERSION_2,
    BadProxyHeader,
    may_be_header,
    read_header,
)
from services.common.telemetry.health import Health
from services.common.telemetry.ops import Answer, OpsServer, request_of

PROFILE: Final = "/debug/profile"  # takes seconds, by design


def ops(data: bytes) -> None:
    """Whatever comes to the ops port gets an answer of ours."""
    server = OpsServer("127.0.0.1:0", Health(), lambda: {"state": "ready"})
    asked = request_of(data)
    if isinstance(asked, Answer) or asked.path != PROFILE:
        answer = asyncio.run(server.answer(data))
        assert answer.status.value in {200, 400, 404, 405, 503}, answer
        assert b"Traceback" not in answer.body


def proxy(data: bytes) -> None:
    """A PROXY header is one, refused, or not whole; cut in two it is the same. The first byte says where it is cut."""
    at, data = (data[0], data[1:]) if data else (0, data)
    try:
        header = read_header(data)
    except BadProxyHeader:
        return
    assert may_be_header(data)
    if header is not None:
        assert header.size <= min(len(data), HEADER_BYTES_MAX)
        assert not header.address or canonical(header.address)
        assert at >= header.size or read_header(data[:at]) is None


def forwarded(data: bytes) -> None:
    """Whatever a proxy's headers say, a client has an address. Lines: values of one header, then of the other."""
    first, _, second = data.decode("latin-1").partition("\n")
    assert canonical(PROXIES.client_of("10.0.0.1", first.split("\r"), second.split("\r")))
    assert canonical(PROXIES.client_of("10.0.0.1", [], second.split("\r")))


PROXIES: Final = TrustedProxies(networks(["10.0.0.0/8", "fd00::/8"]))
EDGES: Final[Mapping[str, Callable[[bytes], None]]] = {"ops": ops, "proxy": proxy, "forwarded": forwarded}
EDGE_SEEDS: Final[Mapping[str, list[bytes]]] = {
    "ops": [
        b"GET /readyz HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text; version=1.0.0\r\n\r\n",
        b"GET //[ HTTP/1.1\r\n\r\n",
        b"GET /healthz?seconds=%ff&a;b HTTP/1.0\r\n\xff:\xff\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text; version=2.0.0; q=\xff\r\n\r\n",
    ],
    "proxy": [
        b"\x09PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nGET / HTTP/1.1\r\n",
        b"\x09PROXY UNKNOWN\r\n",
        b"\x0d" + VERSION_2 + b"\x21\x11\x00\x0c" + bytes(12) + b"rest",
        b"\x20" + VERSION_2 + b"\x21\x21\x00\x27" + bytes(39),
    ],
    "forwarded": [
        b"6.6.6.6, 198.51.100.1\r10.0.0.9\n",
        b'\nfor="[2001:db8::1]:443";by=_x, for=10.0.0.3;proto=https',
    ],
}
