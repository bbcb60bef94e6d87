"""Headers of the PROXY protocol, as a proxy writes them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Literal

from services.access.admission.proxy_header import VERSION_2


def version_2(
    source: IPv4Address | IPv6Address, *, command: Literal[0, 1] = 1, kind: int = 1, more: bytes = b""
) -> bytes:
    """A binary header; `kind` 1 is TCP, `command` 0 is a proxy that speaks for itself."""
    addresses = source.packed * 2 + b"\x00\x01\x00\x02" + more
    family = 1 if source.version == 4 else 2
    return VERSION_2 + bytes([0x20 | command, family << 4 | kind]) + len(addresses).to_bytes(2, "big") + addresses


def version_1(source: IPv4Address | IPv6Address) -> bytes:
    """A header of version 1, which is a line."""
    return f"PROXY TCP{source.version} {source} {source} 56324 443\r\n".encode()
