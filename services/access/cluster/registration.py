"""This node in the registry: its name and boot, its mailbox, its state.

Theory of operation. A node registers as `starting` (that gives it a lease), checks the number of mailboxes that the
cluster was made with, claims a free mailbox under its lease, begins to read it, and only then becomes `ready`: from
then on it is in the ring, and nothing that is routed to it can be missed. `draining` takes it out of the ring.

When the lease has run out (the process was blocked, or cut off), others have taken over. The node then comes back as
a new boot: a new lease, a mailbox claimed anew.

Guarantees: two nodes never hold one mailbox; a node with another number of mailboxes than the cluster's does not start.

Does not know: etcd, Kafka, what is in the mailbox.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from services.common.registry.contract import NodeIncarnation, NodeRecord, NodeState, Registry
from services.common.telemetry import logs
from tidings_protocol.errors import TidingsError, Unavailable
from tidings_protocol.ids import hash64, new_id

PARTITIONS_KEY = "settings/mailbox_partitions"
CLAIM_PAUSE_S = 1.0

log = logs.get_logger(__name__)


class CannotStart(TidingsError):
    """What the registry says does not fit this node's settings; the message says what to do."""

    code = "SETTINGS"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where this node is reached."""

    rpc: str
    ops: str
    ws: str
    tcp: str


class Registration:
    """Register first, then claim, then `set_state("ready")`."""

    def __init__(
        self, registry: Registry, *, node: str, addresses: Addresses, weight: float, partitions: int, since_ms: int
    ) -> None:
        self._registry = registry
        self._partitions = partitions
        self._record = NodeRecord(
            name=node,
            kind="access",
            boot_id=new_id(),
            rpc=addresses.rpc,
            weight=weight,
            ops=addresses.ops,
            ws=addresses.ws,
            tcp=addresses.tcp,
            since_ms=since_ms,
            columns=True,
        )
        self._registered = False

    @property
    def record(self) -> NodeRecord:
        return self._record

    def me(self) -> NodeIncarnation:
        """This boot of this node, as others name it."""
        return NodeIncarnation(self._record.name, self._record.boot_id)

    @property
    def mailbox(self) -> int:
        """The claimed partition."""
        assert self._record.mailbox is not None
        return self._record.mailbox

    async def begin(self) -> None:
        """Registers and claims. Raises CannotStart, Unavailable."""
        await self._registry.register(self._record)
        self._registered = True
        holds = await self._registry.put_once(PARTITIONS_KEY, str(self._partitions))
        if holds != str(self._partitions):
            raise CannotStart(
                f"mailbox_partitions is {self._partitions}, but this cluster was made with {holds}: start the node "
                f"with {holds} (users would be looked for in the wrong mailboxes)"
            )
        await self._claim()

    async def rejoin(self, *, since_ms: int) -> None:
        """A new boot, after the lease was lost; `starting` until its mailbox is read."""
        self._record = replace(
            self._record, boot_id=new_id(), state="starting", mailbox=self._record.mailbox, since_ms=since_ms
        )
        self._registered = False
        await self._registry.register(self._record)
        self._registered = True
        await self._claim()

    async def set_deaf(self, deaf: bool) -> None:
        """Whether this node does not hear Kafka; the others are told as `set_state` does it."""
        self._record = replace(self._record, deaf=deaf)
        if self._registered:
            await self._tell()

    async def set_state(self, state: NodeState) -> None:
        """Tells the others. While the registry is away it is told as soon as it is back."""
        self._record = replace(self._record, state=state)
        await self._tell()

    async def _tell(self) -> None:
        record = self._record
        try:
            await self._registry.update(record)
        except Unavailable as error:
            log.warning("registry does not answer, it will be told later", state=record.state, error=error.message)

    async def _claim(self) -> None:
        """The mailbox that was held before, if it is free, else the first free one from a place of one's own."""
        value = f"{self._record.name}/{self._record.boot_id}"
        first = self._record.mailbox
        start = hash64(self._record.name) % self._partitions if first is None else first
        while True:
            for step in range(self._partitions):
                number = (start + step) % self._partitions
                if await self._registry.claim(f"mailboxes/{number}", value):
                    self._record = replace(self._record, mailbox=number)
                    log.info("mailbox claimed", mailbox=number)
                    return
            log.warning("all mailboxes are taken: stop an access node, or wait for a dead one's lease to run out")
            await asyncio.sleep(CLAIM_PAUSE_S)
