"""Where the proxies of a stack with breakable links listen: a function of its first port. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from tools.cli.stack.ports import NodeKind, Ports, address

BASE = "TIDINGS_X_CHAOS_BASE"

# The block of 100 ports that a stack leaves free.
_FIRST = {NodeKind.ACCESS: 800, NodeKind.LOGIC: 820, NodeKind.STORAGE: 840}
_BACKENDS = {"etcd": 860, "kafka": 861, "mongodb": 862}
NODES_MAX = 20


def proxy_of(base: int, name: str) -> str:
    """The address of the proxy before a node or a backend."""
    if name in _BACKENDS:
        return address(base + _BACKENDS[name])
    kind, _, index = name.partition("-")
    return address(base + _FIRST[NodeKind(kind)] + int(index))


def targets(base: int, numbers: Mapping[NodeKind, int]) -> dict[str, str]:
    """Every process that has a proxy, with its own address."""
    ports = Ports(base)
    nodes = {
        f"{kind}-{index}": address(ports.node(kind, index).rpc)
        for kind, number in numbers.items()
        for index in range(number)
    }
    backends = {"etcd": ports.etcd, "kafka": ports.kafka, "mongodb": ports.mongodb}
    return {**nodes, **{name: address(port) for name, port in backends.items()}}


def settings_of(environment: Mapping[str, str]) -> dict[str, str]:
    """What a node of such a stack is told instead: the proxies in place of everyone, and its own to be called by."""
    base = int(environment[BASE])
    return {
        "TIDINGS_RPC_ADVERTISE": proxy_of(base, environment["TIDINGS_NODE"]),
        "TIDINGS_ETCD_ENDPOINTS": proxy_of(base, "etcd"),
        "TIDINGS_KAFKA_BOOTSTRAP": proxy_of(base, "kafka"),
        "TIDINGS_MONGODB_URI": f"mongodb://{proxy_of(base, 'mongodb')}/?directConnection=true",
    }
