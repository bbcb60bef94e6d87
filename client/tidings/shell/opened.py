"""What there is of a client from its entering on: the device, the shell around it, its calls, its readers' hands."""

from __future__ import annotations

from dataclasses import dataclass

from tidings.core.device import Device
from tidings.shell.calls import Calls
from tidings.shell.engine import Engine
from tidings.shell.hands import Hands


@dataclass(frozen=True, slots=True)
class Opened:
    device: Device
    engine: Engine
    calls: Calls
    hands: Hands

    async def close(self, error: BaseException | None) -> None:
        """Leaves it; `error`: what left the client."""
        self.hands.close(by_error=error is not None)
        await self.engine.__aexit__(type(error) if error else None, error, None)
