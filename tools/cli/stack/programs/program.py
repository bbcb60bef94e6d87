"""What the supervisor must know of anything it runs: how it starts, whether it is ready, how long it may stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class NotReadyError(Exception):
    """It does not answer as it should yet; the text says how.

    `draining`: it said that it is on its way out. `silent`: it said nothing, so it may just be slow.
    """

    def __init__(self, reason: str, *, draining: bool = False, silent: bool = False) -> None:
        super().__init__(reason)
        self.draining = draining
        self.silent = silent


class Program(Protocol):
    """A process of the stack."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str:
        """access, logic, storage or backend."""

    @property
    def addresses(self) -> Mapping[str, str]:
        """What `status` shows beside name, pid and state."""

    @property
    def stop_timeout_s(self) -> float:
        """The time from SIGTERM to SIGKILL."""

    def prepare(self) -> None:
        """Write what it needs before it starts; may block. Raises Failure."""

    def command(self) -> Sequence[str]: ...

    def environment(self) -> Mapping[str, str]:
        """The whole environment of the process, but for the stack's own mark."""

    async def probe(self) -> None:
        """Ask it whether it is ready. Raises NotReadyError."""

    def advice(self, last_lines: Sequence[str]) -> str:
        """What to do when it does not start, as far as its log tells."""


def plain_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of the backends: without the settings of the cluster, which are none of their business."""
    return {name: value for name, value in environment.items() if not name.startswith("TIDINGS_")}
