"""The wiring of a storage node; reading it shows the service.

    ports, cluster ─▶ storage: the parts that answer (node.py) ─▶ gRPC ─▶ registration, last

    messages, changes ─▶ conversations ─▶ fanout ─▶ inboxes (here, or at the users' owners)
    marks, acknowledgements ─▶ cursors      pages and lists ─▶ pages      logins ─▶ sessions
    parts of streams ─▶ their owner's memory ─▶ keeper: written, ended
    preferences, blocks, profiles ─▶ people
    what is durable ─▶ events ─▶ Kafka
    reactions ─▶ reactions, announced in conversations      entries made here ─▶ telling ─▶ logic nodes
    all that may wait ─▶ write_behind      the time of day, for all of these ◀─ timekeeping

Everything stands on ports, so that a simulation gives the node twins.

Guarantees: the node is in the ring only while it serves. Leaving does what was accepted, then writes what was to be
written behind; after that every conversation is settled.
Does not know: what its ports stand on (app.py).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from services.common.bus.contract import Bus
from services.common.bus.topics import events_topic, make_topics, topic_names
from services.common.clock import Clock
from services.common.cluster import Cluster
from services.common.gatherer import RETRY_S
from services.common.lifecycle import Lifecycle
from services.common.node import DebugState, NodePorts, registered, shown
from services.common.registry.contract import Membership
from services.common.rpc import Router
from services.common.scope import TaskScope
from services.common.telemetry import metrics
from services.common.telemetry.health import Health
from services.storage.admission.admissions import Admissions
from services.storage.admission.circumstances import Circumstances
from services.storage.cursors.acknowledgements import Acknowledgements
from services.storage.cursors.writer import CursorWriter
from services.storage.events.debts import DebtReader
from services.storage.events.encoder import EventEncoder
from services.storage.events.feed import GATHER_S, LAST_TRY_S, EventFeed
from services.storage.events.heartbeat import Heartbeats
from services.storage.folding.recalls import Recalls
from services.storage.hiding.hides import Hides
from services.storage.inboxes.fanout import InboxFanout
from services.storage.inboxes.writer import InboxWriter
from services.storage.limits import Limits
from services.storage.memory.write_behind import WriteBehind
from services.storage.messages.conversations import ConversationStore
from services.storage.node import Storage
from services.storage.owners.invalidation import OwnerInvalidation
from services.storage.owners.peers import StoragePeers
from services.storage.owners.ring_change import KIND, RingChange
from services.storage.owners.rpc_peers import RpcStoragePeers
from services.storage.pages.lists import ConversationLists
from services.storage.pages.loads import ConversationLoads
from services.storage.pages.reader import PageReader
from services.storage.pages.readers import ReadersReader
from services.storage.people.blocks import BlockStore
from services.storage.people.preferences import PreferenceStore
from services.storage.people.profiles import ProfileStore
from services.storage.reactions.reactors import ReactorPages
from services.storage.reactions.store import ReactionStore
from services.storage.repository.contract import Repository
from services.storage.rpc import services
from services.storage.sessions.known import KnownUsers
from services.storage.sessions.sessions import SessionStore
from services.storage.sessions.writer import SessionWriter
from services.storage.settings import StorageSettings
from services.storage.streams.keeper import StreamKeeper
from services.storage.streams.memory import OpenStreams
from services.storage.streams.parts import PartTaker
from services.storage.telling.port import NoTeller, Teller
from services.storage.telling.teller import LogicTeller
from services.storage.upkeep.dissolution import DissolutionSweep
from services.storage.upkeep.expiry import ExpirySweep
from services.storage.upkeep.retention import DAY_MS, Retention, RetentionPolicy
from services.storage.upkeep.session_sweep import SessionSweep
from services.storage.upkeep.timekeeping import Timekeeper
from tidings_protocol.ids import new_id

# The share of the time for a batch in which another node has to append its part: then there is time left to do it in
# that node's place.
PEER_SHARE = 3
# How many logic nodes may fail to answer before an entry is not told.
TELL_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class StoragePorts(NodePorts):
    """What a storage node stands on. Whoever made the ports has entered them, and leaves them."""

    repository: Repository
    bus: Bus | None = None  # None: no events are published


@dataclass(frozen=True, slots=True)
class EventStream:
    """Where events go. `bytes_max`: of what waits in memory; `gather_s`: how long it gathers; `retry_s`: how soon Kafka
    is tried again; `last_try_s`: how long leaving waits for it.
    """

    bus: Bus
    topic: str
    cluster: str
    health: Health
    bytes_max: int
    gather_s: float = GATHER_S
    retry_s: float = RETRY_S
    last_try_s: float = LAST_TRY_S


@asynccontextmanager
async def storage_node(settings: StorageSettings, life: Lifecycle, ports: StoragePorts) -> AsyncIterator[DebugState]:
    """A node on its ports: ready when entered, drained when left. Gives what /debug/state shows."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        cluster = await enter(Cluster(ports.registry))
        peers = RpcStoragePeers(
            ports.peers,
            cluster,
            ports.clock,
            name=settings.node,
            timeout_s=settings.store_budget_s / PEER_SHARE,
            connected=lambda: ports.registry.connected,
        )
        teller = await enter(
            LogicTeller(
                Router(ports.peers, cluster, "logic"),
                lambda slot: cluster.ring("logic").owner(slot),
                timeout_s=settings.rpc_timeout_s,
                budget_s=settings.rpc_timeout_s * TELL_TRIES,
            )
        )
        if ports.bus is not None:
            life.spawn(make_topics(ports.bus, [events_topic(settings)]), name="topics")
        node = await enter(
            open_storage(
                ports.repository,
                peers,
                ports.clock,
                limits_of(settings),
                policy=policy_of(settings),
                sweep_interval_s=settings.session_sweep_interval_s,
                events=_events_of(settings, ports),
                teller=teller,
            )
        )
        stack.callback(cluster.subscribe(_drop_what_is_in_doubt(cluster, settings.node, node)))
        server = await enter(ports.serve(settings.rpc_listen, services(node, life.request_stop)))
        registration = await enter(registered(settings, KIND, server, ports))
        if node.heartbeats is not None:
            await enter(node.heartbeats.running(lambda: registration.record.boot_id))
        yield {
            "state": lambda: registration.record.state,
            "node": lambda: shown(registration.record),
            "registry": lambda: {"connected": ports.registry.connected},
            "slots": lambda: len(cluster.ring(KIND).slots_of(settings.node)),
            "nodes": lambda: [shown(each) for each in cluster.membership.nodes],
            "tasks": lambda: life.tasks,
            **_memory_of(node),
        }


