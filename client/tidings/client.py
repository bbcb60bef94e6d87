"""The client: one device of one user, for as long as the `async with` lasts, over any number of connections.

    async with Client("ws://127.0.0.1:8000", token=token) as client:
        await client.send("bob", "hi")
        async for message in client.messages():
            print(message.sender, message.text)

Guarantees:
- `send` returns when the message is durable, and never stores it twice, whatever happens in between.
- `messages` gives each message once, those of one conversation in order, also over reconnections, and with a `state`
  file over restarts; `events` gives what changes them in the same way.
- A message counts as taken when its reader asks for the next one, or leaves its loop. What the application worked on
  when the process was killed, or when an error left the client, comes again after the restart, and so does what was
  taken in the last half second before a kill: at least once per death of the process.
- An application that reads slowly loses nothing: at most `inbox_max` messages wait here, the rest waits on the server.
- Every call raises a TidingsError that says what to do, or answers.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tidings.calling.changes import ChangeCalls
from tidings.calling.groups import GroupCalls
from tidings.calling.messages import MessageCalls
from tidings.calling.people import PeopleCalls
from tidings.core.device import Device, Options
from tidings.core.signals import Idle
from tidings.errors import ClientClosed, NotConnected
from tidings.model import DeviceKind
from tidings.shell.calls import Calls
from tidings.shell.engine import Engine
from tidings.shell.hands import Hands
from tidings.shell.opened import Opened
from tidings.shell.tokens import TokenSource
from tidings.state import FileState, MemoryState, StateStore
from tidings.transport import connector
from tidings_protocol import client_pb2 as pb
from tidings_protocol.ids import direct, new_id
from tidings_protocol.wire.codec import JSON, PROTO

SETTLE_S = 5.0


class Client(MessageCalls, ChangeCalls, GroupCalls, PeopleCalls):
    """See the module. All limits and times have defaults that suit a bot; `docs/client.md` explains each."""

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        token: TokenSource,
        device: str | None = None,
        kind: DeviceKind = DeviceKind.BOT,
        state: StateStore | str | Path | None = None,
        codec: str = "proto",
        tls: ssl.SSLContext | None = None,
        connect_timeout_s: float | None = 30.0,
        open_timeout_s: float = 5.0,
        send_timeout_s: float | None = 60.0,
        request_timeout_s: float | None = 30.0,
        inbox_max: int = 1000,
        outbox_max: int = 1000,
        pipeline: int = 1,
        from_start: bool = False,
        name: str = "tidings-python/0.1",
    ) -> None:
        """`url`: one or several of ws://, wss://, tcp://, tcps://. `token`: a JWT, or a function that gives one.

        `state`: a file (or a store) that keeps the place of this device over restarts. `from_start`: a new device
        reads the user's whole inbox instead of what comes from now on. `pipeline`: sends to one conversation that may
        be unanswered at once; above 1 they are faster, but one that has to be tried again may come after a later one.
        """
        if codec not in ("proto", "json"):
            raise ValueError(f"codec {codec!r}: it is proto or json")
        seeds = [url] if isinstance(url, str) else list(url)
        self._connect = connector(seeds, codec=PROTO if codec == "proto" else JSON, tls=tls, timeout_s=open_timeout_s)
        self._seeds = seeds
        self._token = token
        self._device = device
        self._kind = kind
        self._store = _store(state)
        self._connect_timeout_s = connect_timeout_s
        self._send_timeout_s = send_timeout_s
        self._request_timeout_s = request_timeout_s
        self._inbox_max = inbox_max
        self._outbox_max = outbox_max
        self._pipeline = pipeline
        self._from_start = from_start
        self._name = name
        self._inside: Opened | None = None

    async def __aenter__(self) -> Self:
        """Returns when a session lives. Raises NotConnected in time, or SessionEnded when the server refuses us."""
        saved = await asyncio.to_thread(self._store.load)
        self._device = self._device or (saved.device if saved else new_id())
        options = Options(
            self._seeds,
            self._device,
            self._kind,
            self._name,
            fresh_tokens=not isinstance(self._token, str),
            capacity=self._inbox_max,
            outbox_capacity=2 * self._outbox_max,
            pipeline=self._pipeline,
            from_start=self._from_start,
        )
        device = Device(options, saved, random.random)
        engine = Engine(device, self._connect, self._token, self._store)
        calls = Calls(
            engine,
            outbox_max=self._outbox_max,
            send_timeout_s=self._send_timeout_s,
            request_timeout_s=self._request_timeout_s,
        )
        self._inside = Opened(device, await engine.__aenter__(), calls, Hands(engine.took))
        try:
            await self._first_session(device, engine)
            await engine.save_first()  # from here on a killed process comes back as this device
        except BaseException as error:
            await engine.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """What was posted has a moment to be sent, over a new connection too, unless this is left by an error.

        Raises BadState if the place of this device could not be kept to the end.
        """
        opened = self._opened()
        try:
            if error is None and opened.device.over is None:
                await opened.engine.settle(SETTLE_S)
        except asyncio.CancelledError as cancelled:
            await opened.close(cancelled)
            raise
        await opened.close(error)

    # Who and where

    @property
    def user(self) -> str:
        """Whose token it is."""
        return self._opened().device.user

    @property
    def device(self) -> str:
        return self._device or ""

    @property
    def online(self) -> bool:
        """Whether there is a session right now."""
        return self._inside is not None and self._inside.device.live

    @property
    def welcome(self) -> pb.Welcome:
        """The last welcome of a server: node, limits, inbox head."""
        welcome = self._opened().device.welcome
        assert welcome is not None
        return welcome

    def direct(self, user: str) -> str:
        """The id of the direct chat with `user`."""
        return direct(self.user, user)

    def set_idle(self, idle: bool) -> None:
        """The person is away (or back): a mobile device then beats more slowly."""
        self._opened().engine.step(Idle(idle))

    # Inside

    def _opened(self) -> Opened:
        if self._inside is None:
            raise ClientClosed("the client is not open: use it inside `async with Client(…) as client`")
        return self._inside

    async def _first_session(self, device: Device, engine: Engine) -> None:
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                while not device.live:
                    if device.over is not None:
                        raise device.over
                    await engine.changed()
        except TimeoutError as error:
            reason = engine.last_detail or "no server answered"
            raise NotConnected(
                f"not connected within {self._connect_timeout_s:g} s ({reason}): "
                "look whether the server runs and whether its address is right"
            ) from error


def _store(state: StateStore | str | Path | None) -> StateStore:
    if state is None:
        return MemoryState()
    return FileState(state) if isinstance(state, str | Path) else state
