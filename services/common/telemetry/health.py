"""Health: named checks of one node and whether it should get work.

A check is ready, degraded (works, but less well: Kafka is away and messages come with the next heartbeat) or failed
(the node cannot do its work). Only a failed one, or a drain, makes the node unready.

Does not know: who asks, and what a check means.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.common.telemetry import metrics


@dataclass(frozen=True, slots=True)
class Check:
    ok: bool
    reason: str
    degraded: bool


class Health:
    """Checks by name. A node is not ready before its first `started()`."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {"start": Check(ok=False, reason="the node is starting", degraded=False)}

    def started(self) -> None:
        """Everything is up: from now on the checks alone decide."""
        self._checks.pop("start", None)

    def set(self, name: str, ok: bool, reason: str = "", *, degraded: bool = False) -> None:
        """What a check says now; `degraded` with `ok` False means that the node still gets work."""
        self._checks[name] = Check(ok=ok, reason=reason, degraded=degraded)
        metrics.DEGRADED.labels(name).set(0 if ok else 1)

    @property
    def ready(self) -> bool:
        return all(check.ok or check.degraded for check in self._checks.values())

    @property
    def failed(self) -> dict[str, str]:
        """Reasons why the node is not ready, by check."""
        return {name: check.reason for name, check in self._checks.items() if not check.ok and not check.degraded}

    @property
    def degraded(self) -> dict[str, str]:
        """What works less well, by check."""
        return {name: check.reason for name, check in self._checks.items() if not check.ok and check.degraded}
