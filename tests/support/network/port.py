"""An access node's two ports without a network: a stream that keeps what is written, a node that lets everybody in."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvloop

from services.access.connection.abuse_tracker import Device
from services.access.connection.connection import Connection
from services.access.connection.identity import Identity
from services.access.connection.ports import HandshakePort, RequestsPort
from services.access.session.heartbeat import FOREVER, TimingWheel
from services.access.session.limits import LimitPolicy
from services.access.session.session import SessionPolicy
from services.access.transport.listening import StreamLimits
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest
from tidings_protocol.ids import check_user

LIMITS = StreamLimits(frame_bytes_max=4096, outbox_bytes_max=65536, handshake_s=60.0, linger_s=50.0)


class FakeSocket:
    """Takes every option."""

    def setsockopt(self, *_: Any) -> None: ...

    def getsockopt(self, *_: Any) -> int:
        return 0

    def fileno(self) -> int:
        return -1


class FakeStream(asyncio.Transport):
    """Looks like one of TLS, so that nothing is written past it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closing = False
        self.protocol: Any = None  # that took over from the first one

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        found = {"socket": FakeSocket(), "peername": ("192.0.2.1", 1), "sockname": ("192.0.2.2", 2)}
        return found.get(name, True if name in {"ssl_object", "sslcontext"} else default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def write(self, data: Any) -> None:
        if not self.closing:
            self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    abort = close


class OpenDoor:
    """Everybody may come in."""

    def reserve(self, arrival: object) -> bool:
        return True

    def release(self, arrival: object) -> None: ...

    def admission_delay_s(self, address: str) -> float:
        return 0.0

    def hold(self, size: int) -> bool:
        return True

    def give_back(self, size: int) -> None: ...

    def route(self, user: str) -> dict[str, Any]:
        check_user(user)
        return {"user": user}


class FakeNode:
    """Welcomes whoever says hello, and answers every request with a refusal: all rooms of a node in one."""

    policy = SessionPolicy(limits=LimitPolicy(frames_per_s=50, refused_per_window=5), unanswered_max=8, held_max=8)

    def __init__(self, user: str = "ann", session_id: str = "s") -> None:
        self.user = user
        self.session_id = session_id
        self.wheel: TimingWheel[Connection] = TimingWheel(1000.0)
        self.connections = self.abuse = self.closer = self
        self.handshake: HandshakePort = self
        self.requests: RequestsPort = self

    def now(self) -> float:
        return 1000.0

    def begin(self, connection: Connection) -> None: ...

    def opened(self, connection: Connection) -> None: ...

    def flush_later(self, connection: Connection) -> None:
        connection.flush()

    def lost(self, connection: Connection) -> None: ...

    def authenticate(self, connection: Connection, hello: client_pb2.Hello) -> None:
        connection.identify(Identity(self.user, hello.device, self.session_id, kind=hello.kind), FOREVER)

    def store(self, connection: Connection) -> None:
        connection.open(client_pb2.ServerFrame(welcome=client_pb2.Welcome(user=self.user)))

    def take(self, connection: Connection, frame: client_pb2.ClientFrame, body: str) -> None:
        if body != "ack":
            connection.refuse(frame.id, body, BadRequest("no"))

    def take_ping(self, connection: Connection, request_id: int, *, idle: bool) -> None:
        self.take(connection, client_pb2.ClientFrame(id=request_id, ping=client_pb2.Ping(idle=idle)), "ping")

    def unregister(self, connection: Connection) -> None: ...

    def close_session(self, connection: Connection) -> None: ...

    def ban(self, who: Device, kind: str, now: float) -> float:
        return 1.0

    def count_refused(self, user: str, now: float) -> bool:
        return False


NO_SOCKET: Any = None  # it never listens


@contextmanager
def seemingly_running() -> Iterator[None]:
    """picows asks for the running loop, of which only timers and futures are used here: it is never run."""
    loop = uvloop.new_event_loop()
    asyncio._set_running_loop(loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(None)
        loop.close()
