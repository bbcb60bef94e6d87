"""Sessions begin and end; which of a device's is the newest, storage decides.

Guarantees: a session that was opened is durable and its welcome is right: the cursor is dropped if it is of other data,
the heads are those of everything that a cursor of the client is behind of, and groups that the user is not in any more
are named. Those that it replaced are named too: its access node ends them when it welcomes the new one, so that a login
that nobody waits for any more ends nobody. A login in the name of a boot that is not alive is refused: the session
would count as offline, and its node has sent the client elsewhere or will do so; that lasts for no longer than the
registry's news take, and nobody is refused while the registry is away. Everybody who watches hears of what began when
it is durable, of what ended when its record is gone, through the broadcast, where news gather for a moment.

Does not know: who watches whom, what an access node does with an eviction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from protos.tidings.internal.v1 import access_pb2, delivery_pb2, logic_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.clock import Clock
from services.common.cluster import ClusterView
from services.common.lanes.entered import LaneHolder
from services.common.lanes.lane import Lanes
from services.common.rpc.contract import PeersPort
from services.common.rpc.faults import to_fault
from services.common.scope import run_all
from services.common.telemetry import logs, metrics
from services.logic.publishing.parcels import OutgoingPush
from services.logic.publishing.publisher import Publisher
from services.logic.publishing.records import Publication
from services.logic.storage_client import StorageClient
from tidings_protocol.close import CloseReason
from tidings_protocol.errors import BadRequest, TidingsError, Unavailable
from tidings_protocol.ids import BROADCAST, ConversationKind, check_conversation, slot_of

EVICT = "/tidings.internal.v1.Access/Evict"
EVICT_TRIES: Final = 2
# How long a login waits for the registry to tell of its node, which may have registered a moment ago.
NEWS_WAIT_S: Final = 0.3
NEWS_RETRY_MS: Final = 300
HELD_MAX: Final = 1000
# Each batch of news is a record that all access nodes read.
GATHER_S: Final = 0.1
NEWS_MAX: Final = 1000
NEWS_WAITING_MAX: Final = 100_000

log = logs.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How many sessions a user may have, and how long logins and kicks wait.

    `devices_max`: sessions of one user at once. `evict_timeout_s`: of one call to an access node. `news_wait_s`: how
    long a login waits for the registry to tell of its node.
    """

    devices_max: int
    evict_timeout_s: float
    news_wait_s: float = NEWS_WAIT_S


class ConnectedRegistry(Protocol):
    """What is needed of the registry (services.common.registry.contract.Registry)."""

    @property
    def connected(self) -> bool: ...


