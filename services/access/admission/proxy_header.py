"""The PROXY protocol, versions 1 and 2: what a balancer writes before a connection to say whose it is. Pure.

Guarantees: a header is read whole or refused, whatever the bytes and however they are cut; it has at most
`HEADER_BYTES_MAX`; an address in it is one. What a version 2 header holds besides the address is passed over.

Does not know: who may write one (addresses.py), sockets.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

HEADER_BYTES_MAX: Final = 4096
VERSION_1: Final = b"PROXY "
VERSION_2: Final = b"\r\n\r\n\x00\r\nQUIT\n"
LINE_BYTES_MAX: Final = 107
PORT_MAX: Final = 65535
NOT_TRUSTED: Final = (
    "a PROXY header from an address that is not in trusted_proxies: add the balancer's network to that setting, or "
    "have it write none"
)
_FIXED_BYTES: Final = 16
# What a version 2 header holds for each family: bytes before anything else, and of each address.
_FAMILIES: Final = {1: (12, 4, IPv4Address), 2: (36, 16, IPv6Address)}
_FAMILIES_1: Final = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}


class BadProxyHeader(ValueError):
    """What came begins like a header and is none."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """`address`: of the client; empty: the balancer speaks for itself or does not know. `size`: bytes of the header."""

    address: str
    size: int


def may_be_header(data: bytes) -> bool:
    """Whether what a connection begins with is a header, or may become one."""
    return VERSION_1.startswith(data[: len(VERSION_1)]) or VERSION_2.startswith(data[: len(VERSION_2)])


def read_header(data: bytes) -> ProxyHeader | None:
    """The header at the beginning; None: it is not there whole yet. Raises BadProxyHeader."""
    if data.startswith(VERSION_1[: len(data)]):
        return _read_line(data)
    if data.startswith(VERSION_2[: len(data)]):
        return _read_binary(data)
    raise BadProxyHeader("this is no PROXY header: have the balancer write one of version 1 or 2")


def _read_line(data: bytes) -> ProxyHeader | None:
    line, end, _ = data[:LINE_BYTES_MAX].partition(b"\r\n")
    if not end:
        if len(data) >= LINE_BYTES_MAX:
            raise BadProxyHeader(
                f"a PROXY line has at most {LINE_BYTES_MAX} bytes: have the balancer write one of version 1 or 2"
            )
        return None
    size = len(line) + len(end)
    parts = line.split(b" ")
    if parts[1] == b"UNKNOWN":
        return ProxyHeader("", size)
    kind = _FAMILIES_1.get(parts[1])
    if kind is None or len(parts) != 6 or not all(map(_is_port, parts[4:])):
        raise BadProxyHeader("this PROXY line cannot be read: have the balancer write one of version 1 or 2")
    try:
        source, _ = (kind(part.decode("ascii")) for part in parts[2:4])
    except ValueError:
        raise BadProxyHeader(
            "an address in this PROXY line is none: have the balancer write those of the connection"
        ) from None
    return ProxyHeader(str(source), size)


def _is_port(text: bytes) -> bool:
    return text.isdigit() and len(text) <= len(str(PORT_MAX)) and int(text) <= PORT_MAX


def _read_binary(data: bytes) -> ProxyHeader | None:
    if len(data) < _FIXED_BYTES:
        return None
    version, command = divmod(data[12], 16)
    size = _FIXED_BYTES + int.from_bytes(data[14:16], "big")
    if version != 2 or command > 1:
        raise BadProxyHeader("this is a PROXY header of another version: have the balancer write 1 or 2")
    if size > HEADER_BYTES_MAX:
        raise BadProxyHeader(
            f"a PROXY header has at most {HEADER_BYTES_MAX} bytes here: have the balancer add less to it"
        )
    if len(data) < size:
        return None
    family = _FAMILIES.get(data[13] >> 4)
    if command == 0 or family is None:
        return ProxyHeader("", size)
    needed, width, kind = family
    if size < _FIXED_BYTES + needed:
        raise BadProxyHeader("this PROXY header is shorter than its addresses: have the balancer write them whole")
    return ProxyHeader(str(kind(data[_FIXED_BYTES : _FIXED_BYTES + width])), size)
