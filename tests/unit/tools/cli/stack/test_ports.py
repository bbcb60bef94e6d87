"""Ports: all in the range, none twice."""

from __future__ import annotations

import pytest

from tools.cli.stack.policy import ACCESS_MAX
from tools.cli.stack.ports import NODES_MAX, RANGE, NodeKind, Ports


def test_no_port_is_given_twice_and_all_lie_in_the_range() -> None:
    ports = Ports(8000)
    numbers = {NodeKind.ACCESS: ACCESS_MAX, NodeKind.LOGIC: NODES_MAX, NodeKind.STORAGE: NODES_MAX}
    given = [port for kind, number in numbers.items() for i in range(number) for port in ports.node(kind, i).all()]
    given += [ports.etcd, ports.etcd_peer, ports.kafka, ports.kafka_controller, ports.mongodb]
    assert len(set(given)) == len(given)
    assert all(8000 <= port < 8000 + RANGE for port in given)


def test_the_addresses_that_the_operators_page_shows_are_the_ones_given() -> None:
    access = Ports(8000).node(NodeKind.ACCESS, 0)
    assert (access.ws, access.tcp, access.ops) == (8000, 8100, 8200)
    assert Ports(8000).node(NodeKind.LOGIC, 0).rpc == 8300
    assert Ports(8000).node(NodeKind.STORAGE, 0).rpc == 8400


def test_there_is_no_port_beyond_a_block() -> None:
    with pytest.raises(ValueError, match="not for number 100"):
        Ports(8000).node(NodeKind.LOGIC, 100)
