"""A client's connection without a socket: one end is a device's pipe, the other the transport of an access node's
connection.

Guarantees: frames arrive in order, each after its delay; what was under way when an end vanished never arrives. A
node that dies takes its lines with it: some clients see a reset at once, others nothing at all (their own time-outs
find it).
Does not know: frames' contents, sessions.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from protos.tidings.v1.client_pb2 import ClientFrame, ServerFrame
from services.access.connection import Connection, NodePort
from services.access.traffic import Traffic
from services.common.wire.codec import PROTO
from services.common.wire.framing import framed

DELAY_S = (0.001, 0.02)


class Line:
    """The transport of a connection; `pipe` is the device's end of it."""

    def __init__(self, node: NodePort, traffic: Traffic, rng: random.Random, gone: Callable[[Line], None]) -> None:
        self.traffic = traffic
        self.pipe = DevicePipe(self)
        self._rng = rng
        self._gone = gone
        self._to_device: asyncio.Queue[ServerFrame | None] = asyncio.Queue()
        self._down_at = self._up_at = 0.0
        self._cut = False
        self._reading = True
        self._unread: list[bytes] = []
        self._connection: Connection | None = Connection(node, self, PROTO)

    # ---- what the connection calls

    def wrap(self, frame: bytes) -> bytes:
        return framed(frame)

    def write(self, data: bytes) -> None:
        self._down_at = self._later(self._down_at, lambda: self._show(data))

    def probe(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        unread, self._unread = self._unread, []
        for data in unread:
            self._arrive(data)

    def close(self, code: int, reason: str) -> None:
        self.abort()

    def abort(self) -> None:
        self._down_at = self._later(self._down_at, lambda: self._to_device.put_nowait(None))
        asyncio.get_running_loop().call_soon(self._lost)

    # ---- what the device's end calls

    def carry_up(self, data: bytes) -> None:
        self._up_at = self._later(self._up_at, lambda: self._arrive(data))

    def hang_up(self) -> None:
        self._up_at = self._later(self._up_at, self._lost)

    async def next_frame(self) -> ServerFrame | None:
        return await self._to_device.get()

    # ---- what the world calls

    def die(self, *, silently: bool) -> None:
        """The node is gone: nothing that is under way arrives."""
        self._cut = True
        self._connection = None
        if not silently:
            asyncio.get_running_loop().call_later(self._rng.uniform(*DELAY_S), self._to_device.put_nowait, None)

    # ---- inside

    def _later(self, not_before: float, action: Callable[[], None]) -> float:
        loop = asyncio.get_running_loop()
        at = max(not_before, loop.time() + self._rng.uniform(*DELAY_S))

        def act() -> None:
            if not self._cut:
                action()

        loop.call_at(at, act)
        return at

    def _arrive(self, data: bytes) -> None:
        if self._connection is None:
            return
        if not self._reading or self._unread:
            self._unread.append(data)
        else:
            self._connection.receive(data)

    def _show(self, data: bytes) -> None:
        while data:
            size = 4 + int.from_bytes(data[:4], "big")
            self._to_device.put_nowait(ServerFrame.FromString(data[4:size]))
            data = data[size:]

    def _lost(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._gone(self)
            connection.lost()


class DevicePipe:
    """What the device holds in its hand."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def send(self, frame: ClientFrame) -> None:
        self._line.carry_up(frame.SerializeToString())

    async def receive(self) -> ServerFrame | None:
        return await self._line.next_frame()

    async def close(self) -> None:
        self._line.hang_up()
