"""A client's connection without a socket: one end is a device's pipe, the other a transport as asyncio's servers have
them.

Guarantees: bytes arrive in order, each write after its delay; what was under way when an end vanished never arrives.
A node that dies takes its lines with it: some clients see a reset at once, others nothing at all (their own time-outs
find it).
Does not know: what the server's protocol does with the bytes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from services.access.transport.arrival import feed
from tidings_protocol.client_pb2 import ClientFrame, ServerFrame

DELAY_S = (0.001, 0.02)
APART_S = 1e-6


class Line(asyncio.Transport):
    """The server's end; `pipe` is the device's."""

    def __init__(self, protocol: asyncio.BaseProtocol, rng: random.Random, gone: Callable[[Line], None]) -> None:
        super().__init__()
        self.pipe = DevicePipe(self)
        self._protocol: asyncio.BaseProtocol | None = protocol
        self._rng = rng
        self._gone = gone
        self._to_device: asyncio.Queue[ServerFrame | None] = asyncio.Queue()
        self._down = b""
        self._down_at = self._up_at = 0.0
        self._cut = self._closing = self._finished = False
        self._paused = False
        self._unread: list[bytes] = []
        protocol.connection_made(self)

    # ---- what the server's protocol calls

    def write(self, data: Any) -> None:
        if not self._closing and not self._finished:
            self._down_at = self._later(self._down_at, lambda: self._show(bytes(data)))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._finished:
            self._finished = True
            self._down_at = self._later(self._down_at, lambda: self._to_device.put_nowait(None))

    def close(self) -> None:
        self.write_eof()
        self._end()

    def abort(self) -> None:
        self.write_eof()
        self._end()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        asyncio.get_running_loop().call_soon(self._read_on)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Devices read whatever comes."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default

    # ---- what the device's end calls

    def carry_up(self, data: bytes) -> None:
        self._up_at = self._later(self._up_at, lambda: self._arrive(data))

    def hang_up(self) -> None:
        self._up_at = self._later(self._up_at, self._end)

    async def next_frame(self) -> ServerFrame | None:
        return await self._to_device.get()

    # ---- what the world calls

    def die(self, *, silently: bool) -> None:
        """The node is gone: nothing that is under way arrives."""
        self._cut = True
        self._protocol = None
        if not silently:
            asyncio.get_running_loop().call_later(self._rng.uniform(*DELAY_S), self._to_device.put_nowait, None)

    # ---- inside

    def _later(self, not_before: float, action: Callable[[], None]) -> float:
        loop = asyncio.get_running_loop()
        # Timers of one time fire in no particular order.
        at = max(not_before + APART_S, loop.time() + self._rng.uniform(*DELAY_S))

        def act() -> None:
            if not self._cut:
                action()

        loop.call_at(at, act)
        return at

    def _arrive(self, data: bytes) -> None:
        self._unread.append(data)
        self._read_on()

    def _read_on(self) -> None:
        while self._unread and not self._paused and self._protocol is not None:
            feed(self._protocol, self._unread.pop(0))

    def _show(self, data: bytes) -> None:
        self._down += data
        while len(self._down) >= 4 and len(self._down) >= (size := 4 + int.from_bytes(self._down[:4], "big")):
            self._to_device.put_nowait(ServerFrame.FromString(self._down[4:size]))
            self._down = self._down[size:]

    def _end(self) -> None:
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._lost)

    def _lost(self) -> None:
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            self._gone(self)
            protocol.connection_lost(None)


class DevicePipe:
    """What the device holds in its hand."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def send(self, frame: ClientFrame) -> None:
        data = frame.SerializeToString()
        self._line.carry_up(len(data).to_bytes(4, "big") + data)

    async def receive(self) -> ServerFrame | None:
        return await self._line.next_frame()

    async def close(self) -> None:
        self._line.hang_up()
