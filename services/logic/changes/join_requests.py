"""Requests to join: left, dropped, and told to the owner and the admins of their group, at most once a second.

    ask, drop, a change in a group where joining is asked for ──▶ note ──▶ (at most one a second) ──▶ push of group_info

Guarantees: whoever owns or administers the group is pushed how many ask, at once or within a second, unless very many
groups have news at the same moment: then with the next news. Who is refused is told so with a push without a role.

Does not know: who may join, and who may decide (groups/entering.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import islice

from protos.tidings.internal.v1 import delivery_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.gatherer import Gatherer
from services.common.scope import Owned, TaskScope
from services.common.telemetry import logs
from services.logic.changes import announcement
from services.logic.groups.loader import GroupLoader, Loaded
from services.logic.groups.model import AskToJoin, DropRequests, GroupPolicy, GroupRole, GroupSnapshot
from services.logic.groups.needs import Need
from services.logic.groups.rules import info_of
from services.logic.publishing.parcels import OutgoingPush
from services.logic.publishing.publisher import Publisher
from services.logic.publishing.records import Publication
from services.logic.storage_client import StorageClient
from tidings_protocol.errors import TidingsError

# Groups whose news wait; more are left for their next news.
WAITING_MAX = 10_000
# Groups that are told of at once.
AT_ONCE = 100
INTERVAL_S = 1.0

log = logs.get_logger(__name__)


class JoinRequests(Owned):
    """An async context manager: until it is entered, and when it is left, nobody is pushed anything."""

    def __init__(
        self,
        storage: StorageClient,
        loader: GroupLoader,
        publisher: Publisher,
        policy: GroupPolicy,
        *,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._storage = storage
        self._loader = loader
        self._publisher = publisher
        self._policy = policy
        self._interval_s = interval_s
        self._waiting: dict[str, None] = {}
        self._gatherer = Gatherer(self._flush, gather_s=0)

    async def _running(self) -> AsyncIterator[None]:
        async with TaskScope() as scope:
            scope.spawn(self._gatherer.run(), name="join requests")
            yield

    async def ask(self, request: AskToJoin) -> bool:
        """Leaves a request. False: the group has changed since it was decided. Raises TidingsError."""
        ask = pb.AdmitItem.Ask(
            user=request.user, text=request.text, version=request.version, open_max=self._policy.requests_max
        )
        outcome = await self._storage.admit_one(pb.AdmitItem(conversation=request.conversation, ask=ask))
        if outcome.stale:
            self._loader.forget(request.conversation)
            return False
        self.note(request.conversation)
        return True

    async def drop(self, drop: DropRequests) -> None:
        """Drops requests, and tells those who are refused. Raises TidingsError."""
        if not drop.users:
            return
        item = pb.AdmitItem(conversation=drop.conversation, drop=pb.AdmitItem.Drop(users=drop.users))
        await self._storage.admit_one(item)
        # All that were named, not only those whose request was there now: an earlier try may not have told them.
        if drop.refused:
            await self._publisher.publish(Publication([announcement.outside(drop.conversation, drop.users)]))
        self.note(drop.conversation)

    def note(self, conversation: str) -> None:
        """How many ask there may have changed."""
        if len(self._waiting) < WAITING_MAX:
            self._waiting[conversation] = None
            self._gatherer.note()

    async def _flush(self) -> bool:
        while self._waiting:
            conversations = list(islice(self._waiting, AT_ONCE))
            for conversation in conversations:
                del self._waiting[conversation]
            needs = [Need(conversation, (), requests=True, leaders=True) for conversation in conversations]
            outgoing: list[OutgoingPush] = []
            for loaded in await self._loader.load_each(needs):
                if isinstance(loaded, TidingsError):
                    log.warning("requests to join are told later", error=loaded.message)
                elif loaded.group is not None and loaded.group.further.approval:
                    outgoing += _pushes(loaded.group, loaded)
            if outgoing:
                await self._publisher.publish(Publication(outgoing))
        await asyncio.sleep(self._interval_s)
        return True


def _pushes(group: GroupSnapshot, loaded: Loaded) -> list[OutgoingPush]:
    """What the owner and the admins see of the group: it differs by their roles and by what is said of them."""
    told: dict[bytes, list[str]] = {}
    for member in group.members.values():
        if member.role is not GroupRole.MEMBER:
            info = info_of(group, group.conversation, member.user, loaded.known)
            told.setdefault(info.SerializeToString(deterministic=True), []).append(member.user)
    return [_push(group.conversation, info, users) for info, users in told.items()]


def _push(conversation: str, info: bytes, users: Sequence[str]) -> OutgoingPush:
    return OutgoingPush(kind=delivery_pb2.Push.GROUP_INFO, body=info, users=users, conversation=conversation)
