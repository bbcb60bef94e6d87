"""The forwarder: sends parcels to other access nodes, that is to visitors' nodes and once more to new owners.

The parcels go through the mailboxes of those nodes. While Kafka does not take them they go by call, at once. Some
pushes must arrive, since no heartbeat shows that they are missing (common/bus/lasting.py). If such a push was not taken
by call either, it is kept, and tried both ways until it can be sent.

Guarantees: each target gets one record for each batch, in the order in which batches came, on either way. A push that
must arrive does arrive unless that boot of the target ends, this node does, or more than `LASTING_BYTES_MAX`
waits (it is counted; the target's own comparison of its index then repairs memberships). Any other push that cannot be
sent in time, or waits behind too much, is dropped and counted: the clients find the gap at their next heartbeat.

Does not know: who is to get what (mail_router.py decides).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, NamedTuple

from protos.tidings.internal.v1 import delivery_pb2
from services.access.delivery.mail_router import Split
from services.common.bus.contract import Bus, Record
from services.common.bus.lasting import LASTING_KINDS
from services.common.lanes.lane import Lanes
from services.common.parcel_calls import Errand, ParcelCalls
from services.common.registry.contract import NodeIncarnation, NodeRecord
from services.common.scope import Owned, TaskScope
from services.common.telemetry import logs, metrics
from tidings_protocol.errors import TidingsError, Unavailable

WAITING_MAX: Final = 2000
BATCH_MAX: Final = 64
# Receivers wait for it: after that the parcels go by call.
PUBLISH_S: Final = 0.5
PROBE_S: Final = 0.5
LASTING_BYTES_MAX: Final = 8 * 1024 * 1024
LASTING_BATCH: Final = 64

log = logs.get_logger(__name__)


class Letter(NamedTuple):
    """A parcel on its way; `lasting` is the part of it that must arrive, encoded, and empty if there is none."""

    target: NodeIncarnation
    mailbox: int
    parcel: bytes
    lasting: bytes


class Forwarder(Owned):
    """Sends while it is entered; `node` gives the record of a node that is alive."""

    def __init__(
        self,
        bus: Bus,
        calls: ParcelCalls,
        *,
        topic: str,
        node: Callable[[str], NodeRecord | None],
        probe_s: float = PROBE_S,
    ) -> None:
        self._bus = bus
        self._calls = calls
        self._topic = topic
        self._node = node
        self._probe_s = probe_s
        self._away = asyncio.Event()
        self._returned = False  # Kafka, just now
        self._kept: deque[Letter] = deque()
        self._kept_bytes = 0
        self._lanes: Lanes[list[Letter], None] = Lanes(
            "forward", self._carry, lanes=1, capacity=WAITING_MAX, batch_max=BATCH_MAX
        )
        self._scope = TaskScope()

    async def _running(self) -> AsyncIterator[None]:
        async with self._scope:
            self._scope.spawn(self._recover(), name="forward recovery")
            async with self._lanes:
                yield

    def send(self, batch: Split) -> None:
        """Sends what of this batch goes to other nodes; returns at once."""
        letters: list[Letter] = []
        recipients = 0
        for target, parcels in batch.forwarded.items():
            self._address(target, parcels, letters)
        for (owner, _), parcels in batch.rerouted.items():
            recipients += sum(len(push.users) for parcel in parcels for push in parcel.pushes)
            self._address(owner, parcels, letters)
        if batch.dropped:
            metrics.REROUTED.labels("gave_up").inc(batch.dropped)
        if not letters:
            return

        def done(outcome: TidingsError | None) -> None:
            if recipients:
                metrics.REROUTED.labels("lost" if isinstance(outcome, TidingsError) else "sent").inc(recipients)

        try:
            self._lanes.offer(0, letters, done)
        except TidingsError as error:
            self._keep(letters)
            done(error)

    def _address(self, target: NodeIncarnation, parcels: Sequence[delivery_pb2.Parcel], letters: list[Letter]) -> None:
        record = self._node(target.node)
        if record is None or record.boot_id != target.boot_id or record.mailbox is None:
            return
        mailbox = record.mailbox
        letters.extend(Letter(target, mailbox, parcel.SerializeToString(), _lasting(parcel)) for parcel in parcels)

    # ---- the two ways

    async def _carry(self, batches: list[list[Letter]]) -> Sequence[TidingsError | None]:
        letters = [letter for batch in batches for letter in batch]
        if not self._away.is_set():
            if self._returned:
                await self._calls.quiet(PUBLISH_S)  # nothing overtakes what went by call
                self._returned = False
            if await self._publish(letters):
                self._call_the_deaf(letters)
                return [None] * len(batches)
            self._away.set()
        missed = set(map(id, await self._call(letters)))
        self._keep([letter for letter in letters if id(letter) in missed])
        lost = Unavailable("neither Kafka nor the node itself takes it")
        return [lost if any(id(letter) in missed for letter in batch) else None for batch in batches]

    async def _publish(self, letters: Sequence[Letter]) -> bool:
        records = [Record(self._topic, letter.parcel, partition=letter.mailbox) for letter in letters]
        try:
            async with asyncio.timeout(PUBLISH_S):
                await self._bus.publish(records)
        except (TidingsError, TimeoutError) as error:
            if not self._away.is_set():
                log.info("parcels go by call: kafka does not take them", reason=str(error))
            return False
        return True

    def _call_the_deaf(self, letters: Sequence[Letter]) -> None:
        """Calls the nodes that say that they do not hear Kafka; they read the record once they do."""
        for letter in letters:
            record = self._node(letter.target.node)
            if record is not None and record.deaf:
                self._calls.offer(Errand(letter.target.node, letter.target.boot_id, letter.parcel))

    async def _call(self, letters: Sequence[Letter]) -> list[Letter]:
        """Sends the letters by call; those that were not taken."""
        outcomes = await asyncio.gather(*(self._call_one(letter) for letter in letters))
        return [letter for letter, taken in zip(letters, outcomes, strict=True) if not taken]

    def _call_one(self, letter: Letter) -> asyncio.Future[bool]:
        outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def done(taken: bool) -> None:
            if not outcome.done():
                outcome.set_result(taken)

        self._calls.offer(Errand(letter.target.node, letter.target.boot_id, letter.parcel), done)
        return outcome

    # ---- what could not be sent

    def _keep(self, letters: Sequence[Letter]) -> None:
        """Keeps what of these letters must arrive."""
        for letter in letters:
            if letter.lasting:
                self._kept.append(letter._replace(parcel=letter.lasting))
                self._kept_bytes += len(letter.lasting)
            else:
                metrics.FORWARDS_LOST.inc()
        while self._kept_bytes > LASTING_BYTES_MAX:
            self._kept_bytes -= len(self._kept.popleft().lasting)
            metrics.FORWARDS_LOST.inc()
        if letters:
            self._away.set()

    async def _recover(self) -> None:
        while True:
            await self._away.wait()
            await asyncio.sleep(self._probe_s)
            while await self._try_again():
                if not self._kept:
                    self._returned = True
                    self._away.clear()
                    break

    async def _try_again(self) -> bool:
        """Sends some of what is kept, if it can; whether Kafka takes records."""
        taken = [self._kept.popleft() for _ in range(min(LASTING_BATCH, len(self._kept)))]
        self._kept_bytes -= sum(len(letter.lasting) for letter in taken)
        letters = [letter for letter in taken if self._is_there(letter.target)]
        if await self._publish(letters or [Letter(NodeIncarnation("", ""), 0, b"", b"")]):
            return True
        missed = await self._call(letters)
        self._kept.extendleft(reversed(missed))
        self._kept_bytes += sum(len(letter.lasting) for letter in missed)
        return False

    def _is_there(self, target: NodeIncarnation) -> bool:
        record = self._node(target.node)
        return record is not None and record.boot_id == target.boot_id


def _lasting(parcel: delivery_pb2.Parcel) -> bytes:
    pushes = [push for push in parcel.pushes if push.kind in LASTING_KINDS]
    if not pushes:
        return b""
    part = delivery_pb2.Parcel(
        node=parcel.node, boot_id=parcel.boot_id, hops=parcel.hops, direct=parcel.direct, pushes=pushes
    )
    return part.SerializeToString()