class ClientSessions(LaneHolder):
    """Begins and ends batches of sessions, and makes the operator's kicks, while it is entered."""

    def __init__(
        self,
        storage: StorageClient,
        publisher: Publisher,
        cluster: ClusterView,
        registry: ConnectedRegistry,
        peers: PeersPort,
        clock: Clock,
        options: SessionOptions,
    ) -> None:
        self._storage = storage
        self._publisher = publisher
        self._cluster = cluster
        self._registry = registry
        self._peers = peers
        self._clock = clock
        self._options = options
        self._news: Lanes[delivery_pb2.SessionChange, None] = Lanes(
            "news",
            self._publish,
            lanes=1,
            capacity=NEWS_WAITING_MAX,
            batch_max=NEWS_MAX,
            gather_s=GATHER_S,
        )

    def _parts(self) -> Iterable[AbstractAsyncContextManager[Any]]:
        return (self._news,)

    async def open(self, items: Sequence[logic_pb2.OpenItem]) -> list[logic_pb2.OpenOutcome]:
        """An outcome for each item, in their order; a fault says why a session did not begin.

        Raises nothing for the sake of an item. After a cancellation any of the sessions may have begun.
        """
        dead = await self._dead_boots({item.boot_id for item in items})
        refused = Unavailable("the node of this connection is not in the cluster now: connect again", NEWS_RETRY_MS)
        alive = [item for item in items if item.boot_id not in dead]
        outcomes = iter(await self._open(alive) if alive else ())
        return [
            logic_pb2.OpenOutcome(fault=to_fault(refused)) if item.boot_id in dead else _outcome(item, next(outcomes))
            for item in items
        ]

    async def _open(self, items: Sequence[logic_pb2.OpenItem]) -> list[pb.SessionOpenOutcome | TidingsError]:
        now_ms = self._clock.wall_ms()
        outcomes = await self._storage.open(
            [
                pb.SessionItem(
                    record=_record(item, now_ms),
                    devices_max=self._options.devices_max,
                    cursor=item.cursor,
                    again=item.again,
                    groups=_groups(item),
                )
                for item in items
            ],
            self._cluster.boots,
        )
        self._announce(
            delivery_pb2.SessionChange(user=item.user, up=True, time_ms=now_ms)
            for item, outcome in zip(items, outcomes, strict=True)
            if not isinstance(outcome, TidingsError) and not outcome.HasField("newer")
        )
        return outcomes

    async def _dead_boots(self, boots: set[str]) -> set[str]:
        """The boots that the registry does not know, also after a moment."""
        dead = {boot_id for boot_id in boots if not self._cluster.alive(boot_id)}
        if not dead or not self._registry.connected:
            return set()
        try:
            async with asyncio.timeout(self._options.news_wait_s):
                while dead:
                    await self._cluster.changed()
                    dead = {boot_id for boot_id in dead if not self._cluster.alive(boot_id)}
        except TimeoutError:
            pass
        return dead

    async def close(self, items: Sequence[logic_pb2.CloseItem]) -> list[TidingsError | None]:
        """The error of each item, in their order: those with one are to be closed again; None: the session is gone."""
        outcomes = await self._storage.close(
            [pb.SessionCloseItem(user=item.user, device=item.device, session=item.session) for item in items]
        )
        now_ms = self._clock.wall_ms()
        self._announce(
            delivery_pb2.SessionChange(user=item.user, up=False, time_ms=now_ms)
            for item, outcome in zip(items, outcomes, strict=True)
            if outcome is None
        )
        return outcomes

    async def held(self, query: logic_pb2.HeldQuery) -> logic_pb2.HeldPage:
        """The sessions that are stored under a boot id, by pages. Raises TidingsError."""
        page = await self._storage.sessions_under(
            slot_of(query.boot_id),
            pb.BootQuery(
                boot_id=query.boot_id,
                after_user=query.after_user,
                after_device=query.after_device,
                limit=min(query.limit or HELD_MAX, HELD_MAX),
            ),
        )
        return logic_pb2.HeldPage(
            sessions=[
                logic_pb2.HeldSession(user=each.user, device=each.device, session=each.session)
                for each in page.sessions
            ],
            more=page.more,
        )

    async def evict(self, sessions: Iterable[pb.SessionRecord], why: CloseReason, message: str = "") -> int:
        """Ends these sessions on the nodes that are alive; gives how many were there.

        Raises nothing: a node that does not answer counts as none. A cancellation leaves some of them ended.
        """
        by_node: dict[str, list[pb.SessionRecord]] = {}
        for session in sessions:
            node = self._cluster.node(session.node)
            if node is not None and node.boot_id == session.boot_id:
                by_node.setdefault(session.node, []).append(session)
        if not by_node:
            return 0
        evicted = sum(await run_all(*(self._evict_on(node, told, why, message) for node, told in by_node.items())))
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
                    EVICT, batch, access_pb2.EvictOutcome, node=node, timeout_s=self._options.evict_timeout_s
                )
                return outcome.evicted
            except TidingsError as error:
                log.warning("eviction failed", node=name, sessions=len(sessions), code=error.code)
        return 0

    def _announce(self, changes: Iterable[delivery_pb2.SessionChange]) -> None:
        """Tells all access nodes in a moment, and does not wait: the news is in the backlog if Kafka is away."""
        for change in changes:
            try:
                self._news.offer(0, change)
            except TidingsError as error:
                log.warning("the news of a session is lost", user=change.user, code=error.code)

    async def _publish(self, changes: list[delivery_pb2.SessionChange]) -> Sequence[None]:
        body = delivery_pb2.SessionChanges(changes=changes)
        outgoing = OutgoingPush(kind=delivery_pb2.Push.SESSIONS, body=body.SerializeToString())
        self._publisher.offer(Publication([outgoing]))
        return [None] * len(changes)


def _record(item: logic_pb2.OpenItem, now_ms: int) -> pb.SessionRecord:
    return pb.SessionRecord(
        user=item.user,
        device=item.device,
        kind=item.kind,
        session=item.session,
        node=item.node,
        boot_id=item.boot_id,
        since_ms=item.since_ms or now_ms,
        client=item.client,
        attempt=item.attempt,
        address=item.address,
    )


def _groups(item: logic_pb2.OpenItem) -> list[str]:
    """The groups of the item's cursors; what cannot be a group is passed over."""
    return [each for each in item.group_cursors if _is_group(each)]


def _is_group(conversation: str) -> bool:
    try:
        return check_conversation(conversation) is ConversationKind.GROUP
    except BadRequest:
        return False


def _outcome(item: logic_pb2.OpenItem, outcome: pb.SessionOpenOutcome | TidingsError) -> logic_pb2.OpenOutcome:
    if isinstance(outcome, TidingsError):
        return logic_pb2.OpenOutcome(fault=to_fault(outcome))
    if outcome.HasField("newer"):
        return logic_pb2.OpenOutcome(newer=outcome.newer.session, newer_attempt=outcome.newer.attempt)
    return _welcome(item, outcome)


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
        replaced=[
            logic_pb2.SessionPlace(session=each.session, node=each.node, boot_id=each.boot_id)
            for each in (outcome.replaced, *outcome.replaced_before)
            if each.session not in {"", item.session}
        ],
        left_groups=outcome.left,
    )
