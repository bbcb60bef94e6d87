"""Whose a connection is, when proxies stand before the node, and how many new ones an address may make. Pure.

An address is the socket's, unless that is of `trusted_proxies`: then what the proxy says counts, and of a list that
several proxies wrote the rightmost that is not trusted itself. What others claim is passed over.

A balancer's own address, and one of the loopback, are everyone's: they have no limit. Addresses of version 6 are
counted by their /64, which is what one customer has.

Guarantees: an address is empty or one; memory is bounded (`entries_max` addresses; when it is full, newcomers are not
counted, and nobody is refused because of others).

Does not know: sockets, HTTP, the PROXY protocol.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network

BURST_S: Final = 10.0
CUSTOMER_BITS: Final = 64
HOPS_MAX: Final = 32
# Addresses that are remembered in the forms in which they are used: parsing one costs 20 µs of a connection's 400.
ADDRESSES_MAX: Final = 10_000


@lru_cache(ADDRESSES_MAX)
def canonical(text: str) -> str:
    """The address in one form; empty if it is none. One of version 4 in the clothes of version 6 is of version 4."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


@lru_cache(ADDRESSES_MAX)
def customer_of(address: str) -> int | None:
    """The number under which an address is counted; None: it is one of the loopback."""
    parsed = ip_address(address)
    if parsed.is_loopback:
        return None
    if isinstance(parsed, IPv4Address):
        return int(parsed)
    return (int(parsed) >> CUSTOMER_BITS) + (1 << CUSTOMER_BITS)


def networks(written: Iterable[str]) -> tuple[Network, ...]:
    """Networks or single addresses. Raises ValueError that names the wrong one."""
    found: list[Network] = []
    for text in written:
        try:
            found.append(ip_network(text))
        except ValueError as error:
            raise ValueError(f"{text} is no network: write it as 10.0.0.0/8 or fd00::/8 ({error})") from None
    return tuple(found)


class TrustedProxies:
    """Whose word about a client's address counts."""

    def __init__(self, trusted: Sequence[Network] = ()) -> None:
        self._networks = trusted

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: str) -> bool:
        if not self._networks or not address:
            return False
        parsed = ip_address(address)
        return any(parsed in network for network in self._networks)

    def client_of(self, peer: str, forwarded_for: Sequence[str], forwarded: Sequence[str]) -> str:
        """The client's address, by the values of `X-Forwarded-For`, or of `Forwarded` if there are none."""
        if peer not in self:
            return peer
        hops = list_of(forwarded_for) if forwarded_for else forwarded_hops(forwarded)
        client = peer
        for hop in reversed(hops[-HOPS_MAX:]):
            address = canonical(_bare(hop))
            if not address:
                break  # who wrote this is trusted, what it says is no address: so nothing before it counts either
            client = address
            if address not in self:
                break
        return client


def list_of(values: Iterable[str]) -> list[str]:
    """The entries of a header that may come several times, each a list with commas."""
    return [entry.strip() for value in values for entry in value.split(",")]


def forwarded_hops(values: Iterable[str]) -> list[str]:
    """The `for` of each entry of `Forwarded` (RFC 7239); empty where there is none."""
    hops: list[str] = []
    for entry in list_of(values):
        pairs = (part.partition("=") for part in entry.split(";"))
        named = [value.strip().strip('"') for name, _, value in pairs if name.strip().lower() == "for"]
        hops.append(named[0] if len(named) == 1 else "")
    return hops


def _bare(hop: str) -> str:
    """Without a port and brackets."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


class AddressLimit:
    """How many new connections an address may make: `per_s`, with a burst of `BURST_S`. 0: no limit."""

    def __init__(self, trusted: TrustedProxies, per_s: float, *, entries_max: int = 50_000) -> None:
        self._trusted = trusted
        self._per_s = per_s
        self._entries_max = entries_max
        self._full_at: dict[int, float] = {}
        self._swept_at = 0.0

    def __len__(self) -> int:
        return len(self._full_at)

    def delay_s(self, address: str, now: float) -> float:
        """0: come in; else the seconds after which to try again. Only who comes in counts."""
        key = self._key(address)
        if key is None:
            return 0.0
        full_at = max(self._full_at.get(key, 0.0), now)
        wait_s = full_at - now - max(0.0, BURST_S - 1.0 / self._per_s)
        if wait_s > 1e-9:
            return max(wait_s, 1.0)
        if key in self._full_at or self._has_room(now):
            self._full_at[key] = full_at + 1.0 / self._per_s
        return 0.0

    def _key(self, address: str) -> int | None:
        if not self._per_s or not address or address in self._trusted:
            return None
        return customer_of(address)

    def _has_room(self, now: float) -> bool:
        if len(self._full_at) >= self._entries_max and now >= self._swept_at + BURST_S:
            self._swept_at = now
            self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        return len(self._full_at) < self._entries_max
