"""The cluster under test: a local stack as `tidings up` makes it, asked and changed by its own commands only.

Faults use the pids that `status` tells. Guarantees: leaving ends every process of the stack.
Does not know: clients.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import jwt

from tests.support.cluster import wiring
from tests.support.cluster.backends import clean_environment
from tests.support.cluster.mounting import small_disk
from tests.support.load.population import LARGE_ABOVE
from tests.support.network.links import Links
from tools.cli.failure import Failure
from tools.cli.stack.folder import Folder
from tools.cli.stack.keeping import control, launch
from tools.cli.stack.plan import Plan
from tools.cli.stack.ports import NodeKind

COMMAND_S = 900.0
POLL_S = 0.1
KINDS = ("access", "logic", "storage", "backends")


class CommandFailed(Exception):
    """A `tidings` command failed; the text is its own."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is started; `settings` are TIDINGS_ variables of the nodes.

    `proxied`: every call between processes goes over a proxy. `mongodb_disk_mib`: a file system of its own.
    """

    name: str = "plain"
    access: int = 2
    logic: int = 2
    storage: int = 2
    arguments: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    proxied: bool = False
    mongodb_disk_mib: int = 0

    @property
    def numbers(self) -> Mapping[NodeKind, int]:
        return {NodeKind.ACCESS: self.access, NodeKind.LOGIC: self.logic, NodeKind.STORAGE: self.storage}


@dataclass(slots=True)
class Stack:
    shape: Shape
    data: Path
    port_base: int
    links: Links | None = None
    disk_problem: str = ""
    _auth: dict[str, str] = field(default_factory=dict)

    async def command(self, *arguments: str) -> str:
        """Runs `tidings`; its output. Raises CommandFailed."""
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("tidings")),
            *arguments,
            "--data",
            str(self.data),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            env=self.environment(),
        )
        async with asyncio.timeout(COMMAND_S):
            out, err = await process.communicate()
        if process.returncode:
            raise CommandFailed(
                f"tidings {' '.join(arguments)} ended with {process.returncode}: {out.decode()}{err.decode()}"
            )
        return out.decode()

    def environment(self) -> dict[str, str]:
        common = {"TIDINGS_LARGE_GROUP_THRESHOLD": str(LARGE_ABOVE)}
        return {**clean_environment(), **common, **self.shape.settings}

    async def up(self) -> None:
        if self.shape.proxied:
            await asyncio.to_thread(self._up_proxied)
        else:
            numbers = [f"--{kind}={number}" for kind, number in self.shape.numbers.items()]
            await self.command("up", *numbers, f"--port-base={self.port_base}", "--detach", *self.shape.arguments)
        self._auth = self.status()["auth"]

    def _up_proxied(self) -> None:
        """Starts it as `tidings up --detach` does, but its nodes call each other and the backends over the proxies."""
        plan = Plan(
            self.port_base,
            self.shape.access,
            self.shape.logic,
            self.shape.storage,
            node_program=(sys.executable, "-m", "tests.support.cluster.node"),
            kafka_advertised=wiring.proxy_of(self.port_base, "kafka"),
        )
        environment = {**self.environment(), wiring.BASE: str(self.port_base)}
        launch.run_detached(plan, Folder.at(self.data), environment, lambda _: None)

    async def down(self) -> None:
        with suppress(CommandFailed):
            await self.command("down")

    def status(self) -> dict[str, Any]:
        """The state as `tidings status --json` tells it, without a process: it is asked ten times a second."""
        return control.ask(Folder.at(self.data), {"command": "status"}, timeout_s=10)

    # ---- what is where

    def processes(self, kind: str) -> list[dict[str, Any]]:
        return list(self.status()[kind])

    def process(self, name: str) -> dict[str, Any]:
        status = self.status()
        return next(found for kind in KINDS for found in status[kind] if found["name"] == name)

    def ws_urls(self) -> list[str]:
        return [str(node["ws"]) for node in self.processes("access")]

    def tcp_urls(self) -> list[str]:
        return [f"tcp://{node['tcp']}" for node in self.processes("access")]

    def log(self, name: str) -> Path:
        return Folder.at(self.data).log(name)

    @property
    def via(self) -> Sequence[str]:
        """Clients run where it runs."""
        return ()

    @property
    def secret(self) -> str:
        return Path(self._auth["secret_file"]).read_text(encoding="utf-8").rstrip("\n")

    @property
    def audience(self) -> str:
        return self._auth["audience"]

    def token(self, user: str, ttl_s: float = 86_400) -> str:
        claims = {"sub": user, "aud": self.audience, "exp": int(time.time() + ttl_s)}
        return jwt.encode(claims, self.secret, "HS256")

    async def owners(self) -> list[str]:
        """The access node of each slot."""
        told: list[str] = json.loads(await self.command("ring", "--json"))["owners"]
        return told

    # ---- faults

    def kill(self, name: str) -> int:
        return self.send_signal(name, signal.SIGKILL)

    def send_signal(self, name: str, number: signal.Signals) -> int:
        """Sends it to the process of that name; gives the pid that got it."""
        pid = self.process(name)["pid"]
        if pid is None:
            raise Failure(f"{name} has no process now")
        os.kill(pid, number)
        return int(pid)

    @staticmethod
    def send(pid: int, number: signal.Signals) -> None:
        os.kill(pid, number)

    @staticmethod
    def wake(pid: int) -> None:
        """SIGCONT, if it still lives."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    async def pids(self) -> Mapping[str, int]:
        """The pids of all that has a process, by name."""
        status = await asyncio.to_thread(self.status)
        return {found["name"]: found["pid"] for kind in KINDS for found in status[kind] if found["pid"] is not None}

    async def until_gone(self, name: str, pid: int, timeout_s: float = 30.0) -> None:
        """Until `status` knows that this process has ended."""
        until = time.monotonic() + timeout_s
        while (await asyncio.to_thread(self.process, name))["pid"] == pid:
            if time.monotonic() > until:
                raise Failure(f"{name} (pid {pid}) has not ended after {timeout_s:g} s")
            await asyncio.sleep(0.02)

    # ---- health

    async def until_healthy(self, timeout_s: float = 180.0) -> float:
        """Waits until everything is ready, by its own word and by the supervisor's; how long that took."""
        began = time.monotonic()
        async with httpx2.AsyncClient(trust_env=False, timeout=2.0) as http:
            while reasons := await self._unhealthy(http):
                if time.monotonic() - began > timeout_s:
                    raise Failure(f"after {timeout_s:g} s it is not healthy: {'; '.join(reasons)}")
                await asyncio.sleep(POLL_S)
        return time.monotonic() - began

    async def _unhealthy(self, http: httpx2.AsyncClient) -> list[str]:
        try:
            status = await asyncio.to_thread(self.status)
        except Failure as failure:
            return [str(failure)]
        reasons = [
            f"{process['name']} is {process['state']} ({process['detail']})"
            for kind in KINDS
            for process in status[kind]
            if process["state"] != "ready" or process["pid"] is None
        ]
        if reasons:
            return reasons
        nodes = [node for kind in KINDS[:3] for node in status[kind]]
        answers = await asyncio.gather(*(_not_ready(http, node) for node in nodes))
        return [answer for answer in answers if answer]


