"""What a connection needs: of its transport, and of its node.

Does not know: who they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from services.access.connection.session import SessionPolicy
from services.access.connection.traffic import Traffic
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
        """Its session is stored: from now on its frames may be as large as the limits say."""
        ...

    @property
    def waiting_bytes(self) -> int:
        """Written, and not yet taken by the peer's side."""
        ...

    def wrap(self, frame: bytes) -> bytes:
        """An encoded frame as it goes over this kind of transport: the same for all connections with this codec."""
        ...

    def write(self, data: bytes) -> None:
        """Wrapped frames."""
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


class NodePort(Protocol):
    """What a connection asks of its node."""

    @property
    def policy(self) -> SessionPolicy: ...

    def now(self) -> float: ...

    def begin(self, connection: Connection) -> None:
        """It is there, without a session."""
        ...

    def wake(self, connection: Connection, due: float) -> None:
        """Call `tick` at this time."""
        ...

    def flush_later(self, connection: Connection) -> None:
        """Call `flush` when this turn of the event loop ends."""
        ...

    def check_hello(self, connection: Connection, hello: client_pb2.Hello) -> None: ...

    def store_session(self, connection: Connection) -> None: ...

    def take(self, connection: Connection, frame: client_pb2.ClientFrame, body: str) -> None:
        """A request; its answer comes later, or at once."""
        ...

    def opened(self, connection: Connection) -> None:
        """It has been welcomed."""
        ...

    def unregister(self, connection: Connection) -> None: ...

    def close_session(self, connection: Connection) -> None: ...

    def ban(self, connection: Connection, kind: str) -> int:
        """For how many milliseconds; `kind`: what it did."""
        ...

    def count_refused(self, connection: Connection) -> bool:
        """One more bad or forbidden request of its user; True: that is too many."""
        ...

    def count_goodbye(self, connection: Connection, code: int) -> None: ...

    def lost(self, connection: Connection) -> None:
        """Its transport is gone."""
        ...
