"""A message that is written while others read it: sent at once, grown part by part, and finished.

    async with client.stream("bob") as stream:
        async for words in model.answer(question):
            await stream.write(words)

Guarantees: it is a message from the beginning (durable, with its place), and whole when the `async with` has ended
without an error: whatever was lost of its parts, over any number of connections, the end brings. Left by an error, it
is finished with what was written, as well as that goes without waiting. With a `client_id` of the application's own it
is one message however often it is begun: begun again, it is given its text at the end alone, and finished once.

Does not know: how parts are gathered and sent again (core/contents/writings.py). A stream that is not written to for a
minute (the server's `stream_idle_s`) is finished by the server; what is written then raises what it says of that.
"""

from __future__ import annotations

from hashlib import blake2b
from types import TracebackType
from typing import Self

from tidings.core.signals import Tick
from tidings.errors import PartMissing, TooLarge
from tidings.model import Sent
from tidings.shell.opened import Opened
from tidings_protocol import client_pb2 as pb

FINISHES_MAX = 3


class Stream:
    """Made by `Client.stream`. `sent` is the message's place, `text` what was written so far."""

    def __init__(self, opened: Opened, message: pb.Send, *, may_be_there: bool) -> None:
        """`may_be_there`: it may have been begun before, by another process."""
        self._opened = opened
        self._message = message
        self._may_be_there = may_be_there
        self._begun_before = False
        self._number = 0
        self._finish_id = f"{blake2b(message.client_id.encode(), digest_size=16).hexdigest()}.end"
        self._finished: Sent | None = None
        self._sent: Sent | None = None
        self.text = message.content.text
        self._size = len(self.text.encode())

    async def __aenter__(self) -> Self:
        self._sent = await self._opened.calls.send(self._message, None)
        self._begun_before = self._may_be_there and self._sent.duplicate
        self._number = self._opened.device.writings.begin(self._sent.conversation, self._sent.seq)
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await self.finish()
            elif self._finished is None:
                self._opened.calls.post_change(self._change(text=self.text))
        finally:
            self._opened.device.writings.forget(self._number)

    @property
    def sent(self) -> Sent:
        """Where the message stands."""
        assert self._sent is not None
        return self._sent

    @property
    def seq(self) -> int:
        return self.sent.seq

    @property
    def conversation(self) -> str:
        return self.sent.conversation

    async def write(self, text: str) -> None:
        """Puts it behind what is there. Returns at once; what is written faster than parts go out is gathered.

        Raises TooLarge beyond the size of a message, and what the server said if it takes no more.
        """
        size, most = self._size + len(text.encode()), self._opened.device.content_bytes_max
        if 0 < most < size:
            raise TooLarge(f"the text has {size} bytes, the server takes {most}: finish it and begin another message")
        if not self._begun_before:
            self._opened.device.writings.write(self._number, text)
        self.text += text
        self._size = size
        self._opened.engine.step(Tick())

    async def finish(self) -> Sent:
        """Returns when the whole is durable. Leaving the `async with` does it."""
        if self._finished is None:
            self._finished = await self._finish()
        return self._finished

    async def _finish(self) -> Sent:
        """The server says which part it lacks, if it does; at last it is told the whole text."""
        writings = self._opened.device.writings
        for tries_left in reversed(range(FINISHES_MAX)):
            parts = writings.end(self._number)
            self._opened.engine.step(Tick())
            told = self._change(parts=parts) if tries_left and parts else self._change(text=self.text)
            try:
                return await self._opened.calls.change(told, None)
            except PartMissing as missing:
                if not tries_left:
                    raise
                writings.again(self._number, missing.next_part)
        raise AssertionError("unreachable")

    def _change(self, *, parts: int = 0, text: str = "") -> pb.Change:
        return pb.Change(
            client_id=self._finish_id,
            conversation=self.conversation,
            seq=self.seq,
            finish=pb.Change.Finish(parts=parts, text=text),
        )
