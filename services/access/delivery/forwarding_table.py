"""The owner's forwarding table: on which other nodes the users of its slots are connected.

Theory of operation. A user whose slot this node owns may be connected to another node. That node tells this one of
the visit (placement/visit_calls.py), and from then on the pushes for the user are forwarded to it. The table
names boots, not nodes: to a node that started again nothing is forwarded that its earlier boot asked for.

Guarantees: each boot stands once for each user. The table is bounded by the users that are connected to the
other nodes; what a dead boot left behind goes with `keep`.

Does not know: gRPC, Kafka, rings, who is connected here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from services.common.registry.contract import NodeIncarnation


class ForwardingTable:
    """The boots of other nodes that asked for the pushes of each user."""

    __slots__ = ("_nodes",)

    def __init__(self) -> None:
        self._nodes: dict[str, tuple[NodeIncarnation, ...]] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def add(self, node: NodeIncarnation, users: Iterable[str]) -> None:
        """Forwards what these users get to the node, too."""
        for user in users:
            known = self._nodes.get(user, ())
            if node not in known:
                self._nodes[user] = (*known, node)

    def remove(self, node: NodeIncarnation, users: Iterable[str]) -> None:
        """Stops forwarding to the node what these users get."""
        for user in users:
            self._drop(user, lambda known: known == node)

    def nodes_of(self, user: str) -> tuple[NodeIncarnation, ...]:
        """Where what this user gets is forwarded, in the order in which the nodes asked for it."""
        return self._nodes.get(user, ())

    def has_any(self, users: Iterable[str]) -> bool:
        """Whether what one of these users gets is forwarded."""
        return not self._nodes.keys().isdisjoint(users)

    def keep(self, alive: Callable[[str], bool]) -> None:
        """Keeps only the nodes whose boot id is alive."""
        for user in list(self._nodes):
            self._drop(user, lambda known: not alive(known.boot_id))

    def _drop(self, user: str, gone: Callable[[NodeIncarnation], bool]) -> None:
        known = self._nodes.get(user, ())
        left = tuple(node for node in known if not gone(node))
        if left:
            self._nodes[user] = left
        elif known:
            del self._nodes[user]
