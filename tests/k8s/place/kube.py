"""kubectl as the tests use it: one cluster by its KUBECONFIG, one namespace.

Guarantees: what kubectl says of a failure is in the error. Does not know: Tidings.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND_S = 300.0
POLL_S = 0.5
NAMESPACE = "tidings"


class KubeFailed(Exception):
    """kubectl failed, or what it was waited for did not come; the text says what."""


@dataclass(frozen=True, slots=True)
class Kube:
    """`program`: kubectl; the cluster is the one that its environment means."""

    program: str
    namespace: str = NAMESPACE

    async def run(self, *arguments: str, given: str = "", timeout_s: float = COMMAND_S) -> str:
        """Runs a command; gives its output. Raises KubeFailed."""
        process = await asyncio.create_subprocess_exec(
            self.program, "--namespace", self.namespace, *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        try:
            async with asyncio.timeout(timeout_s):
                out, err = await process.communicate(given.encode())
        except TimeoutError:
            process.kill()
            await process.wait()
            raise KubeFailed(f"kubectl {' '.join(arguments)} took longer than {timeout_s:g} s") from None
        if process.returncode:
            raise KubeFailed(f"kubectl {' '.join(arguments)}: {err.decode().strip() or out.decode().strip()}")
        return out.decode()

    async def get(self, *arguments: str) -> Any:
        """What `kubectl get` finds, as it is."""
        return json.loads(await self.run("get", *arguments, "--output=json"))

    async def items(self, *arguments: str) -> list[Any]:
        found: list[Any] = (await self.get(*arguments))["items"]
        return found

    async def until(
        self, there: Callable[[], Awaitable[str]], timeout_s: float, say: Callable[[str], None] | None = None
    ) -> float:
        """Until `there` has nothing more to miss (""); how long that took. Raises KubeFailed with what is missing."""
        began, told = time.monotonic(), ""
        while missing := await there():
            if time.monotonic() - began > timeout_s:
                raise KubeFailed(f"after {timeout_s:g} s: {missing}")
            if say is not None and missing != told:
                say(missing)
                told = missing
            await asyncio.sleep(POLL_S)
        return time.monotonic() - began


def program() -> str:
    """The kubectl of this environment, or the one on PATH."""
    own = Path(sys.executable).with_name("kubectl")
    chosen = os.environ.get("KUBECTL") or (str(own) if own.exists() else shutil.which("kubectl"))
    if chosen is None:
        raise KubeFailed("kubectl is not there: run `make setup`")
    return chosen
