"""The wiring of a logic node: how its rooms are put together, from the ground up; reading it shows the service.

    registry ─▶ cluster ─▶ topics ─▶ storage, groups ─▶ publishing ─▶ receipts, messages ─▶ sessions, requests

Everything stands on ports, so that a simulation gives the node twins. What a room needs of the settings is picked out
here: no room knows all of them.

Does not know: in which order a node starts and ends (node.py).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from services.common.bus.contract import Bus
from services.common.bus.topics import prepare_topics, topic_names
from services.common.cluster import Cluster
from services.common.lifecycle import Lifecycle
from services.common.node import NodePorts
from services.common.parcel_calls import ParcelCalls
from services.common.rpc import Router
from services.common.telemetry.health import Health
from services.logic.admin import AdminOptions
from services.logic.changes.group_changes import GroupChanges
from services.logic.changes.invitations import Invitations
from services.logic.changes.join_requests import JoinRequests
from services.logic.changes.session_guard import SessionGuard
from services.logic.groups.loader import GroupLoader
from services.logic.groups.model import GroupPolicy
from services.logic.messages.hook_endpoint import HookEndpoint
from services.logic.messages.hooks import HookOptions, Hooks
from services.logic.messages.rights import ChangeWindows
from services.logic.messages.sender import MessageSender
from services.logic.people.blocks import Blocks
from services.logic.people.news import PeopleNews
from services.logic.publishing.events import EventEncoder
from services.logic.publishing.publisher import Publisher, PublisherOptions
from services.logic.publishing.topics import topics_of
from services.logic.receipts.sender import ReceiptSender
from services.logic.requests import absent
from services.logic.requests.conversations import ConversationLister
from services.logic.requests.cursors import CursorMarker
from services.logic.requests.groups.lists import GroupLists
from services.logic.requests.groups.reads import GroupReader
from services.logic.requests.hides import MessageHider
from services.logic.requests.history import HistoryReader
from services.logic.requests.inbox import InboxReader
from services.logic.requests.people.blocks import BlockHandler
from services.logic.requests.people.preferences import PreferenceSetter
from services.logic.requests.people.presence import PresenceReader
from services.logic.requests.people.profiles import ProfileHandler
from services.logic.requests.reactors import ReactorsReader
from services.logic.requests.readers import ReadersReader
from services.logic.requests.request import Handler
from services.logic.sessions.sessions import ClientSessions, SessionOptions
from services.logic.settings import LogicSettings, read_secret
from services.logic.storage_client import StorageClient


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicPorts(NodePorts):
    """What a logic node stands on."""

    bus: Bus


@dataclass(frozen=True, slots=True)
class Ground:
    """What all rooms of a node stand on: its ports, the cluster, storage, groups, and the way out to Kafka."""

    ports: LogicPorts
    cluster: Cluster
    storage: StorageClient
    loader: GroupLoader
    policy: GroupPolicy
    publisher: Publisher
    events: EventEncoder
    blocks: Blocks
    news: PeopleNews


@asynccontextmanager
async def ground_of(settings: LogicSettings, life: Lifecycle, ports: LogicPorts) -> AsyncIterator[Ground]:
    """What all rooms stand on, ready; Kafka may still be away."""
    async with Cluster(ports.registry) as cluster:
        await prepare_topics(ports.bus, topics_of(settings), life)
        names, options = topic_names(settings), _publisher_options(settings)
        storage = StorageClient(
            Router(ports.peers, cluster, "storage"),
            lambda slot: cluster.ring("storage").owner(slot),
            timeout_s=settings.storage_timeout_s,
            budget_s=settings.storage_budget_s,
            batch_max=settings.storage_batch_max,
        )
        async with (
            ParcelCalls(ports.peers, cluster.node) as calls,
            Publisher(ports.bus, cluster, names, ports.health, ports.clock, calls, options) as publisher,
        ):
            yield Ground(
                ports,
                cluster,
                storage,
                GroupLoader(storage, settings.cached_members_max),
                GroupPolicy(large_above=settings.large_group_threshold, members_max=settings.group_members_max),
                publisher,
                EventEncoder(settings.cluster, enabled=settings.events_enabled),
                Blocks(storage, ports.clock),
                PeopleNews(publisher),
            )


def receipts_of(settings: LogicSettings, ground: Ground) -> ReceiptSender:
    """Who tells how far members have received and read."""
    return ReceiptSender(
        ground.loader,
        ground.publisher,
        ground.events,
        ground.ports.clock,
        interval_s=settings.receipt_interval_ms / 1000,
        pending_max=settings.receipts_pending_max,
    )


@asynccontextmanager
async def messages_of(settings: LogicSettings, ground: Ground, receipts: ReceiptSender) -> AsyncIterator[MessageSender]:
    """Sends, behind the operator's hook if there is one."""
    async with AsyncExitStack() as stack:
        hooks = None
        if settings.hook_url:
            hooks = await stack.enter_async_context(_hooks(settings, ground.ports.health))
        sender = MessageSender(
            ground.storage,
            ground.loader,
            ground.publisher,
            receipts,
            hooks,
            ground.storage,
            windows=ChangeWindows(1000 * settings.edit_window_s, 1000 * settings.recall_window_s),
            content_bytes_max=settings.content_bytes_max,
            held_max=settings.sends_in_flight_max,
            clock=ground.ports.clock,
        )
        yield await stack.enter_async_context(sender)