@asynccontextmanager
async def open_storage(
    repository: Repository,
    peers: StoragePeers,
    clock: Clock,
    limits: Limits,
    *,
    policy: RetentionPolicy | None = None,
    sweep_interval_s: float = 30.0,
    events: EventStream | None = None,
    teller: Teller | None = None,
) -> AsyncIterator[Storage]:
    """A node that works until it is left; `events`: None, if there are none; `teller`: of entries that the node makes
    by itself, None: nobody is told. Raises Unavailable if the repository does not answer.
    """
    epoch = await repository.users.epoch(new_id())
    time = Timekeeper(clock, repository.time)
    await time.measure()
    behind = WriteBehind(repository, time)
    invalidation = OwnerInvalidation(peers, behind)
    policy = policy or RetentionPolicy()
    inboxes = InboxWriter(repository, peers, invalidation, time, limits, kept_ms=_kept_ms(policy))
    fanout = InboxFanout(inboxes, peers)
    feed = _feed_into(events, repository, behind, time) if events else None
    streams = OpenStreams(repository.streams, time)
    recalls = Recalls()
    conversations = ConversationStore(
        repository,
        inboxes,
        fanout,
        behind,
        peers,
        invalidation,
        time,
        limits,
        feed,
        streams=streams,
        recalls=recalls,
    )
    reactions = ReactionStore(repository, conversations, invalidation, teller or NoTeller(), time, limits)
    recalls.listen(reactions.forget)
    loads = ConversationLoads(repository, conversations, Circumstances(repository, conversations, time))
    preferences = PreferenceStore(repository, conversations, invalidation)
    cursors = CursorWriter(repository, conversations, behind, preferences, limits)
    lists = ConversationLists(repository, conversations, loads, peers, time, limits, preferences=preferences)
    known = KnownUsers(peers, limits.cached_sessions_max)
    logins = SessionWriter(repository, lists, known, behind, invalidation, time)
    node = Storage(
        conversations=conversations,
        inboxes=inboxes,
        cursors=cursors,
        pages=PageReader(repository, conversations, inboxes, time, limits, streams),
        loads=loads,
        lists=lists,
        hides=Hides(repository, conversations),
        sessions=SessionStore(repository, inboxes, lists, logins, behind, time, limits, epoch),
        known=known,
        acknowledgements=Acknowledgements(repository, inboxes, cursors, behind),
        preferences=preferences,
        blocks=BlockStore(repository, conversations, behind, peers, invalidation, time, limits),
        profiles=ProfileStore(repository),
        readers=ReadersReader(repository, conversations),
        behind=behind,
        invalidation=invalidation,
        retention=Retention(repository, conversations, behind, peers, time, policy),
        sweep=SessionSweep(repository, peers, time),
        expiry=ExpirySweep(repository, conversations.memory, peers, time, recalls, margin_s=limits.store_budget_s + 1),
        streams=streams,
        parts=PartTaker(repository, streams, time, limits),
        keeper=StreamKeeper(
            repository,
            streams,
            conversations,
            peers,
            teller or NoTeller(),
            time,
            idle_s=limits.stream_idle_s,
        ),
        reactions=reactions,
        reactors=ReactorPages(repository, time, limits),
        admissions=Admissions(repository, conversations, time),
        dissolution=DissolutionSweep(repository, peers),
        heartbeats=Heartbeats(repository, feed, peers, conversations.get, time) if feed else None,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(behind.flush)
        stack.push_async_callback(invalidation.flush)
        stack.push_async_callback(node.keeper.leave)
        if feed is not None and node.heartbeats is not None:
            await node.heartbeats.begin()
            stack.push_async_callback(node.heartbeats.leave)
            await stack.enter_async_context(feed)
        # Those that use others are entered after them, so that they end first.
        parts = (
            inboxes,
            conversations,
            node.cursors,
            node.pages,
            node.sessions,
            reactions,
            node.reactors,
            node.parts,
            node.blocks,
        )
        for part in parts:
            await stack.enter_async_context(part.running())
        scope = await stack.enter_async_context(TaskScope())
        scope.spawn(behind.run(limits.flush_interval_s), name="write behind")
        scope.spawn(node.drop_again(), name="ring settles")
        scope.spawn(invalidation.run(), name="invalidation")
        scope.spawn(time.run(), name="time")
        scope.spawn(node.retention.run(), name="retention")
        scope.spawn(node.sweep.run(sweep_interval_s), name="session sweep")
        scope.spawn(node.expiry.run(), name="expiry")
        scope.spawn(node.keeper.run(), name="streams")
        scope.spawn(reactions.run(), name="reactions")
        scope.spawn(reactions.look_for_what_others_left(), name="reactions of others")
        scope.spawn(node.dissolution.run(), name="dissolution")
        yield node


# ---- events


def _feed_into(stream: EventStream, repository: Repository, behind: WriteBehind, clock: Clock) -> EventFeed:
    encoder = EventEncoder(stream.topic, stream.cluster)
    debts = DebtReader(repository, clock)
    return EventFeed(
        stream.bus,
        encoder,
        debts,
        behind.conversation,
        stream.health,
        clock,
        bytes_max=stream.bytes_max,
        gather_s=stream.gather_s,
        retry_s=stream.retry_s,
        last_try_s=stream.last_try_s,
    )


def _events_of(settings: StorageSettings, ports: StoragePorts) -> EventStream | None:
    if ports.bus is None or not settings.events_enabled:
        return None
    topic = topic_names(settings).events
    return EventStream(ports.bus, topic, settings.cluster, ports.health, settings.events_waiting_bytes_max)


# ---- values from the settings


def limits_of(settings: StorageSettings) -> Limits:
    return Limits(
        inbox_lanes=settings.inbox_lanes,
        session_lanes=settings.session_lanes,
        read_lanes=settings.read_lanes,
        lane_capacity=settings.lane_capacity,
        batch_max=settings.batch_max,
        cached_members_max=settings.cached_members_max,
        cached_entries_max=settings.cached_entries_max,
        cached_sessions_max=settings.cached_sessions_max,
        inbox_tail=settings.inbox_tail,
        recent_sends_max=settings.recent_sends_max,
        list_places_max=settings.list_places_max,
        store_budget_s=settings.store_budget_s,
        flush_interval_s=settings.flush_interval_s,
        stream_idle_s=settings.stream_idle_s,
        reaction_gather_s=settings.reaction_gather_ms / 1000,
        keeps_edit_history=settings.edit_history == "operator",
    )


def policy_of(settings: StorageSettings) -> RetentionPolicy:
    return RetentionPolicy(
        message_days=settings.message_retention_days,
        inbox_days=settings.inbox_retention_days,
        interval_s=settings.retention_interval_s,
        step=settings.retention_step,
    )


def _kept_ms(policy: RetentionPolicy) -> int:
    """Retention removes no inbox entry of a younger message. If it keeps everything now, a day: the policy may have
    been another one before.
    """
    return min(filter(None, (policy.inbox_days, policy.message_days)), default=1) * DAY_MS


# ---- what the cluster tells the node, and what the node tells /debug/state


def _drop_what_is_in_doubt(cluster: Cluster, name: str, node: Storage) -> Callable[[Membership, Membership], None]:
    """A subscriber of the cluster, which drops what this node has in memory of doubtful slots."""
    change = RingChange(name)

    def changed(before: Membership, after: Membership) -> None:
        ring = cluster.ring(KIND)
        metrics.RING_SLOTS_OWNED.labels(KIND).set(len(ring.slots_of(name)))
        node.ring_changed(change.doubtful_slots(before, after, ring))

    return changed


def _memory_of(node: Storage) -> Mapping[str, Callable[[], Any]]:
    return {
        "memory": lambda: {
            "conversations": node.conversations.cached,
            "inboxes": node.inboxes.cached,
            "users": len(node.known),
        },
        "lanes": node.lanes,
        "waiting_to_be_written": lambda: node.behind.waiting,
        "events": lambda: node.heartbeats.shown() if node.heartbeats is not None else {},
    }
