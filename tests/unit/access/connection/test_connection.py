"""One connection: what comes in, and what follows."""

from __future__ import annotations

from services.access.connection.connection import Connection
from services.access.session.session import Phase
from tests.support.network.port import FakeNode
from tests.unit.access.fakes import Client, open_client
from tidings_protocol import client_pb2


class Silent(FakeNode):
    """Takes requests and answers none."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[str] = []

    def take(self, connection: Connection, frame: client_pb2.ClientFrame, body: str) -> None:
        self.taken.append(body)


class Defective(FakeNode):
    """Fails at each request."""

    def take(self, connection: Connection, frame: client_pb2.ClientFrame, body: str) -> None:
        raise RuntimeError("as asked")


def test_whatever_comes_before_a_hello_ends_it() -> None:
    client = Client(FakeNode())
    client.say(id=1, sync={})
    goodbye = client.goodbye
    assert goodbye is not None
    assert goodbye.code == 4500
    assert client.connection.session.phase is Phase.CLOSING


def test_frames_that_have_to_wait_are_handled_in_their_order_when_there_is_room() -> None:
    node = Silent()
    client = open_client(node=node)
    most = node.policy.unanswered_max
    for number in range(1, most + 3):
        client.say(id=number, signal={"user": "bob", "name": str(number)})
    assert len(node.taken) == most
    client.connection.answered("signal")
    assert len(node.taken) == most + 1
    client.connection.answered("signal")
    assert (len(node.taken), client.connection.session.held) == (most + 2, 0)


def test_a_defect_ends_the_connection_and_not_its_node() -> None:
    client = open_client(node=Defective())
    client.say(id=1, sync={})
    goodbye = client.goodbye
    assert goodbye is not None
    assert goodbye.code == 4005
    assert client.connection.closed_with == 4005


def test_each_request_has_a_name_that_no_other_has() -> None:
    connection = open_client("ann").connection
    assert {connection.next_op() for _ in range(3)} == {f"session of ann.{number}" for number in (1, 2, 3)}


def test_a_peer_that_is_gone_is_told_nothing() -> None:
    client = open_client()
    client.connection.lost()
    client.connection.send(b"late", "reply")
    assert client.wire.frames == []