def _hooks(settings: LogicSettings, health: Health) -> Hooks:
    timeout_s = settings.hook_timeout_ms / 1000
    endpoint = HookEndpoint(
        settings.hook_url,
        settings.cluster,
        token=read_secret(settings.hook_token_file),
        timeout_s=timeout_s,
        calls_max=settings.hook_calls_max,
        content_bytes_max=settings.content_bytes_max,
    )
    return Hooks(
        endpoint,
        health,
        HookOptions(
            timeout_s=timeout_s,
            when_away=settings.hook_when_away,
            batch_max=settings.hook_batch_max,
            calls_max=settings.hook_calls_max,
        ),
    )


@asynccontextmanager
async def changes_of(ground: Ground) -> AsyncIterator[GroupChanges]:
    """Changes of groups, and who is told of requests to join."""
    async with JoinRequests(ground.storage, ground.loader, ground.publisher, ground.policy) as requests:
        yield GroupChanges(
            ground.storage,
            ground.loader,
            ground.publisher,
            ground.policy,
            blocks=ground.blocks,
            requests=requests,
            clock=ground.ports.clock,
        )


def sessions_of(settings: LogicSettings, ground: Ground) -> ClientSessions:
    """Who is logged in, and where."""
    ports = ground.ports
    options = SessionOptions(devices_max=settings.devices_per_user_max, evict_timeout_s=settings.rpc_timeout_s / 2)
    return ClientSessions(
        ground.storage, ground.publisher, ground.cluster, ports.registry, ports.peers, ports.clock, options
    )


def handlers_of(
    settings: LogicSettings, ground: Ground, cursors: CursorMarker, changes: GroupChanges
) -> list[Mapping[str, Handler]]:
    """What answers requests, by the names of operations: one mapping for each family."""
    storage, loader, page_bytes_max = ground.storage, ground.loader, settings.page_bytes_max
    return [
        InboxReader(storage, page_bytes_max=page_bytes_max).handlers,
        HistoryReader(storage, loader, page_bytes_max=page_bytes_max).handlers,
        ConversationLister(storage, page_bytes_max=page_bytes_max).handlers,
        MessageHider(storage, loader, ground.publisher).handlers,
        GroupReader(storage, loader, ground.policy, ground.ports.clock).handlers,
        GroupLists(storage, loader, ground.policy).handlers,
        PresenceReader(storage, ground.blocks, ground.cluster, ground.ports.clock).handlers,
        PreferenceSetter(storage, ground.news, ground.ports.clock).handlers,
        BlockHandler(storage, ground.news, ground.ports.clock).handlers,
        ProfileHandler(storage, ground.news, own_profile=settings.profiles_by == "user").handlers,
        ReadersReader(storage).handlers,
        ReactorsReader(storage, loader).handlers,
        SessionGuard(storage, changes.act).handlers,
        SessionGuard(storage, Invitations(storage, loader, ground.policy).invite, "group.invite").handlers,
        cursors.handlers,
        absent.handlers(),
    ]


# ---- values from the settings


def admin_options(settings: LogicSettings) -> AdminOptions:
    """Who the operator is, and how far a call may go."""
    return AdminOptions(
        token=read_secret(settings.operator_token_file),
        content_bytes_max=settings.content_bytes_max,
        timeout_s=settings.rpc_timeout_s,
    )


def _publisher_options(settings: LogicSettings) -> PublisherOptions:
    return PublisherOptions(
        wait_s=settings.publish_wait_ms / 1000,
        lanes=settings.publish_lanes,
        waiting_max=settings.publish_waiting_max,
        backlog_bytes_max=settings.publish_backlog_bytes_max,
        parcel_bytes_max=settings.parcel_bytes_max,
    )
