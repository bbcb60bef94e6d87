"""The shell around the core: sockets, tasks, the clock, and where results go.

Guarantees: the core is only called in the event loop, one event at a time, and its effects are done in their order; a
request has exactly one outcome; what the core wants to keep is kept (keeper.py), and if that fails at the end, leaving
raises BadState. Leaving says `bye` and waits a moment for the server's close.

Does not know: what the frames mean (core/), nor what the application's calls are called (client.py).
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self, assert_never

from tidings.core.device import Device
from tidings.core.messages.feed import Handed
from tidings.core.messages.notices import Notices
from tidings.core.signals import (
    AskToken,
    Available,
    Cancel,
    Done,
    Drop,
    Effect,
    Failed,
    Input,
    Leave,
    Lost,
    Notify,
    Open,
    Opened,
    OpenFailed,
    Received,
    Renew,
    RenewalFailed,
    Renewed,
    Save,
    Start,
    Stopped,
    Tick,
    TokenFailed,
    TokenReady,
    Transmit,
)
from tidings.model import Link, LinkState, Notice
from tidings.shell.keeper import Keeper
from tidings.shell.tokens import TokenSource, token_from
from tidings.state import StateStore
from tidings.transport.contract import Closed, Connection, Connector, Refused
from tidings_protocol import client_pb2 as pb
from tidings_protocol.errors import TidingsError

BYE_S = 1.0
TICK_MIN_S = 0.001
OUTGOING_MAX = 1000


class _Dropped(Exception):  # ends the two tasks of a connection, nothing else
    """The core wants no more of this connection."""


class Engine:
    def __init__(self, device: Device, connect: Connector, token: TokenSource, store: StateStore) -> None:
        self._device = device
        self._connect = connect
        self._token = token
        self._keeper = Keeper(store, device.saved, lambda problem: self._perform(Notify(problem)))
        self._stack = AsyncExitStack()
        self._orders: asyncio.Queue[AskToken | Open] = asyncio.Queue()  # the core has one order out at a time
        self._outgoing: list[pb.ClientFrame] = []
        self._dropped = asyncio.Event()
        self._writer_wake = asyncio.Event()
        self._timer_wake = asyncio.Event()
        self._timer_at = float("inf")
        self._renew_wake = asyncio.Event()
        self._disconnected = asyncio.Event()
        self._disconnected.set()
        self._changed = asyncio.Event()
        self._notices = Notices()
        self._outcomes: dict[int, asyncio.Future[pb.ServerFrame]] = {}
        self._background: list[asyncio.Task[None]] = []
        self._open = False
        self.last_detail = ""  # why the last connection ended, for the error of one that never comes about

    async def __aenter__(self) -> Self:
        tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._background = [
            tasks.create_task(self._dial(), name="tidings-dial"),
            tasks.create_task(self._run_timer(), name="tidings-timer"),
            tasks.create_task(self._run_renewals(), name="tidings-renewals"),
        ]
        tasks.create_task(self._keeper.run(), name="tidings-keep")  # ends by itself, with a last save
        self._open = True
        self.step(Start())
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.step(Leave())
        self._open = False
        try:
            async with asyncio.timeout(BYE_S):
                await self._disconnected.wait()
        except TimeoutError:
            pass  # the server does not close: we do
        finally:
            self._keeper.end()
            for task in self._background:
                task.cancel()
            # The group is told of a cancellation, but not of the application's own error, which it would wrap.
            cancelled = error if isinstance(error, asyncio.CancelledError) else None
            if cancelled is not None:
                await self._keeper.save()  # the group then ends the task that would
            await self._stack.__aexit__(type(cancelled) if cancelled else None, cancelled, None)
        if self._keeper.problem is not None and error is None:
            raise self._keeper.problem

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    @property
    def open(self) -> bool:
        return self._open

    @property
    def congested(self) -> bool:
        """Whether the network takes less than is to be sent: what may be lost should not be added."""
        return len(self._outgoing) > OUTGOING_MAX

    def step(self, event: Input) -> None:
        """Tell the core, and do what it says."""
        now = self.now
        for effect in self._device.handle(event, now):
            self._perform(effect)
        wake = self._device.next_wake()
        if wake is not None and wake < self._timer_at:
            self._timer_wake.set()

    def expect(self, ticket: int) -> asyncio.Future[pb.ServerFrame]:
        """The outcome of a ticket that is about to be submitted."""
        outcome = asyncio.get_running_loop().create_future()
        self._outcomes[ticket] = outcome
        return outcome

    def abandon(self, ticket: int) -> None:
        """Nobody waits for this outcome any more."""
        outcome = self._outcomes.pop(ticket, None)
        if outcome is not None:
            outcome.cancel()
        self.step(Cancel(ticket))

    def take(self) -> Handed | None:
        """The next message, if there is one."""
        handed = self._device.take(self.now)
        if handed is not None:
            self._notices.message_taken()
            self.step(Tick())
        return handed

    def took(self, handed: Handed) -> None:
        """The application is done with it."""
        self._device.took(handed)
        self._keeper.changed()
        self.step(Tick())

    def take_notice(self) -> Notice | None:
        """The next one, unless a message comes before it."""
        return self._notices.take(self._device.waiting)

    async def save_first(self) -> None:
        """Keeps the place for the first time. Raises BadState if that does not come about in a few seconds."""
        await self._keeper.save_first()

    async def settle(self, timeout_s: float) -> None:
        """Until everything that was submitted has its outcome, or the time is over."""
        if self._outcomes:
            await asyncio.wait(list(self._outcomes.values()), timeout=timeout_s)

    async def changed(self) -> None:
        """Until there may be something new to take, or the state is another."""
        await self._changed.wait()

    # What the core wants done

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Transmit(frame):
                self._outgoing.append(frame)
                self._writer_wake.set()
            case Done(ticket, frame):
                self._resolve(ticket, frame)
            case Failed(ticket, error):
                self._resolve(ticket, error)
            case Notify(notice):
                if isinstance(notice, Link) and notice.state is LinkState.WAITING:
                    self.last_detail = notice.detail
                self._notices.came(notice, self._device.waiting)
                self._announce()
            case Available() | Stopped():
                self._announce()
            case Save():
                self._keeper.changed()
            case Renew():
                self._renew_wake.set()
            case AskToken() | Open():
                self._orders.put_nowait(effect)
            case Drop():
                self._dropped.set()
            case _:
                assert_never(effect)

    def _resolve(self, ticket: int, outcome: pb.ServerFrame | TidingsError) -> None:
        future = self._outcomes.pop(ticket, None)
        if future is None or future.done():
            return
        if isinstance(outcome, TidingsError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # Tasks

    async def _dial(self) -> None:
        """One order of the core after the other.

        Asks whether the client is still open: a cancellation that meets the end of a connection is lost in the
        connection's TaskGroup (Python below 3.13).
        """
        while self._open:
            order = await self._orders.get()
            if isinstance(order, Open):
                await self._converse(order.link, order.url)
            else:
                await self._fetch_token(fresh=order.fresh)

    async def _fetch_token(self, *, fresh: bool) -> None:
        if isinstance(self._token, str):
            self.step(_used_up() if fresh else TokenReady(self._token))
            return
        try:
            token = await token_from(self._token)
        except Exception as error:  # noqa: BLE001  # the application's own code, at the edge
            self.step(TokenFailed(f"the application gave no token ({error!r}): it is asked again, look why it failed"))
        else:
            self.step(TokenReady(token))

    async def _run_renewals(self) -> None:
        """Asks the application for a token whenever the one of the session ends soon."""
        while not isinstance(self._token, str):
            await self._renew_wake.wait()
            self._renew_wake.clear()
            try:
                token = await token_from(self._token)
            except Exception:  # noqa: BLE001  # the application's own code, at the edge
                self.step(RenewalFailed())
            else:
                self.step(Renewed(token))

    async def _converse(self, link: int, url: str) -> None:
        """One connection from its opening to its end."""
        self._outgoing.clear()
        self._dropped.clear()
        try:
            async with self._connect(url) as connection:
                self._disconnected.clear()
                self.step(Opened(link, time.time_ns() // 1_000_000))
                try:
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(self._read(connection, link), name="tidings-read")
                        tasks.create_task(self._write(connection), name="tidings-write")
                        tasks.create_task(self._await_drop(), name="tidings-drop")
                except* (Closed, _Dropped) as ended:
                    self._tell_end(link, ended)
        except Refused as refused:
            self.step(OpenFailed(link, refused.reason, refused.retry_after_s))
        finally:
            self._disconnected.set()

    def _tell_end(self, link: int, ended: BaseExceptionGroup[Closed | _Dropped]) -> None:
        closed = [error for error in ended.exceptions if isinstance(error, Closed)]
        if closed:
            # Of the two tasks the one that saw the close frame knows more.
            told = max(closed, key=lambda error: error.code)
            self.step(Lost(link, told.code, told.reason))

    async def _read(self, connection: Connection, link: int) -> None:
        while True:
            self.step(Received(link, await connection.receive()))

    async def _await_drop(self) -> None:
        await self._dropped.wait()
        raise _Dropped

    async def _write(self, connection: Connection) -> None:
        while True:
            await self._writer_wake.wait()
            self._writer_wake.clear()
            frames, self._outgoing = self._outgoing, []
            if frames:
                await connection.send(frames)

    async def _run_timer(self) -> None:
        while True:
            wake = self._device.next_wake()
            self._timer_at = float("inf") if wake is None else wake
            self._timer_wake.clear()
            try:
                async with asyncio.timeout(None if wake is None else max(TICK_MIN_S, wake - self.now)):
                    await self._timer_wake.wait()
            except TimeoutError:
                self.step(Tick())


def _used_up() -> TokenFailed:
    return TokenFailed(
        "the token was refused: open a client with a new one, or give it a function that gets one", final=True
    )
