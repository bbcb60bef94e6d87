"""Groups as decisions need them: from memory when that is safe, else from storage, many in one call.

Guarantees: what `load` gives is what storage said during the call. What `known` gives may be old, but always has the
users that were asked for as members, or was loaded now: so nobody is refused, and no recipient is taken, on memory
alone without storage having a word. A decision to store goes with the version that it rests on, and storage says if
that is stale; a refusal is decided again on what `load` gives.

Does not know: what is decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.telemetry import metrics
from services.logic.groups.cache import GroupCache
from services.logic.groups.model import Circumstances, GroupMember, GroupRole, GroupSnapshot, Invite
from services.logic.groups.needs import Need, once
from services.logic.groups.settings import decoded
from services.logic.storage_client import StorageClient
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import ConversationKind, kind_of

# By conversation: the group, None if there is none, or why it is not known.
FoundGroups = Mapping[str, GroupSnapshot | TidingsError | None]


class Loaded(NamedTuple):
    """A group (None: there is none), what else was asked for, and the change that was made with the op, if any."""

    group: GroupSnapshot | None
    known: Circumstances
    made: pb.ChangeItem | None


class GroupLoader:
    """Gives decisions their groups. `members_max` bounds the members that are kept, of all groups together."""

    def __init__(self, storage: StorageClient, members_max: int) -> None:
        self._storage = storage
        self._cache = GroupCache(members_max)

    @property
    def cached(self) -> int:
        """How many groups are in memory."""
        return len(self._cache)

    def remembered(self, conversation: str) -> GroupSnapshot | None:
        """The group as memory has it, which may be old: what rests on it goes to storage with its version."""
        return self._cache.get(conversation)

    async def known(self, users_of: Mapping[str, Iterable[str]]) -> tuple[FoundGroups, frozenset[str]]:
        """Groups in which these users are members, from memory where that says so, and which were loaded just now.

        A group that could not be loaded is its TidingsError; None: there is no such group.
        """
        found: dict[str, GroupSnapshot | TidingsError | None] = {}
        missing: dict[str, Need] = {}
        for conversation, users in users_of.items():
            group = self._cache.get(conversation)
            if group is not None and all(user in group.members for user in users):
                found[conversation] = group
            else:
                missing[conversation] = Need(conversation, tuple(users))
        if missing:
            found.update(await self.load(missing.values()))
        return found, frozenset(missing)

    async def of_version(self, versions: Mapping[str, int]) -> FoundGroups:
        """Groups in these versions, or loaded now (0: no version is known)."""
        found: dict[str, GroupSnapshot | TidingsError | None] = {}
        missing: list[Need] = []
        for conversation, version in versions.items():
            group = self._cache.get(conversation)
            if group is not None and version and group.version == version:
                found[conversation] = group
            else:
                missing.append(Need(conversation, ()))
        if missing:
            found.update(await self.load(missing))
        return found

    async def load(self, needs: Iterable[Need]) -> FoundGroups:
        """The groups as storage says now, in one call; each conversation stands at most once in `needs`.

        A group that could not be loaded is its TidingsError; None: there is no such group. Raises nothing.
        """
        asked = [(need, self._cache.get(need.conversation)) for need in needs]
        outcomes = await self._storage.load([_load_item(need, held) for need, held in asked])
        return {
            need.conversation: outcome if isinstance(outcome, TidingsError) else self._take(need, held, outcome)
            for (need, held), outcome in zip(asked, outcomes, strict=True)
        }

    async def load_for(self, readers: Iterable[tuple[str, str]]) -> FoundGroups:
        """The groups among these (conversation, user), each with those users, as storage says now."""
        users_of: dict[str, list[str]] = {}
        for conversation, user in readers:
            if kind_of(conversation) is ConversationKind.GROUP:
                users_of.setdefault(conversation, []).append(user)
        if not users_of:
            return {}
        return await self.load(Need(conversation, once(users)) for conversation, users in users_of.items())

    async def load_one(self, need: Need) -> GroupSnapshot | None:
        """One group as storage says now; None: there is none. Raises TidingsError if it cannot be loaded."""
        [group] = (await self.load([need])).values()
        if isinstance(group, TidingsError):
            raise group
        return group

    async def load_for_change(self, need: Need, actor: str, op: str) -> Loaded:
        """The group, what else the need asks for, and the change that was made with this op, if there is one.

        Raises TidingsError if it cannot be loaded.
        """
        held = self._cache.get(need.conversation)
        item = _load_item(need, held)
        item.op, item.actor = op, actor
        [outcome] = await self._storage.load([item])
        if isinstance(outcome, TidingsError):
            raise outcome
        return self._loaded(need, held, outcome)

    async def load_each(self, needs: Sequence[Need]) -> list[Loaded | TidingsError]:
        """The groups as storage says now with what else these needs ask for, aligned with them, in one call."""
        asked = [(need, self._cache.get(need.conversation)) for need in needs]
        outcomes = await self._storage.load([_load_item(need, held) for need, held in asked])
        return [
            outcome if isinstance(outcome, TidingsError) else self._loaded(need, held, outcome)
            for (need, held), outcome in zip(asked, outcomes, strict=True)
        ]

    def forget(self, conversation: str) -> None:
        """Drops a group from memory that was changed, or is known to be stale."""
        self._cache.forget(conversation)

    def _loaded(self, need: Need, held: GroupSnapshot | None, outcome: pb.LoadOutcome) -> Loaded:
        made = outcome.made if outcome.HasField("made") else None
        return Loaded(self._take(need, held, outcome), _circumstances(outcome), made)

    def _take(self, need: Need, held: GroupSnapshot | None, outcome: pb.LoadOutcome) -> GroupSnapshot | None:
        record = outcome.record
        if not record.exists:
            self._cache.forget(need.conversation)
            return None
        if outcome.unchanged and held is not None:
            pinned = tuple(record.pinned)
            return replace(held, head=record.head, member_count=record.member_count, pinned=pinned)
        group = GroupSnapshot(
            conversation=need.conversation,
            version=record.version,
            members={member.user: _member(member) for member in outcome.members},
            member_count=record.member_count,
            name=record.name,
            open=record.open,
            channel=record.channel,
            share_history=record.share_history,
            large_from=record.large_from,
            head=record.head,
            successor=outcome.successor,
            further=decoded(record.settings),
            bans=record.bans,
            dissolved=record.dissolved,
            former=frozenset(outcome.former),
            pinned=tuple(record.pinned),
        )
        self._cache.put(replace(group, successor="", former=frozenset()))
        metrics.GROUPS_CACHED.set(len(self._cache))
        return group


def group_in(groups: FoundGroups, conversation: str) -> GroupSnapshot | None:
    """The group of this conversation; None if there is none. Raises why it is not known."""
    group = groups.get(conversation)
    if isinstance(group, TidingsError):
        raise group
    return group


def _load_item(need: Need, held: GroupSnapshot | None) -> pb.LoadItem:
    version = held.version if held is not None and not held.is_large else 0
    return pb.LoadItem(
        conversation=need.conversation,
        users=need.users,
        successor=need.successor,
        known_version=version,
        bans=need.bans,
        requests=need.requests,
        invite=need.invite,
        actor=need.actor,
        leaders=need.leaders,
    )


def _circumstances(outcome: pb.LoadOutcome) -> Circumstances:
    invite = None
    if outcome.HasField("invite"):
        found = outcome.invite
        invite = Invite(found.invite, found.by, found.expires_ms, found.uses, found.used, found.used_by_actor)
    return Circumstances(
        banned=frozenset(outcome.banned),
        asking=frozenset(outcome.asking),
        requests=outcome.requests,
        invite=invite,
    )


def _member(record: pb.MemberRecord) -> GroupMember:
    role = GroupRole(record.role)
    return GroupMember(record.user, role, record.joined_seq, record.joined_ms, record.muted_until_ms)