async def _not_ready(http: httpx2.AsyncClient, node: Mapping[str, Any]) -> str:
    """Why this node is not all right; degraded is not all right here."""
    try:
        answer = await http.get(f"{node['ops']}/readyz")
    except httpx2.HTTPError as error:
        return f"{node['name']} does not answer ({type(error).__name__})"
    told = answer.json()
    wrong = {**told["reasons"], **told["degraded"]}
    return f"{node['name']}: {wrong}" if wrong or not told["ready"] else ""


@asynccontextmanager
async def stack_of(shape: Shape, data: Path, port_base: int) -> AsyncIterator[Stack]:
    """Started anew on an empty or an earlier folder; ended at the end."""
    stack = Stack(shape, data, port_base)
    async with AsyncExitStack() as stack_of_contexts:
        enter = stack_of_contexts.enter_async_context
        if shape.mongodb_disk_mib:
            await asyncio.to_thread(Folder.at(data).take)
            stack.disk_problem = await enter(small_disk(data / "mongodb", shape.mongodb_disk_mib))
        if shape.proxied:
            stack.links = await enter(Links(stack.pids))
            for name, target in wiring.targets(port_base, shape.numbers).items():
                await stack.links.add(name, wiring.proxy_of(port_base, name), target)
        stack_of_contexts.push_async_callback(stack.down)
        await stack.up()
        await stack.until_healthy()
        yield stack
