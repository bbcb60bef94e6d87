"""What a connection needs: of its transport, and of its node.

Does not know: who they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from services.access.connection.abuse_tracker import Device
from services.access.connection.traffic import Traffic
from services.access.session.heartbeat import TimingWheel
from services.access.session.session import SessionPolicy
from tidings_protocol import client_pb2

if TYPE_CHECKING:
    from services.access.connection.connection import Connection

TransportName = Literal["ws", "tcp"]


class Transport(Protocol):
    """What a connection needs of its transport."""

    @property
    def name(self) -> TransportName: ...

    @property
    def traffic(self) -> Traffic: ...

    @property
    def address(self) -> str:
        """The client's IP address; empty: not known."""
        ...

    def admit(self) -> None:
        """Notes that the session is stored: from now on frames may be as large as the limits say."""
        ...

    @property
    def waiting_bytes(self) -> int:
        """Written, and not yet taken by the peer's side. Over TLS without what the stream below TLS holds, which
        uvloop does not tell: at most one write, and 64 KiB."""
        ...

    def wrap(self, frame: bytes) -> bytes:
        """An encoded frame as it goes over this kind of transport: the same for all connections with this codec."""
        ...

    def write(self, data: bytes) -> None:
        """Writes frames that are wrapped for this transport."""
        ...

    def probe(self) -> bool:
        """Asks the peer for a sign of life; False: this transport has nothing for it."""
        ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self, code: int, reason: str) -> None:
        """Ends it after what was written; what still comes in is dropped."""
        ...

    def abort(self) -> None:
        """Ends it now."""
        ...


class ConnectionsPort(Protocol):
    """The set of a node's connections."""

    def begin(self, connection: Connection) -> None:
        """The connection is there, without a session."""
        ...

    def opened(self, connection: Connection) -> None:
        """The connection has been welcomed."""
        ...

    def flush_later(self, connection: Connection) -> None:
        """Call `flush` when this turn of the event loop ends."""
        ...

    def lost(self, connection: Connection) -> None:
        """The transport of the connection is gone."""
        ...


class HandshakePort(Protocol):
    """Who leads a connection from hello to welcome."""

    def authenticate(self, connection: Connection, hello: client_pb2.Hello) -> None:
        """`identify` follows, or the end."""
        ...

    def store(self, connection: Connection) -> None:
        """`open` follows, or the end."""
        ...


class RequestsPort(Protocol):
    """What clients ask once they are welcomed."""

    def take(self, connection: Connection, frame: client_pb2.ClientFrame, body: str) -> None:
        """A request; its answer comes later, or at once."""
        ...

    def take_ping(self, connection: Connection, request_id: int, *, idle: bool) -> None:
        """A ping, which is a request; `idle`: the user is away."""
        ...


class AbusePort(Protocol):
    """What a node remembers of users and devices."""

    def ban(self, who: Device, kind: str, now: float) -> float:
        """Bans the device; for how many seconds. `kind`: what it did."""
        ...

    def count_refused(self, user: str, now: float) -> bool:
        """One more bad or forbidden request of the user; True: that is too many."""
        ...


class CloserPort(Protocol):
    """What follows when a session ends."""

    def unregister(self, connection: Connection) -> None:
        """The connection is out of this node's indexes."""
        ...

    def close_session(self, connection: Connection) -> None:
        """Logic will know that its session is over."""
        ...


class NodePort(Protocol):
    """The rooms of its node that a connection works with."""

    @property
    def policy(self) -> SessionPolicy: ...

    def now(self) -> float:
        """Seconds on the node's clock."""
        ...

    @property
    def wheel(self) -> TimingWheel[Connection]:
        """The wheel that calls `tick`."""
        ...

    @property
    def connections(self) -> ConnectionsPort: ...

    @property
    def handshake(self) -> HandshakePort: ...

    @property
    def requests(self) -> RequestsPort: ...

    @property
    def abuse(self) -> AbusePort: ...

    @property
    def closer(self) -> CloserPort: ...
