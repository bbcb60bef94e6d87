"""Which port of the range [base, base + 1000) belongs to whom. Pure: the same base gives the same ports."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

HOST = "127.0.0.1"
RANGE = 1000
BASE_DEFAULT = 8000
BASE_MIN, BASE_MAX = 1024, 65536 - RANGE
NODES_MAX = 100  # of one kind: the width of a port block
MEMBERS_MAX = 5  # of one backend


class NodeKind(StrEnum):
    ACCESS = "access"
    LOGIC = "logic"
    STORAGE = "storage"


@dataclass(frozen=True, slots=True)
class NodePorts:
    rpc: int
    ops: int
    ws: int | None = None
    tcp: int | None = None

    def all(self) -> tuple[int, ...]:
        return tuple(port for port in (self.ws, self.tcp, self.ops, self.rpc) if port is not None)


@dataclass(frozen=True, slots=True)
class Ports:
    """The blocks of 100: access ws, tcp, ops; logic rpc; storage rpc; access rpc; logic ops; storage ops; backends."""

    base: int

    def node(self, kind: NodeKind, index: int) -> NodePorts:
        if not 0 <= index < NODES_MAX:
            raise ValueError(f"there are ports for {NODES_MAX} {kind} nodes, not for number {index}")
        at = self.base + index
        match kind:
            case NodeKind.ACCESS:
                return NodePorts(ws=at, tcp=at + 100, ops=at + 200, rpc=at + 500)
            case NodeKind.LOGIC:
                return NodePorts(rpc=at + 300, ops=at + 600)
            case NodeKind.STORAGE:
                return NodePorts(rpc=at + 400, ops=at + 700)

    @property
    def etcd(self) -> int:
        return self.base + 900

    @property
    def etcd_peer(self) -> int:
        return self.base + 901

    @property
    def kafka(self) -> int:
        return self.kafka_of(0)

    @property
    def kafka_controller(self) -> int:
        return self.kafka_controller_of(0)

    @property
    def mongodb(self) -> int:
        return self.mongodb_of(0)

    def kafka_of(self, member: int) -> int:
        return self.base + 910 + 2 * _member(member)

    def kafka_controller_of(self, member: int) -> int:
        return self.base + 911 + 2 * _member(member)

    def mongodb_of(self, member: int) -> int:
        return self.base + 920 + _member(member)


def _member(number: int) -> int:
    if not 0 <= number < MEMBERS_MAX:
        raise ValueError(f"there are ports for {MEMBERS_MAX} members of a backend, not for number {number}")
    return number


def address(port: int) -> str:
    return f"{HOST}:{port}"
