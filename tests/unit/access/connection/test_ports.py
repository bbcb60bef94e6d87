"""What a connection asks of its surroundings stays small."""

from __future__ import annotations

from services.access.connection.ports import ConnectionsPort, NodePort, TransportName
from tests.fuzz.port import FakeNode

MEMBERS_MAX = 8


def members(port: type) -> set[str]:
    return {name for name in vars(port) if not name.startswith("_")}


def test_a_node_is_at_most_eight_rooms_to_its_connections() -> None:
    assert len(members(NodePort)) <= MEMBERS_MAX
    assert len(members(ConnectionsPort)) <= MEMBERS_MAX


def test_the_node_of_the_tests_has_all_of_them() -> None:
    node: NodePort = FakeNode()
    assert all(hasattr(node, name) for name in members(NodePort))
    assert TransportName.__args__ == ("ws", "tcp")  # type: ignore[attr-defined]
