"""Addresses as settings write them: host:port, with brackets around an IPv6 host.

Guarantees: pure, but for the system's rule of what a host in digits means. Does not know: who listens where.
"""

from __future__ import annotations

import socket
from ipaddress import IPv6Address, ip_address

PORT_MAX = 65535
PORT_DIGITS_MAX = 5


def split_address(address: str) -> tuple[str, int]:
    """("127.0.0.1", 8300) of "127.0.0.1:8300"; IPv6 in brackets; ValueError says what is wrong."""
    host, colon, port = address.rpartition(":")
    digits = port.isascii() and port.isdigit() and len(port) <= PORT_DIGITS_MAX
    if not colon or not host or not digits or int(port) > PORT_MAX:
        raise ValueError("should be host:port, for example 127.0.0.1:8300")
    if host.startswith("[") and host.endswith("]"):
        try:
            IPv6Address(host[1:-1])
        except ValueError:
            raise ValueError("should have an IPv6 address in the brackets, for example [::1]:8300") from None
        return host[1:-1], int(port)
    if ":" in host:
        raise ValueError("should have an IPv6 address in brackets, for example [::1]:8300")
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """The inverse of `split_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def means_every(host: str) -> bool:
    """Whether who listens there listens on every address of the machine, so that nobody can be told to call it."""
    try:
        address = ip_address(host)
    except ValueError:
        try:
            return not any(socket.inet_aton(host))  # "0", which the system takes as well
        except OSError:
            return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_unspecified
