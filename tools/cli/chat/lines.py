"""The chat without a screen, for pipes and scripts: one line in, one line out.

    [12:30:01] #7 bob: hello     a message of the open conversation, with its number
    [12:30:02] (d:ann|cleo) #3 cleo: hi      one of another
    * bob changed #7: hello you  what is done to messages
    * …                          what the program says, and states of own messages: * sent #3, * read #3

Standard input's end is the end, once everything typed was sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import TextIO

from tidings import Client, Event, Link, LinkState, MessageChanged, MessageState, Progress
from tools.cli.chat import render
from tools.cli.chat.controller import Controller, Quit
from tools.cli.chat.model import ChatModel
from tools.cli.chat.talk import Line, Talk
from tools.cli.chat.telling import change_of

LINE_BYTES_MAX = 64 * 1024
DRAIN_S = 30.0


class PlainChat:
    def __init__(self, client: Client, to: str | None, group: str | None, out: TextIO) -> None:
        self._out = out
        self._to, self._group = to, group
        self._model = ChatModel(client.user)
        self._sending: set[tuple[str, str]] = set()  # conversation, client id
        self._settled = asyncio.Event()
        self._controller = Controller(client, self._model, changed=lambda: None, shown=self._show, told=self._tell)

    async def run(self) -> None:
        """Until standard input ends. Raises SessionEnded when the server ends it."""
        try:
            async with asyncio.TaskGroup() as tasks:
                background = [
                    tasks.create_task(self._controller.follow(), name="chat-follow"),
                    tasks.create_task(self._controller.attend(), name="chat-attend"),
                ]
                await self._controller.begin(self._to, self._group)
                talk = self._model.talk
                self._say(f"you are {self._model.me}; " + (f"chatting in {talk.id}" if talk else "/to USER begins"))
                await self._obey()
                await self._drain()
                for task in background:
                    task.cancel()
        except* Quit:
            pass

    async def _obey(self) -> None:
        async for line in _typed(sys.stdin):
            if len(line) > LINE_BYTES_MAX:
                self._say(f"a line has at most {LINE_BYTES_MAX} bytes: it was not sent")
            else:
                await self._controller.enter(line.decode(errors="replace").rstrip("\r\n"))

    async def _drain(self) -> None:
        """What was typed is sent before the end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while self._sending:
                    self._settled.clear()
                    await self._settled.wait()

    def _show(self, talk: Talk, line: Line) -> None:
        if line.client_id and not line.seq:
            self._sending.add((talk.id, line.client_id))  # said when it has its place
        else:
            self._put(render.plain(self._model, talk, line))

    def _tell(self, event: Event) -> None:
        match event:
            case Progress(client_id, conversation, seq, state, reason) if state is not MessageState.SENDING:
                self._say(f"{state} #{seq}" if seq else f"{state}: {reason}; /retry tries again")
                self._sending.discard((conversation, client_id))
                self._settled.set()
            case MessageChanged():
                where = "" if event.conversation == self._model.current else f"({event.conversation}) "
                self._say(render.safe(where + change_of(event)).replace("\n", "\n    "))
            case Link(LinkState.ONLINE, node):
                self._say(f"online at {node}")
            case Link(LinkState.WAITING, _, detail, retry_in_s):
                self._say(f"reconnecting in {retry_in_s:.1f} s ({render.safe(detail)})")
            case _:
                pass

    def _say(self, text: str) -> None:
        self._put(f"* {text}")

    def _put(self, text: str) -> None:
        self._out.write(text + "\n")
        self._out.flush()


async def _typed(source: TextIO) -> AsyncIterator[bytes]:
    """The lines of standard input, whatever it is; one that is too long comes cut, to be refused."""
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    try:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), source
        )
    except (ValueError, OSError):  # a file, or /dev/null: it never keeps one waiting
        while line := await asyncio.to_thread(source.buffer.readline, LINE_BYTES_MAX + 2):
            yield line
        return
    try:
        while line := await _line(reader):
            yield line
    finally:
        transport.close()


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError as end:
        return end.partial
    except asyncio.LimitOverrunError as overrun:
        await reader.readexactly(overrun.consumed)
        return b"x" * (LINE_BYTES_MAX + 1)
