"""One connection of the conformance device in the hand of a test: it decides nothing, the test does.

    async with connect(stack.access[0], "json") as wire:
        welcome = await wire.hello(stack.token("ann"))
        sent = (await wire.request(send=Send(client_id="1", user="bob", content=Content(text="hi")))).sent
        message = (await wire.push("deliver")).deliver.entries[0].message

It is deliberately dumb: it repairs nothing, acknowledges nothing and sends pings only when told to, so that a test
sees what the server does. `send_raw` sends what no client should.

Guarantees: everything that arrives is kept, in `received`; replies are matched by id, the rest waits for `push`.
Does not know: what a frame means.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.device.pipes import Address, Pipe, Way, open_pipe
from tidings_protocol.client_pb2 import ClientFrame, Goodbye, Hello, ServerFrame, Welcome

WAIT_S = 10.0


class Closed(Exception):
    """The server ended the connection; `goodbye` is what it said before (None: nothing), `code` WebSocket's close "
    "code."""

    def __init__(self, goodbye: Goodbye | None, code: int) -> None:
        super().__init__(f"closed with {code}: {goodbye.message if goodbye else 'no goodbye'}")
        self.goodbye = goodbye
        self.code = code


class Refused(Exception):
    """The reply was an error."""

    def __init__(self, code: str, message: str, retry_after_ms: int, next_part: int = 0) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retry_after_ms = retry_after_ms
        self.next_part = next_part


@dataclass(slots=True)
class Wire:
    """One connection as a test uses it."""

    pipe: Pipe
    way: Way
    received: list[ServerFrame] = field(default_factory=list)
    goodbye: Goodbye | None = None
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _replies: dict[int, ServerFrame] = field(default_factory=dict)
    _pushes: deque[ServerFrame] = field(default_factory=deque)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)
    _ended: bool = False

    async def hello(self, token: str, device: str = "phone", **fields: Any) -> Welcome:
        """Opens the session; Closed if the server says goodbye instead."""
        reply = await self.request(hello=Hello(token=token, device=device, **fields))
        assert reply.WhichOneof("body") == "welcome", reply
        return reply.welcome

    async def request(self, timeout_s: float = WAIT_S, **body: Any) -> ServerFrame:
        """One request by the name of its body; its reply. Refused if that is an error."""
        return await self.reply(await self.post(**body), timeout_s)

    async def post(self, **body: Any) -> int:
        """Sends one frame and waits for nothing; its id."""
        frame = ClientFrame(id=next(self._ids), **body)
        try:
            await self.pipe.send(frame)
        except ConnectionError:
            raise await self.end() from None
        return frame.id

    async def post_bytes(self, data: bytes) -> None:
        """Sends what is (or should be) one protobuf frame, framed as this way has it."""
        await self.pipe.send_raw(len(data).to_bytes(4, "big") + data if self.way == "tcp" else data)

    async def reply(self, frame_id: int, timeout_s: float = WAIT_S) -> ServerFrame:
        """The reply to the frame that was sent with this id."""
        await self._wait_for(lambda: frame_id in self._replies, f"a reply to {frame_id}", timeout_s)
        reply = self._replies.pop(frame_id)
        if reply.WhichOneof("body") == "error":
            error = reply.error
            raise Refused(error.code, error.message, error.retry_after_ms, error.next_part)
        return reply

    async def push(self, body: str, timeout_s: float = WAIT_S) -> ServerFrame:
        """The oldest push of this kind that nobody took yet; those of other kinds stay."""

        def there() -> bool:
            return any(frame.WhichOneof("body") == body for frame in self._pushes)

        await self._wait_for(there, f"a push of {body}", timeout_s)
        found = next(frame for frame in self._pushes if frame.WhichOneof("body") == body)
        self._pushes.remove(found)
        return found

    def pushed(self, body: str) -> list[ServerFrame]:
        """The pushes of this kind that nobody took."""
        return [frame for frame in self._pushes if frame.WhichOneof("body") == body]

    async def end(self, timeout_s: float = WAIT_S) -> Closed:
        """Waits until the server ends the connection; what it said and how it closed."""
        async with asyncio.timeout(timeout_s), self._news:
            await self._news.wait_for(lambda: self._ended)
        return Closed(self.goodbye, self.pipe.code)

    async def listen(self) -> None:
        """Takes in whatever comes, until the end; `connect` runs it."""
        while (frame := await self.pipe.receive()) is not None:
            async with self._news:
                self.received.append(frame)
                if frame.WhichOneof("body") == "goodbye":
                    self.goodbye = frame.goodbye
                elif frame.id:
                    self._replies[frame.id] = frame
                else:
                    self._pushes.append(frame)
                self._news.notify_all()
        async with self._news:
            self._ended = True
            self._news.notify_all()

    async def _wait_for(self, there: Any, what: str, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s), self._news:
                await self._news.wait_for(lambda: there() or self._ended)
        except TimeoutError:
            kinds = [frame.WhichOneof("body") for frame in self.received[-5:]]
            raise AssertionError(f"{what} did not come within {timeout_s:g} s; the last frames were {kinds}") from None
        if not there():
            raise Closed(self.goodbye, self.pipe.code)


@asynccontextmanager
async def connect(address: Address, way: Way) -> AsyncIterator[Wire]:
    """A connection that has not said hello yet."""
    async with asyncio.timeout(WAIT_S):
        pipe = await open_pipe(address, way)
    wire = Wire(pipe, way)
    async with asyncio.TaskGroup() as group:
        listener = group.create_task(wire.listen())
        try:
            yield wire
        finally:
            listener.cancel()
            await pipe.close()
