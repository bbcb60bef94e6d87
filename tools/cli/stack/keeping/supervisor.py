"""The one process that owns all processes of a local stack.

Guarantees: backends are ready before nodes start; what dies comes back (policy.py says when); the state file and the
answers to `status` say what is; leaving ends everything in order: access, logic, storage, then the backends.
After any kill -9 the next `up` ends what is left of the earlier run and starts anew on the same data.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TextIO

from tools.cli.credentials import passed_on
from tools.cli.failure import Failure, WrongUse, first_failure
from tools.cli.stack import occupied
from tools.cli.stack.folder import Folder
from tools.cli.stack.keeping import control, orphans
from tools.cli.stack.keeping.keeper import Keeper
from tools.cli.stack.plan import GIVEN_BY, Backends, External, Plan, backends_of, node, ports_needed, wiring_of
from tools.cli.stack.policy import State, parse_scale, plan_scale
from tools.cli.stack.ports import NodeKind
from tools.cli.stack.programs.nodes import Node
from tools.cli.stack.programs.program import NotReadyError, Program

STOP_ORDER = (NodeKind.ACCESS, NodeKind.LOGIC, NodeKind.STORAGE)
EXTERNAL_TRIES = 10
EXTERNAL_PAUSE_S = 0.5
LOCK_S = 5.0
LOCK_POLL_S = 0.05


class Supervisor:
    """Made for one run. `run` is the whole life; `stop` asks for its end from a signal handler or a command."""

    def __init__(self, plan: Plan, folder: Folder, environment: Mapping[str, str]) -> None:
        self._plan = plan
        self._folder = folder
        self._environment = environment
        self._backends: Backends = backends_of(plan, folder, environment)
        self._wiring = wiring_of(plan, folder, self._backends.addresses, environment)
        self._keepers: dict[str, Keeper] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._external: dict[str, State] = {backend.name: State.STARTING for backend in self._backends.external}
        self._phase = "starting"
        self._asked_to_stop = asyncio.Event()
        self._order = asyncio.Lock()  # one scale or restart at a time

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Until `stop`. Raises Failure when the stack cannot start; then nothing is left running."""
        with self._take(), first_failure():
            async with asyncio.TaskGroup() as group, control.serve(self._folder, self._handle):
                await self._live(group, on_ready)

    def stop(self) -> None:
        """The second time it is asked, nothing is waited for any more."""
        if self._asked_to_stop.is_set():
            for keeper in self._keepers.values():
                keeper.kill()
        self._asked_to_stop.set()

    def snapshot(self) -> dict[str, Any]:
        """The answer to `status`, and what else other commands need."""
        kinds = {str(kind): [self._shown(keeper) for keeper in self._of(kind)] for kind in NodeKind}
        own = {keeper.program.name: self._shown(keeper) for keeper in self._of("backend")}
        given = {
            backend.name: {
                "name": backend.name,
                "pid": None,
                "state": str(self._external[backend.name]),
                "address": backend.shown,
                "external": True,
            }
            for backend in self._backends.external
        }
        return {
            "running": True,
            "cluster": self._wiring.cluster,
            "data": str(self._folder.path),
            "phase": self._phase,
            "port_base": self._plan.port_base,
            "supervisor": {"pid": os.getpid()},
            **kinds,
            "backends": [
                shown for name in GIVEN_BY for shown in [*own.values(), *given.values()] if _is_of(shown, name)
            ],
            "endpoints": dict(self._backends.addresses),
            "security": passed_on(self._wiring.inherited),
            "auth": {
                "algorithm": "HS256",
                "audience": self._wiring.cluster,
                "secret_file": self._wiring.secret_file,
                "operator_token_file": self._wiring.operator_token_file,
            },
        }

    # ---- start and stop

    async def _live(self, group: asyncio.TaskGroup, on_ready: Callable[[], None]) -> None:
        self._group = group
        try:
            await self._start_unless_stopped()
            if not self._asked_to_stop.is_set():
                self._phase = "running"
                self._save()
                on_ready()
            await self._asked_to_stop.wait()
        finally:
            await self._stop_all()

    def _take(self) -> TextIO:
        """The folder is this supervisor's until the lock is closed, and nothing of an earlier run is left."""
        self._folder.take()
        check_not_running(self._folder)
        lock = self._folder.lock()
        if lock is None:  # another one was faster by a moment
            raise Failure(f"A cluster already starts on {self._folder.path}.", "Wait for it: `tidings status`.")
        try:
            orphans.end(orphans.find(self._folder.path))
            occupied.check_free(ports_needed(self._plan, self._backends))
        except BaseException:
            lock.close()
            raise
        return lock

    async def _start_unless_stopped(self) -> None:
        """All of the plan, unless the end is asked for first."""
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(self._start_all(), name="start")
            stopping = group.create_task(self._asked_to_stop.wait(), name="stop")
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if not starting.done():
                starting.cancel()

    async def _start_all(self) -> None:
        self._save()
        backends = [self._add(program) for program in self._backends.started]
        nodes = [
            self._add(node(self._plan, self._wiring, kind, index))
            for kind, number in self._plan.numbers.items()
            for index in range(number)
        ]
        external = [self._reach(backend) for backend in self._backends.external]
        await _all(*external, *(self._start(keeper) for keeper in backends))
        await _all(*(self._start(keeper) for keeper in nodes))

    async def _reach(self, backend: External) -> None:
        for tries_left in reversed(range(EXTERNAL_TRIES)):
            try:
                await backend.probe()
                break
            except NotReadyError as error:
                if not tries_left:
                    raise Failure(f"{error}.", "Start it, or correct its address in the environment.") from error
                await asyncio.sleep(EXTERNAL_PAUSE_S)
        self._external[backend.name] = State.READY
        self._save()

    async def _start(self, keeper: Keeper) -> None:
        keeper.start()
        await keeper.wait_ready()

    async def _stop_all(self) -> None:
        self._phase = "stopping"
        for kind in (*STOP_ORDER, "backend"):
            await _all(*(keeper.stop() for keeper in self._of(kind)))
        for task in self._tasks.values():
            task.cancel()
        self._phase = "down"
        self._save()

    # ---- what the command asks for

    async def _handle(self, request: dict[str, Any]) -> dict[str, Any]:
        match request:
            case {"command": "status"}:
                return self.snapshot()
            case {"command": "down"}:
                self.stop()
                return {}
            case {"command": "scale", "nodes": list(arguments)}:
                return {"changed": await self._in_order(self._scale(arguments))}
            case {"command": "restart", "target": str(target)}:
                return {"restarted": await self._in_order(self._restart(target))}
            case _:
                raise WrongUse("The local stack does not know this command.", "Is it of another version? Run it anew.")

    async def _in_order(self, action: Coroutine[Any, Any, list[str]]) -> list[str]:
        """One after the other, and only while the cluster runs."""
        async with self._order:
            if self._phase != "running":
                action.close()
                raise Failure(f"The cluster is {self._phase}.", "Wait until `tidings status` shows it ready.")
            return await action

    async def _scale(self, arguments: Sequence[str]) -> list[str]:
        wanted = parse_scale(arguments)
        present = {kind: self._indexes(kind) for kind in NodeKind}
        change = plan_scale(present, wanted)
        added = [node(self._plan, self._wiring, kind, index) for kind, index in change.add]
        occupied.check_free(port for program in added for port in program.ports.all())
        await _all(*(self._start(self._add(program)) for program in added))
        removed = [f"{kind}-{index}" for kind, index in change.remove]
        down = [keeper for kind in wanted for keeper in self._of(kind) if keeper.state is State.DOWN]
        revived = [keeper for keeper in down if keeper.program.name not in removed]
        await _all(*(self._start(keeper) for keeper in revived))
        for name in removed:
            await self._remove(name)
        return [*(program.name for program in added), *(keeper.program.name for keeper in revived), *removed]

    async def _restart(self, target: str) -> list[str]:
        names = [keeper.program.name for keeper in self._keepers.values()]
        if target == "all":
            chosen = [keeper for kind in reversed(STOP_ORDER) for keeper in self._of(kind)]
        else:
            chosen = self._of(target) if target in list(NodeKind) else self._named(target)
        if not chosen:
            raise WrongUse(
                f"There is no {target!r}.", f"Say access, logic, storage, all, or one of {', '.join(names)}."
            )
        for keeper in chosen:
            await keeper.stop()
            await self._start(keeper)
        return [keeper.program.name for keeper in chosen]

    # ---- the keepers

    def _add(self, program: Program) -> Keeper:
        keeper = Keeper(program, self._folder, restart=self._plan.restart, on_change=self._save)
        self._keepers[program.name] = keeper
        self._tasks[program.name] = self._group.create_task(keeper.run(), name=program.name)
        return keeper

    async def _remove(self, name: str) -> None:
        await self._keepers[name].stop()
        self._tasks.pop(name).cancel()
        del self._keepers[name]
        self._save()

    def _of(self, kind: str) -> list[Keeper]:
        return [keeper for keeper in self._keepers.values() if keeper.program.kind == kind]

    def _indexes(self, kind: NodeKind) -> list[int]:
        return [keeper.program.index for keeper in self._of(kind) if isinstance(keeper.program, Node)]

    def _named(self, name: str) -> list[Keeper]:
        return [keeper for keeper in self._keepers.values() if keeper.program.name == name]

    def _shown(self, keeper: Keeper) -> dict[str, Any]:
        return {
            "name": keeper.program.name,
            "pid": keeper.pid,
            "state": str(keeper.state),
            **keeper.program.addresses,
            "ready_after_s": round(keeper.ready_after_s, 2),
            "detail": keeper.detail,
        }

    def _save(self) -> None:
        self._folder.save_state(self.snapshot())


def check_not_running(folder: Folder) -> None:
    """Raises Failure if a supervisor lives on this folder; one that was just killed is given the time to go."""
    until = time.monotonic() + LOCK_S
    while folder.is_locked():
        try:
            control.ask(folder, {"command": "status"}, timeout_s=LOCK_S)
        except control.NoSupervisor:
            if time.monotonic() < until:
                time.sleep(LOCK_POLL_S)
                continue
        pid = (folder.load_state() or {}).get("supervisor", {}).get("pid")
        raise Failure(
            f"A cluster already runs on {folder.path} (pid {pid}).",
            "Look at it with `tidings status`, stop it with `tidings down`, or give another folder with --data.",
        )


def _is_of(shown: Mapping[str, Any], backend: str) -> bool:
    """Whether this process is a member of that backend."""
    return str(shown["name"]).partition("-")[0] == backend


async def _all(*actions: Coroutine[Any, Any, None]) -> None:
    """Together; the first Failure ends the others and is raised as itself."""
    with first_failure():
        async with asyncio.TaskGroup() as group:
            for action in actions:
                group.create_task(action)
