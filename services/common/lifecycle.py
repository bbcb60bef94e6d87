"""The life of a node's process: settings, logs, signals, background tasks, drain, end.

    def main() -> None:
        lifecycle.run("access", AccessSettings, app)

`app(settings, life)` is an async context manager: entering it brings the node up, part by part; leaving it drains.

Guarantees: the first SIGTERM or SIGINT drains, the second or the deadline ends the process; a background task that
crashes ends the process with one clear line and exit code 1; a drain that was finished ends with 0, wrong settings
with 2. Tasks are born in one TaskGroup, outlive the app's drain (it may still need them) and are cancelled after it.
Cancellation is never swallowed.
Does not know: what the node does.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from traceback import extract_tb
from typing import Any, NoReturn, TypeVar

import uvloop

from services.common.settings.node import NodeSettings
from services.common.settings.sources import SettingsError, load
from services.common.telemetry import logs, metrics, tracing
from services.common.telemetry.runtime import watch_event_loop, watch_garbage_collection

S = TypeVar("S", bound=NodeSettings)
App = Callable[[S, "Lifecycle"], AbstractAsyncContextManager[None]]

EXIT_OK, EXIT_CRASH, EXIT_SETTINGS = 0, 1, 2
GRACE_S = 1.0  # after the deadline: time for what was cancelled to end by itself

log = logs.get_logger(__name__)


class Lifecycle:
    """What a part of a node may ask of its process: a task, the news that it shall stop, and a stop."""

    def __init__(self) -> None:
        self._stop = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._on_stop: list[Callable[[], object]] = []
        self._pace_per_s = 0

    @property
    def stop_requested(self) -> bool:
        return self._stop.is_set()

    @property
    def pace_per_s(self) -> int:
        """Goodbyes a second that whoever asked for the stop wants; 0: the setting."""
        return self._pace_per_s

    @property
    def tasks(self) -> list[str]:
        """Names of the background tasks that run, for /debug/state."""
        return sorted(task.get_name() for task in self._tasks)

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """A background task of the process: it may end, but if it raises, the process ends."""
        if self._group is None:
            work.close()
            raise RuntimeError(f"task {name!r} is born outside the life of its process")
        task = self._group.create_task(_told(work, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # if it was cancelled before its first step
        return task

    async def stopping(self) -> None:
        """Returns when the process was asked to leave."""
        await self._stop.wait()

    def request_stop(self, pace_per_s: int = 0) -> None:
        """Leave on purpose; asking again changes nothing."""
        if not self._stop.is_set():
            self._pace_per_s = pace_per_s
            self._stop.set()
            for callback in self._on_stop:
                callback()

    def begin(self, group: asyncio.TaskGroup) -> None:
        """Lets tasks be born from now on, in this group."""
        self._group = group

    def end(self) -> None:
        """The app has drained: what still runs was only there for it."""
        self._group = None
        for task in list(self._tasks):
            task.cancel()

    def when_stopped(self, callback: Callable[[], object]) -> None:
        """Called once, in the event loop, at the first request to stop."""
        self._on_stop.append(callback)


async def live(settings: S, life: Lifecycle, app: App[S]) -> None:
    """One life: the app comes up, runs until it is asked to stop, drains. Simulations run many in one process."""
    async with asyncio.TaskGroup() as group:
        life.begin(group)
        async with app(settings, life):
            log.info("node ready")
            await life.stopping()
            log.info("node draining", pace_per_s=life.pace_per_s, deadline_s=settings.drain_deadline_s)
        life.end()


def run(service: str, settings_cls: type[S], app: App[S]) -> NoReturn:
    """The whole `__main__` of a service."""
    try:
        settings = load(settings_cls)
    except SettingsError as error:
        for problem in error.problems:
            sys.stderr.write(f"tidings {service}: {problem}\n")
        sys.exit(EXIT_SETTINGS)
    logs.configure(level=settings.log_level, form=settings.log_format, service=service, node=settings.node)
    metrics.BUILD.labels(version("tidings-server"), service).set(1)
    tracing.configure(
        settings.otlp_endpoint, sample_ratio=settings.trace_sample_ratio, service=service, node=settings.node
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(_process(settings, app))
    finally:
        tracing.shutdown()
    sys.stderr.flush()
    sys.exit(code)


async def _process(settings: S, app: App[S]) -> int:
    life = Lifecycle()
    main = asyncio.current_task()
    assert main is not None
    _install_signals(life, main, settings.drain_deadline_s)

    def observed(settings: S, life: Lifecycle) -> AbstractAsyncContextManager[None]:
        return _observed(settings, life, app)

    try:
        await live(settings, life, observed)
    except asyncio.CancelledError:
        log.warning("node ended before it was drained", deadline_s=settings.drain_deadline_s)
        return EXIT_CRASH
    except Exception as error:
        for cause in _causes(error):
            log.error("node failed", error=_sentence(cause), where=_where(cause))  # noqa: TRY400 - one clear line
            log.debug("traceback of the failure", exc_info=cause)
        return EXIT_CRASH
    log.info("node stopped")
    return EXIT_OK


@asynccontextmanager
async def _observed(settings: S, life: Lifecycle, app: App[S]) -> AsyncIterator[None]:
    """The app with what every process has besides: watchers of its event loop and its garbage collector."""
    life.spawn(watch_event_loop(), name="event-loop-lag")
    unwatch = watch_garbage_collection()
    try:
        async with app(settings, life):
            freeze_garbage()
            yield
    finally:
        unwatch()


def freeze_garbage() -> None:
    """What lives as long as the process (modules, wiring) is taken out of every later collection."""
    gc.collect()
    gc.freeze()
    # Measured on a busy node: the default of 700 collects the young generation hundreds of times a second, for nothing.
    gc.set_threshold(10_000, 20, 50)


def _install_signals(life: Lifecycle, main: asyncio.Task[Any], deadline_s: float) -> None:
    loop = asyncio.get_running_loop()

    def end(reason: str) -> None:
        log.warning("node ends now", reason=reason)
        main.cancel()
        loop.call_later(GRACE_S, _exit_hard)

    def on_signal(name: str) -> None:
        if life.stop_requested:
            end(f"second {name}")
        else:
            log.info("signal received", signal=name)
            life.request_stop()

    life.when_stopped(lambda: loop.call_later(deadline_s, end, "drain deadline"))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number.name)


def _exit_hard() -> None:
    """Something holds on to its cancellation: the deadline counts more."""
    log.error("node ended by force")
    sys.stderr.flush()
    os._exit(EXIT_CRASH)


async def _told(work: Coroutine[Any, Any, None], name: str) -> None:
    try:
        await work
    except Exception as error:
        error.add_note(f"in the background task {name!r}")
        raise


def _causes(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [cause for inner in error.exceptions for cause in _causes(inner)]
    return [error]


def _sentence(error: BaseException) -> str:
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    return f"{type(error).__name__}: {error}{notes}"


def _where(error: BaseException) -> str:
    frames = extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
