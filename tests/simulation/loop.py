"""A deterministic event loop with a virtual clock: asyncio as it is, but nothing is waited for.

Nothing comes from outside. When nothing can run, the clock jumps to the next timer; when there is no timer either,
the program can never go on, and that is a `Deadlock`. So hours pass in seconds, and the same program does the same in
every run.

Guarantees: callbacks run in the order in which asyncio's own loop runs them; time passes only when everybody waits.
Servers listen in memory: `create_server` leaves its protocol with whoever set `LISTENING`. Sets of tasks have the
same order in every run, because a task's hash is its number.
Does not know: sockets, signals, child processes (using one is an error), threads: what goes to an executor runs at
once, in place.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")
Protocols = list[Callable[[], asyncio.BaseProtocol]]
LISTENING: ContextVar[Protocols] = ContextVar("LISTENING")


class Deadlock(Exception):
    """Nothing is ready, nothing is timed, and the program has not ended: the names of the tasks that wait are in "
    "the message."""


class NumberedTask(asyncio.Task[Any]):
    """A task whose hash does not depend on where it lies in memory."""

    numbers = itertools.count(1)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._number = next(self.numbers)
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class MemoryServer(asyncio.AbstractServer):
    """Something that listens, until it is closed."""

    def __init__(self, protocols: Protocols, protocol: Callable[[], asyncio.BaseProtocol]) -> None:
        self._protocols = protocols
        self._protocol = protocol
        protocols.append(protocol)

    def close(self) -> None:
        if self._protocol in self._protocols:
            self._protocols.remove(self._protocol)

    async def wait_closed(self) -> None:
        """Nothing is left to wait for."""

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def is_serving(self) -> bool:
        return self._protocol in self._protocols

    async def start_serving(self) -> None:
        """It does already."""

    async def serve_forever(self) -> None:
        await asyncio.Event().wait()


class VirtualLoop(asyncio.BaseEventLoop):
    """Begins at second 0."""

    def __init__(self) -> None:
        super().__init__()
        NumberedTask.numbers = itertools.count(1)
        self._now_s = 0.0
        self._selector = _Selector(self)
        self._clock_resolution = 1e-9
        self.set_task_factory(lambda loop, work, **kwargs: NumberedTask(work, loop=loop, **kwargs))

    def time(self) -> float:
        return self._now_s

    def pass_time(self, seconds: float | None) -> None:
        """Everybody waits: for so long, or (None) for ever."""
        if seconds is None:
            waiting = sorted(task.get_name() for task in asyncio.all_tasks(self))
            raise Deadlock(f"at {self._now_s:.3f} s nothing can happen any more; waiting: {', '.join(waiting)}")
        self._now_s += seconds

    async def create_server(  # type: ignore[override]  # the rest of the arguments is about sockets
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], *_: Any, **__: Any
    ) -> asyncio.AbstractServer:
        return MemoryServer(LISTENING.get(), protocol_factory)

    def run_in_executor(  # type: ignore[override]  # in place: threads would bring chance in
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            future.set_exception(error)
        return future

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody calls from another thread."""


class _Selector:
    """What the loop asks for events of the outside: there are none, so it only passes time."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None or timeout > 0:
            self._loop.pass_time(timeout)
        return []

    def close(self) -> None:
        """Nothing is open."""


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs a program in virtual time from its second 0; what ran before in this process changes nothing."""
    NumberedTask.numbers = itertools.count(1)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())
