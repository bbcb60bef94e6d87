"""Sessions begin and end; the newest of a device wins, wherever the older one is.

Guarantees: a session that was opened is durable and its welcome is right: the cursor is dropped if it is of other data,
and the heads are those of everything that a cursor of the client is behind of. The session that it replaced is told to
end if its node is alive; no login waits for that, or is refused because a node is dead. Everybody who watches hears of
both through the broadcast.

Does not know: who watches whom, what an access node does with an eviction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Protocol, Self

from protos.tidings.internal.v1 import access_pb2, delivery_pb2, logic_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.clock import Clock
from services.common.errors import TidingsError, to_fault
from services.common.ids import BROADCAST, hash64
from services.common.lane import Lanes
from services.common.registry.contract import NodeRecord
from services.common.rpc.contract import PeersPort
from services.common.telemetry import logs, metrics
from services.common.wire.close import REPLACED, CloseReason
from services.logic.publisher import Publication, Publisher
from services.logic.router import Outgoing
from services.logic.storage_client import StorageClient

EVICT = "/tidings.internal.v1.Access/Evict"
EVICT_TRIES = 2
EVICT_LANES = 4
EVICT_WAITING_MAX = 10_000
EVICT_BATCH = 500

log = logs.get_logger(__name__)


class LiveNodes(Protocol):
    """What is needed of the cluster (services.common.cluster.Cluster)."""

    @property
    def boots(self) -> frozenset[str]: ...

    def node(self, name: str) -> NodeRecord | None: ...

    def alive(self, boot_id: str) -> bool: ...


class Sessions:
    """Batches of sessions that begin or end, and the operator's kicks. An async context manager."""

    def __init__(
        self,
        storage: StorageClient,
        publisher: Publisher,
        cluster: LiveNodes,
        peers: PeersPort,
        clock: Clock,
        *,
        devices_max: int,
        evict_timeout_s: float,
    ) -> None:
        self._storage = storage
        self._publisher = publisher
        self._cluster = cluster
        self._peers = peers
        self._clock = clock
        self._devices_max = devices_max
        self._evict_timeout_s = evict_timeout_s
        # A node that does not answer delays only its own lane.
        self._evictions: Lanes[pb.SessionRecord, None] = Lanes(
            "evict", self._evict_replaced, lanes=EVICT_LANES, capacity=EVICT_WAITING_MAX, batch_max=EVICT_BATCH
        )

    async def __aenter__(self) -> Self:
        await self._evictions.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._evictions.__aexit__(kind, error, traceback)

    async def open(self, items: Sequence[logic_pb2.OpenItem]) -> list[logic_pb2.OpenOutcome]:
        now_ms = self._clock.wall_ms()
        outcomes = await self._storage.open(
            [
                pb.SessionItem(record=_record(item, now_ms), devices_max=self._devices_max, cursor=item.cursor)
                for item in items
            ],
            self._cluster.boots,
        )
        opened = [
            (item, outcome)
            for item, outcome in zip(items, outcomes, strict=True)
            if not isinstance(outcome, TidingsError)
        ]
        self._announce(
            delivery_pb2.SessionChange(
                user=item.user, session=item.session, node=item.node, boot_id=item.boot_id, up=True, time_ms=now_ms
            )
            for item, _ in opened
        )
        for item, outcome in opened:
            if outcome.replaced.session not in {"", item.session}:
                self._replace(outcome.replaced)
        return [
            logic_pb2.OpenOutcome(fault=to_fault(outcome))
            if isinstance(outcome, TidingsError)
            else _welcome(item, outcome)
            for item, outcome in zip(items, outcomes, strict=True)
        ]

    async def close(self, items: Sequence[logic_pb2.CloseItem]) -> None:
        """Raises if storage could not take all of it: the call is repeated."""
        now_ms = self._clock.wall_ms()
        self._announce(
            delivery_pb2.SessionChange(
                user=item.user, session=item.session, boot_id=item.boot_id, up=False, time_ms=now_ms
            )
            for item in items
        )
        outcomes = await self._storage.close(
            [pb.SessionCloseItem(user=item.user, device=item.device, session=item.session) for item in items]
        )
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def evict(self, sessions: Iterable[pb.SessionRecord], why: CloseReason, message: str = "") -> int:
        """Ends these sessions on the nodes that are alive; how many were there."""
        by_node: dict[str, list[pb.SessionRecord]] = {}
        for session in sessions:
            node = self._cluster.node(session.node)
            if node is not None and node.boot_id == session.boot_id:
                by_node.setdefault(session.node, []).append(session)
        if not by_node:
            return 0
        async with asyncio.TaskGroup() as group:
            calls = [
                group.create_task(self._evict_on(node, told, why, message), name="evict")
                for node, told in by_node.items()
            ]
        evicted = sum(call.result() for call in calls)
        metrics.EVICTIONS.labels(why.label).inc(evicted)
        return evicted

    async def _evict_on(self, name: str, sessions: Sequence[pb.SessionRecord], why: CloseReason, message: str) -> int:
        batch = access_pb2.EvictBatch(
            evictions=[
                access_pb2.Eviction(
                    user=session.user, session=session.session, code=why.code, message=message or why.message
                )
                for session in sessions
            ]
        )
        for _ in range(EVICT_TRIES):
            node = self._cluster.node(name)
            if node is None or node.boot_id != sessions[0].boot_id:
                return 0
            try:
                outcome = await self._peers.call(
                    EVICT, batch, access_pb2.EvictOutcome, node=node, timeout_s=self._evict_timeout_s
                )
                return outcome.evicted
            except TidingsError as error:
                log.warning("eviction failed", node=name, sessions=len(sessions), code=error.code)
        return 0

    def _replace(self, session: pb.SessionRecord) -> None:
        try:
            self._evictions.offer(hash64(session.node), session, _nothing)
        except TidingsError:
            log.warning("eviction left out", node=session.node)

    async def _evict_replaced(self, sessions: Sequence[pb.SessionRecord]) -> Sequence[None]:
        await self.evict(sessions, REPLACED)
        return [None] * len(sessions)

    def _announce(self, changes: Iterable[delivery_pb2.SessionChange]) -> None:
        """Nobody waits for it: it is in the backlog if Kafka is away."""
        body = delivery_pb2.SessionChanges(changes=changes)
        if body.changes:
            outgoing = Outgoing(kind=delivery_pb2.Push.SESSIONS, body=body.SerializeToString())
            self._publisher.offer(Publication([outgoing]))


def _nothing(_: TidingsError | None) -> None:
    """Nobody waits for the outcome."""


def _record(item: logic_pb2.OpenItem, now_ms: int) -> pb.SessionRecord:
    return pb.SessionRecord(
        user=item.user,
        device=item.device,
        kind=item.kind,
        session=item.session,
        node=item.node,
        boot_id=item.boot_id,
        since_ms=now_ms,
        client=item.client,
        address=item.address,
    )


def _welcome(item: logic_pb2.OpenItem, outcome: pb.SessionOpenOutcome) -> logic_pb2.OpenOutcome:
    """What the client's cursors mean for the data that is here."""
    other_data = bool(item.epoch) and item.epoch != outcome.epoch
    reset = other_data or item.cursor > outcome.inbox_head
    held = {} if reset else item.group_cursors
    heads = {
        record.conversation: record.head for record in outcome.large if record.head > held.get(record.conversation, 0)
    }
    return logic_pb2.OpenOutcome(
        inbox_head=outcome.inbox_head,
        epoch=outcome.epoch,
        reset=reset,
        group_heads=heads,
        large_groups=[record.conversation for record in outcome.large if record.conversation != BROADCAST],
    )
