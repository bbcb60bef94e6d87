"""The registry as the services see it: one port, an adapter for etcd, a twin in memory.

Guarantees (the contract suite in tests/contract/registry holds both to them):
- a registered node is in everybody's Membership until it deregisters or its lease runs out; a node that registers
  under a name takes the name over, and the one that had it learns that by `lost`;
- `claim` succeeds for one holder at a time and holds as long as its lease; `put_once` is decided once for good;
- `watch` begins with the present membership and then yields each change, the latest only: a slow watcher skips, and
  never sees an old one after a newer one;
- while the registry is away the membership stays the last known one, leases and claims count as held, and all that was
  asked for is made good when it is back, under the same boot id;
- `lost` is set when this node's lease ran out although the registry was there (the process was blocked, or cut off), or
  when another process has taken its name or one of its claims: others have taken over, so the node must `register`
  again with a new boot id. That clears `lost` and forgets the claims.

Does not know: rings, what the claims mean.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, fields
from typing import Literal, Protocol, get_args

NodeKind = Literal["access", "logic", "storage"]
NodeState = Literal["starting", "ready", "draining"]
KINDS: tuple[NodeKind, ...] = get_args(NodeKind)
STATES: tuple[NodeState, ...] = get_args(NodeState)


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """What a node tells the others of itself; `boot_id` names one life of its process (or one lease of it)."""

    name: str
    kind: NodeKind
    boot_id: str
    rpc: str
    weight: float = 1.0
    state: NodeState = "starting"
    ops: str = ""
    ws: str = ""
    tcp: str = ""
    mailbox: int | None = None
    since_ms: int = 0
    deaf: bool = False  # an access node that does not hear Kafka: what is for it goes by call too
    columns: bool = False  # an access node that reads messages in columns; one of 0.1.0 does not

    def to_json(self) -> str:
        """The record as it stands in etcd."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @staticmethod
    def from_json(text: str | bytes) -> NodeRecord:
        """Raises ValueError if it is none. Fields of a newer version are ignored, missing ones have their default."""
        loaded = json.loads(text)
        try:
            record = NodeRecord(**{name: loaded[name] for name in _FIELDS if name in loaded})
        except TypeError as error:
            raise ValueError(f"a node record is a JSON object with name, kind, boot_id, rpc: {text!r}") from error
        if record.kind not in KINDS or record.state not in STATES or not isinstance(record.weight, int | float):
            raise ValueError(f"a node record has an unknown kind or state, or a wrong weight: {text!r}")
        return record


@dataclass(frozen=True, slots=True, order=True)
class NodeIncarnation:
    """One boot of one node: after a restart, or a new lease, the same name stands for another one."""

    node: str
    boot_id: str


_FIELDS = tuple(field.name for field in fields(NodeRecord))


@dataclass(frozen=True, slots=True)
class Membership:
    """Who is there: nodes by kind and name. Equal if the nodes are, whatever the revision."""

    revision: int
    nodes: tuple[NodeRecord, ...]

    @staticmethod
    def of(revision: int, nodes: list[NodeRecord]) -> Membership:
        return Membership(revision, tuple(sorted(nodes, key=lambda node: (node.kind, node.name))))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Membership) and self.nodes == other.nodes

    def __hash__(self) -> int:
        return hash(self.nodes)


NOBODY = Membership(0, ())


class Registry(AbstractAsyncContextManager["Registry", None], Protocol):
    """An async context manager: entering it begins to watch, leaving it deregisters.

    Methods raise Unavailable when the registry does not answer in time; what was asked may then have been done or not.
    Keys are relative to the cluster ("mailboxes/3") and have no slash at their ends.
    """

    @property
    def lost(self) -> asyncio.Event:
        """Set when others have taken over: register again with a new boot id."""
        ...

    @property
    def lost_because(self) -> str:
        """A sentence for the log: why `lost` was set; "" while it is not."""
        ...

    @property
    def connected(self) -> bool:
        """Whether the registry answers at present."""
        ...

    async def register(self, record: NodeRecord) -> None:
        """Takes the name, with a new lease, whoever had it; what was claimed before is given up.

        Waits as long as the registry is away, so bound it by a timeout. Raises ValueError if the boot id has a
        tombstone. After a cancellation the record may be there until its lease runs out; register again or leave.
        """
        ...

    async def update(self, record: NodeRecord) -> None:
        """Says something new of the registered node: same name, kind and boot id.

        After Unavailable, or a cancellation, it is written as soon as the registry is back. Raises ValueError for
        another node.
        """
        ...

    async def deregister(self) -> None:
        """Gives the name and the claims up; never raises: an unreachable registry forgets them with the lease."""
        ...

    async def claim(self, key: str, value: str) -> bool:
        """Whether this node holds the key now, with this value, for as long as its lease lives.

        Raises Unavailable, also if this node is not registered. After it, or a cancellation, the key may be held:
        claiming it once more with the same value tells.
        """
        ...

    async def put_once(self, key: str, value: str) -> str:
        """Writes the value if there is none yet; gives the one that holds. Harmless to repeat. Raises Unavailable."""
        ...

    def watch(self) -> AsyncIterator[Membership]:
        """The membership as soon as it is known, then the latest after each change; for ever, and it may be dropped."""
        ...
