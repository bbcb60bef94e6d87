"""The cluster as one node sees it: the latest membership, and the rings that follow from it.

Guarantees: entering waits for the first membership; `membership` and `ring` are values that stay the last known while
etcd is away; rings hold only nodes that are ready and are built once for a membership; subscribers are called in the
event loop, after the change, in the order in which they subscribed, and see no change twice.

Does not know: how membership comes about (registry/), whom to call (rpc/).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from services.common.registry.contract import KINDS, NOBODY, STATES, Membership, NodeKind, NodeRecord, Registry
from services.common.ring import EMPTY, WEIGHT_MAX, WEIGHT_MIN, Ring
from services.common.scope import Owned, TaskScope
from services.common.telemetry import logs, metrics
from tidings_protocol.errors import Unavailable

log = logs.get_logger(__name__)

Subscriber = Callable[[Membership, Membership], None]


class ClusterView(Protocol):
    """What most of a node needs of its cluster: the latest membership and the rings, to be read at any time."""

    @property
    def membership(self) -> Membership:
        """Everyone that has a lease, ready or not."""
        ...

    @property
    def boots(self) -> frozenset[str]:
        """The boot ids that are alive."""
        ...

    def ring(self, kind: NodeKind) -> Ring:
        """The ring of the nodes of this kind that are ready."""
        ...

    def node(self, name: str) -> NodeRecord | None:
        """The node with this name, if it is alive, whatever its kind and state."""
        ...

    def alive(self, boot_id: str) -> bool:
        """Whether a node with this boot id has a lease."""
        ...

    async def changed(self) -> None:
        """Returns after the next change. A cancellation changes nothing."""
        ...


class Cluster(Owned):
    """Follows the registry. Use it as an async context manager within the registry's."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._scope = TaskScope()
        self._known = asyncio.Event()
        self._membership = NOBODY
        self._rings: dict[NodeKind, Ring] = dict.fromkeys(KINDS, EMPTY)
        self._nodes: dict[str, NodeRecord] = {}
        self._boots: frozenset[str] = frozenset()
        self._subscribers: list[Subscriber] = []
        self._changed = asyncio.Event()

    @property
    def membership(self) -> Membership:
        """Everyone that has a lease, ready or not."""
        return self._membership

    @property
    def boots(self) -> frozenset[str]:
        """The boot ids that are alive."""
        return self._boots

    def ring(self, kind: NodeKind) -> Ring:
        """The ring of the nodes of this kind that are ready."""
        return self._rings[kind]

    def node(self, name: str) -> NodeRecord | None:
        """The node with this name, if it is alive, whatever its kind and state."""
        return self._nodes.get(name)

    def alive(self, boot_id: str) -> bool:
        """Whether a node with this boot id has a lease."""
        return boot_id in self._boots

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Calls `callback(old, new)` after each change from now on, until the function that this returns is called."""
        self._subscribers.append(callback)

        def unsubscribe() -> None:
            if callback in self._subscribers:
                self._subscribers.remove(callback)

        return unsubscribe

    async def changed(self) -> None:
        """Returns after the next change."""
        await self._changed.wait()

    async def wait_for(self, kind: NodeKind, timeout: float) -> None:
        """Returns when a node of this kind is ready; raises Unavailable after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while not self._rings[kind].members:
                    await self.changed()
        except TimeoutError:
            raise Unavailable(f"no {kind} node is ready: start one, or look at why it is not") from None

    async def _running(self) -> AsyncIterator[None]:
        async with self._scope:
            self._scope.spawn(self._follow(self._registry.watch()), name="cluster membership")
            await self._known.wait()
            yield

    async def _follow(self, memberships: AsyncIterator[Membership]) -> None:
        async for membership in memberships:
            self._take(membership)
            self._known.set()

    def _take(self, membership: Membership) -> None:
        old, self._membership = self._membership, membership
        self._nodes = {node.name: node for node in membership.nodes}
        self._boots = frozenset(node.boot_id for node in membership.nodes)
        for kind in KINDS:
            self._lay(kind)
        for kind in KINDS:
            for state in STATES:
                count = sum(node.kind == kind and node.state == state for node in membership.nodes)
                metrics.NODES.labels(kind, state).set(count)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        for callback in tuple(self._subscribers):
            callback(old, membership)

    def _lay(self, kind: NodeKind) -> None:
        old = self._rings[kind]
        ready = {n.name: _weight(n) for n in self._membership.nodes if n.kind == kind and n.state == "ready"}
        new = Ring.build(ready)
        if new == old:
            return
        self._rings[kind] = new
        moved = len(new.moved(old))
        metrics.RING_CHANGES.labels(kind).inc()
        metrics.RING_SLOTS_MOVED.labels(kind).inc(moved)
        log.info(
            "ring changed",
            kind=kind,
            members=len(new.members),
            joined=sorted(new.members.keys() - old.members.keys()),
            left=sorted(old.members.keys() - new.members.keys()),
            slots_moved=moved,
        )


def _weight(node: NodeRecord) -> float:
    """A record may come from anyone: one odd weight must not end the others."""
    return min(max(node.weight, WEIGHT_MIN), WEIGHT_MAX) if node.weight > 0 else 0.0
