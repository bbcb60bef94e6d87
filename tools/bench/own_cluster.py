"""A cluster that a measurement starts for itself, and that is removed with all its data when it is done."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tidings_server
from tools.cli.failure import Failure

PROGRAM = tidings_server.program("tools.cli.main")
COMMAND_S = 600.0


@dataclass(frozen=True, slots=True)
class OwnCluster:
    """A local stack in a folder of its own, on ports of its own."""

    data: Path
    port_base: int

    @contextmanager
    def removed_after(self) -> Iterator[None]:
        """Whatever happens inside, nothing of the cluster is left when it is over."""
        try:
            yield
        finally:
            self.command("down", "--purge", check=False)

    def up(self, access: int = 1) -> float:
        """Starts it with one logic and one storage node: the seconds until all is ready. Raises Failure."""
        began = time.monotonic()
        numbers = ("--access", str(access), "--logic", "1", "--storage", "1")
        self.command("up", "--port-base", str(self.port_base), *numbers, "--detach")
        return time.monotonic() - began

    def command(self, *arguments: str, check: bool = True) -> None:
        """A command of `tidings` on this cluster. Raises Failure if it fails and `check` is set."""
        done = subprocess.run(
            (*PROGRAM, *arguments, "--data", str(self.data)),
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        if check and done.returncode:
            raise Failure(f"`tidings {' '.join(arguments)}` failed: {done.stderr.strip().removeprefix('error: ')}")
