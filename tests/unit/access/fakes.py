"""The fakes of the unit tests of access: a transport that notes what is written, and a client on a connection."""

from __future__ import annotations

from services.access.connection.connection import Connection
from services.access.connection.ports import NodePort, TransportName
from services.access.connection.traffic import Traffic
from services.access.session.session import Phase
from tests.support.network.port import FakeNode
from tidings_protocol import client_pb2
from tidings_protocol.wire.codec import PROTO, Codec


class Wire:
    """A transport that keeps its frames as they are, and fails on command."""

    name: TransportName = "tcp"
    address = "192.0.2.7"
    waiting_bytes = 0

    def __init__(self) -> None:
        self.traffic = Traffic("tcp")
        self.frames: list[bytes] = []
        self.fails = self.closed = self.aborted = False

    def admit(self) -> None: ...

    def wrap(self, frame: bytes) -> bytes:
        return frame

    def write(self, data: bytes) -> None:
        if self.fails:
            raise RuntimeError("as asked")
        self.frames.append(data)

    def probe(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self, code: int, reason: str) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


class Client:
    """One end of a connection: what it says is received, and what it was sent is read with its codec."""

    def __init__(self, node: NodePort, codec: Codec = PROTO) -> None:
        self.wire, self.codec = Wire(), codec
        self.connection = Connection(node, self.wire, codec)

    def say(self, id: int = 0, **body: object) -> None:  # noqa: A002 - as the frame has it
        frame = client_pb2.ClientFrame(id=id, **body)  # type: ignore[arg-type]  # one body, by its name
        self.connection.receive(self.codec.encode_client(frame))

    @property
    def answers(self) -> list[client_pb2.ServerFrame]:
        return [self.codec.decode_server(data) for data in self.wire.frames]

    @property
    def goodbye(self) -> client_pb2.Goodbye | None:
        return next((frame.goodbye for frame in self.answers if frame.HasField("goodbye")), None)


def open_client(
    user: str = "ann", *, device: str = "d", session: str = "", codec: Codec = PROTO, node: NodePort | None = None
) -> Client:
    """A client that has been welcomed; its welcome is not among its answers any more."""
    client = Client(node if node is not None else FakeNode(user, session or f"session of {user}"), codec)
    client.say(id=1, hello=client_pb2.Hello(token="t", device=device))
    assert client.connection.session.phase is Phase.OPEN
    client.wire.frames.clear()
    return client
