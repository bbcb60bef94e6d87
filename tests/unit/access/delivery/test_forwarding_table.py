"""Where an owner forwards what its users get."""

from __future__ import annotations

from services.access.delivery.forwarding_table import ForwardingTable
from services.common.registry.contract import NodeIncarnation

A, B = NodeIncarnation("access-0", "boot-a"), NodeIncarnation("access-1", "boot-b")


def test_an_owner_forwards_to_every_node_of_a_user() -> None:
    table = ForwardingTable()
    table.add(A, ["ann"])
    table.add(A, ["ann"])
    table.add(B, ["ann", "bob"])
    assert table.nodes_of("ann") == (A, B)
    assert table.has_any(["cid", "bob"])
    assert not table.has_any(["cid"])
    table.remove(A, ["ann", "cid"])
    assert table.nodes_of("ann") == (B,)
    table.keep(lambda boot: boot != "boot-b")
    assert table.nodes_of("ann") == ()
    assert len(table) == 0
