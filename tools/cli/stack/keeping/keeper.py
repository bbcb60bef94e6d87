"""Keeps one process of the stack: starts it, asks it whether it is ready, starts it again when it dies.

Guarantees: one process at a time; after `stop` returns it has ended; its state is what its own answers and its end
say, never what was hoped. Knows nothing of the other processes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from tools.cli.failure import Failure
from tools.cli.stack.folder import Folder
from tools.cli.stack.keeping import orphans
from tools.cli.stack.policy import Again, Ended, GivenUp, State, Stay, after_end, hopeless
from tools.cli.stack.programs.program import NotReadyError, Program

PROBE_STARTING_S = 0.05
PROBE_NODE_S = 1.0
PROBE_BACKEND_S = 10.0  # their questions cost more, and a dead one is seen at once anyway
SILENCES_MAX = 3  # on a busy machine one late answer says nothing about a node
START_TIMEOUT_S = 120.0
CANNOT_START = 1  # as if it had ended with this exit code

log = logging.getLogger(__name__)


class Keeper:
    def __init__(self, program: Program, folder: Folder, *, restart: bool, on_change: Callable[[], None]) -> None:
        self.program = program
        self.state = State.DOWN
        self.pid: int | None = None
        self.detail = ""
        self.ready_after_s = 0.0
        self.failure: Failure | None = None  # why it was given up
        self._folder = folder
        self._restart = restart
        self._on_change = on_change
        self._process: asyncio.subprocess.Process | None = None
        self._wanted = asyncio.Event()
        self._active = False  # between the first preparation and the decision after its end
        self._changed = asyncio.Condition()
        self._failures = 0
        self._was_ready = False

    async def run(self) -> None:
        """Until cancelled; then the process is ended as by `stop`."""
        try:
            while True:
                await self._wanted.wait()
                self._active = True
                await self._keep()
                self._active = False
                await self._set(self.state)
        finally:
            await self._end()

    def start(self) -> None:
        self.failure = None
        self.detail = ""
        self._failures = 0
        self._was_ready = False
        self.state = State.STARTING
        self._wanted.set()

    async def stop(self) -> None:
        """Ask it to end, wait for that; after its time is over, make it."""
        self._wanted.clear()
        await self._set(State.DRAINING if self._process is not None else self.state)
        await self._end()
        async with self._changed:
            await self._changed.wait_for(lambda: not self._active)
        await self._set(State.DOWN)

    async def wait_ready(self) -> None:
        """Raises Failure when it is given up, or is not ready in time."""
        try:
            async with asyncio.timeout(START_TIMEOUT_S), self._changed:
                await self._changed.wait_for(lambda: self.state in (State.READY, State.DOWN))
        except TimeoutError:
            raise self._failed(
                f"{self.program.name} is not ready after {START_TIMEOUT_S:.0f} s ({self.detail})."
            ) from None
        if self.state is State.DOWN:
            log_file = self._folder.log(self.program.name)
            raise self.failure or Failure(f"{self.program.name} ended while it was to start.", f"Look at {log_file}.")

    async def _keep(self) -> None:
        """Start it and watch it until it has ended, and decide what then."""
        await self._set(State.STARTING)
        began = time.monotonic()
        try:
            await asyncio.to_thread(self.program.prepare)
            if not self._wanted.is_set():
                return
            self._process = await self._spawn()
        except (OSError, Failure) as error:
            if self._was_ready and isinstance(error, OSError):
                # It ran before: what keeps it from starting, such as a full disk, may pass.
                self._failures += 1
                await self._decide(CANNOT_START, f"cannot be started again: {error}")
                return
            self._wanted.clear()
            self.failure = error if isinstance(error, Failure) else self._failed(f"{self.program.name}: {error}.")
            await self._set(State.DOWN)
            return
        self.pid = self._process.pid
        self._on_change()
        if not self._wanted.is_set():
            await self._end()
        ready = await self._watch(self._process, began)
        code = self._process.returncode or 0
        self._process, self.pid = None, None
        self._failures = 0 if ready else self._failures + 1
        await self._decide(code, f"ended with {_named(code)}")

    async def _decide(self, code: int, detail: str) -> None:
        ended = Ended(
            code=code,
            backend=self.program.kind == "backend",
            draining=self.state is State.DRAINING,
            stop_asked=not self._wanted.is_set(),
            restart_allowed=self._restart,
            failures=self._failures,
        )
        self.detail = detail
        decision = after_end(ended)
        if not self._was_ready and not ended.stop_asked and hopeless(ended):
            decision = GivenUp()
        match decision:
            case Again(delay_s):
                await self._set(State.STARTING)
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay_s):
                        await self._unwanted()
            case Stay():
                self._wanted.clear()
                await self._set(State.DOWN)
            case GivenUp():
                self._wanted.clear()
                self.failure = self._failed(f"{self.program.name} {self.detail}.")
                await self._set(State.DOWN)

    async def _unwanted(self) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: not self._wanted.is_set())

    async def _spawn(self) -> asyncio.subprocess.Process:
        environment = {**self.program.environment(), orphans.MARK: str(self._folder.path)}
        with self._folder.open_log(self.program.name) as log:
            return await asyncio.create_subprocess_exec(
                *self.program.command(),
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # the terminal's Ctrl-C is for the supervisor, which ends them in order
            )

    async def _watch(self, process: asyncio.subprocess.Process, began: float) -> bool:
        """Probe it until it has ended; whether it was ready at any time."""
        ready, silences = False, 0
        while process.returncode is None:
            try:
                await self.program.probe()
            except NotReadyError as error:
                self.detail = str(error)
                silences = silences + 1 if error.silent else 0
                if ready and self.state is not State.DRAINING and silences not in range(1, SILENCES_MAX):
                    await self._set(State.DRAINING if error.draining else State.STARTING)
            else:
                self.detail, silences = "", 0
                if not ready:
                    self.ready_after_s = time.monotonic() - began
                ready = self._was_ready = True
                if self.state is State.STARTING:
                    await self._set(State.READY)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s(ready=ready)):
                    await process.wait()
        return ready

    def _pause_s(self, *, ready: bool) -> float:
        if not ready:
            return PROBE_STARTING_S
        calm = self.state is State.READY and self.program.kind == "backend"
        return PROBE_BACKEND_S if calm else PROBE_NODE_S

    async def _end(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        _signal(process.pid, signal.SIGCONT)
        _signal(process.pid, signal.SIGTERM)
        try:
            # Not asyncio.timeout, which raises no TimeoutError in a task that was cancelled (Python below 3.11.3).
            await asyncio.wait_for(process.wait(), self.program.stop_timeout_s)
        except TimeoutError:
            _signal(process.pid, signal.SIGKILL)
            await process.wait()

    def kill(self) -> None:
        """At once, whatever it does."""
        if self._process is not None and self._process.returncode is None:
            _signal(self._process.pid, signal.SIGKILL)

    async def _set(self, state: State) -> None:
        if state is not self.state:
            log.info("%s: %s %s", self.program.name, state, self.detail)
        self.state = state
        self._on_change()
        async with self._changed:
            self._changed.notify_all()

    def _failed(self, message: str) -> Failure:
        lines = self._folder.last_lines(self.program.name)
        shown = "".join(f"\n    {line[:400]}" for line in lines)
        log = self._folder.log(self.program.name)
        return Failure(f"{message} The end of {log}:{shown}\n", self.program.advice(lines))


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _named(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
