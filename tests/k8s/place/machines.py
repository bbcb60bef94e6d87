"""The machines of a lab, by its own script: power and network. Other clusters have no such thing.

Does not know: what runs on them.
"""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE, STDOUT
from dataclasses import dataclass
from pathlib import Path

from tests.k8s.place.kube import KubeFailed


@dataclass(frozen=True, slots=True)
class Machines:
    """`node.sh` of the lab: the machine that Kubernetes calls node2 has the number 2."""

    script: Path

    async def power_cut(self, machine: str) -> None:
        await self._do("kill", machine)

    async def start(self, machine: str) -> None:
        await self._do("start", machine)

    async def cut(self, machine: str) -> None:
        """Cuts the machine off from everything else."""
        await self._do("cut", machine)

    async def join(self, machine: str) -> None:
        await self._do("join", machine)

    @property
    def via(self) -> tuple[str, ...]:
        """Runs a command in the lab's network, in this folder."""
        return "bash", str(self.script), "lab", "env", "-C", str(Path.cwd())

    async def _do(self, what: str, machine: str) -> None:
        number = machine.removeprefix("node")
        process = await asyncio.create_subprocess_exec(
            "bash", str(self.script), what, number, stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=STDOUT
        )
        out, _ = await process.communicate()
        if process.returncode:
            raise KubeFailed(f"{self.script.name} {what} {number}: {out.decode().strip()}")
