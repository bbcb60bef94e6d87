"""The whole cluster as processes, started and asked through the `tidings` command only, as an operator would.

Guarantees: `tidings` raises with the command's own words when it fails. Does not know: how the command does it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import jwt

from tests.support.cluster.backends import clean_environment
from tests.support.device.pipes import Address, Way
from tests.support.device.wire import Wire, connect
from tidings_protocol.client_pb2 import Welcome

COMMAND_S = 240.0


@dataclass(slots=True)
class Cluster:
    """One local stack in its data folder. `settings`: TIDINGS_ variables of its nodes."""

    data: Path
    port_base: int
    settings: Mapping[str, str] = field(default_factory=dict)

    def tidings(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs the command on this cluster."""
        program = Path(sys.executable).with_name("tidings")
        done = subprocess.run(
            [program, *arguments, "--data", self.data],
            env={**clean_environment(), **self.settings},
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"tidings {' '.join(arguments)} → {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def asked(self, *arguments: str) -> Any:
        """What the command prints with --json."""
        return json.loads(self.tidings(*arguments, "--json").stdout)

    def up(self, **numbers: int) -> None:
        counts = [part for kind, number in numbers.items() for part in (f"--{kind}", str(number))]
        self.tidings("up", *counts, "--port-base", str(self.port_base), "--detach")
        self.changed()

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.tidings("status", "--json", check=False).stdout)
        return status

    def access(self) -> dict[str, Address]:
        """Access nodes that were ready when this was first asked (or after `changed`), by name."""
        if self._access is None:
            self._access = {
                node["name"]: Address(node["ws"], node["tcp"])
                for node in self.status()["access"]
                if node["state"] == "ready"
            }
        return self._access

    def changed(self) -> None:
        """The nodes are not what they were."""
        self._access = None

    def pid(self, name: str) -> int:
        """The process of a node or a backend."""
        status = self.status()
        every = [*status["access"], *status["logic"], *status["storage"], *status["backends"]]
        return int(next(entry["pid"] for entry in every if entry["name"] == name))

    def token(self, user: str, **claims: Any) -> str:
        """Signed here, with the secret that status tells of; a claim that is None is left out."""
        auth = self.status_once["auth"]
        secret = Path(auth["secret_file"]).read_text(encoding="utf-8").rstrip("\n")
        payload = {"sub": user, "aud": auth["audience"], "exp": int(time.time()) + 3600, **claims}
        return jwt.encode({name: value for name, value in payload.items() if value is not None}, secret, "HS256")

    @property
    def status_once(self) -> dict[str, Any]:
        """The status as it was first seen: the secret and the audience do not change."""
        if self._status is None:
            self._status = self.status()
        return self._status

    _status: dict[str, Any] | None = None
    _access: dict[str, Address] | None = None

    async def home(self, user: str) -> str:
        """The name of the node where this user belongs, as any node says."""
        first = next(iter(self.access().values()))
        async with httpx2.AsyncClient(trust_env=False) as http:
            answer = await http.get(route_url(first), params={"user": user})
        answer.raise_for_status()
        return str(answer.json()["node"])

    @asynccontextmanager
    async def session(
        self, user: str, way: Way = "json", *, device: str = "phone", visiting: bool = False, **hello: Any
    ) -> AsyncIterator[tuple[Wire, Welcome]]:
        """A session on the user's own node, or (visiting) on another one."""
        nodes = self.access()
        home = await self.home(user)
        name = next(node for node in nodes if node != home) if visiting else home
        avoid = [node for node in nodes if node != name]
        token = self.token(user)  # the first one asks the command, which takes its time: a connection waits 5 s for it
        async with connect(nodes[name], way) as wire:
            welcome = await wire.hello(token, device, avoid=avoid, **hello)
            assert welcome.node == name
            yield wire, welcome


def route_url(address: Address) -> str:
    return address.ws.replace("ws://", "http://").replace("/v1/ws", "/v1/route")
