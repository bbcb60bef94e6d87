"""A node that keeps no state of its own (logic, storage) in the registry: ready while it is entered.

Guarantees: entering registers the node as ready, so enter it last, when all else is up; it waits at most `timeout_s`.
Leaving takes it out of the ring and gives the others `SETTLE_S` to see that, while the node still serves. When its
lease was lost, others have taken over: it comes back as a new boot.

Does not know: what the node does. Access nodes have more to do when they come back (their mailbox).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from services.common.registry.contract import NodeRecord, Registry
from services.common.scope import Owned, TaskScope
from services.common.telemetry import logs
from tidings_protocol.errors import Unavailable
from tidings_protocol.ids import new_id

SETTLE_S = 0.25

log = logs.get_logger(__name__)


class StatelessRegistration(Owned):
    """An async context manager within the registry's."""

    def __init__(self, registry: Registry, record: NodeRecord, *, timeout_s: float = 30.0) -> None:
        self._registry = registry
        self._record = replace(record, state="ready")
        self._timeout_s = timeout_s
        self._scope = TaskScope()

    @property
    def record(self) -> NodeRecord:
        """This node as the others see it."""
        return self._record

    async def _running(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._registry.register(self._record)
        except TimeoutError:
            raise Unavailable(
                f"the registry (etcd) did not answer within {self._timeout_s:g} s: start it, or correct etcd_endpoints"
            ) from None
        async with self._scope:
            self._scope.spawn(self._stay(), name="registration")
            yield
        await self._leave()

    async def _stay(self) -> None:
        while True:
            await self._registry.lost.wait()
            self._record = replace(self._record, boot_id=new_id())
            log.warning("node comes back as a new boot", reason=self._registry.lost_because, boot=self._record.boot_id)
            await self._registry.register(self._record)

    async def _leave(self) -> None:
        self._record = replace(self._record, state="draining")
        try:
            await self._registry.update(self._record)
        except Unavailable:
            return
        await asyncio.sleep(SETTLE_S)
