"""The session of a connection, as logic gets it: with what its hello said, while there is one."""

from __future__ import annotations

from services.access.connection.connection import Connection
from services.access.handshake.session_item import open_item
from tests.support.network.port import FakeNode
from tests.unit.access.fakes import Client
from tidings_protocol import client_pb2


class Slow(FakeNode):
    """The test decides when the session is stored."""

    def store(self, connection: Connection) -> None: ...


def test_a_session_that_begins_has_what_its_hello_said_of_what_the_device_holds() -> None:
    client = Client(Slow("ann", "s1"))
    client.say(hello=client_pb2.Hello(token="t", device="phone", cursor=5, epoch="e", group_cursors={"g:1": 2}))
    item = open_item(client.connection, "access-0")
    assert (item.user, item.device, item.session, item.node) == ("ann", "phone", "s1", "access-0")
    assert (item.cursor, item.epoch, dict(item.group_cursors)) == (5, "e", {"g:1": 2})
    assert (item.address, item.again) == ("192.0.2.7", False)


def test_a_session_that_is_stored_again_says_so_and_has_no_hello_any_more() -> None:
    client = Client(FakeNode("ann", "s1"))
    client.say(hello=client_pb2.Hello(token="t", device="phone", cursor=5, epoch="e"))
    item = open_item(client.connection, "access-0", again=True)
    assert (item.user, item.session, item.again) == ("ann", "s1", True)
    assert (item.cursor, item.epoch) == (0, "")
