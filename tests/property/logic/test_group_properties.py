"""Whatever is asked of a group, in whatever order, its invariants hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.logic.changes import announcement as announcing
from services.logic.groups.model import (
    AlreadyDone,
    Circumstances,
    GroupChange,
    GroupMember,
    GroupPolicy,
    GroupRole,
    GroupSnapshot,
)
from services.logic.groups.needs import need_of
from services.logic.groups.rules import decide
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, Forbidden, NotFound

Request = client_pb2.GroupRequest
Settings = client_pb2.GroupSettings
USERS = [f"u{number}" for number in range(9)]
POLICY = GroupPolicy(large_above=5, members_max=8, users_max=6)

user = st.sampled_from(USERS)
users = st.lists(user, min_size=1, max_size=6)
acts: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({"join": Request.Join(conversation="g:x")}),
    st.just({"leave": Request.Leave(conversation="g:x")}),
    users.map(lambda who: {"add": Request.Add(conversation="g:x", users=who)}),
    users.map(lambda who: {"remove": Request.Remove(conversation="g:x", users=who)}),
    st.builds(
        lambda who, role: {"set_role": Request.SetRole(conversation="g:x", user=who, role=role)},
        user,
        st.sampled_from([1, 2, 3]),
    ),
    st.builds(
        lambda who, banned: {"ban": Request.Ban(conversation="g:x", users=who, banned=banned)}, users, st.booleans()
    ),
    st.builds(
        lambda who, until_ms: {"mute": Request.Mute(conversation="g:x", users=who, until_ms=until_ms)},
        users,
        st.sampled_from([0, -1]),
    ),
    st.sampled_from(
        [
            Settings(muted=True),
            Settings(muted=False),
            Settings(open=True),
            Settings(members_add=True),
            Settings(slow_s=5),
        ]
    ).map(lambda settings: {"update": Request.Update(conversation="g:x", settings=settings)}),
    st.sampled_from(["Tea", "Coffee"]).map(lambda name: {"rename": Request.Rename(conversation="g:x", name=name)}),
)


@dataclass
class World:
    """Storage as it must be: applies changes, and shows of a large group only what is asked for."""

    group: GroupSnapshot | None = None
    clock: int = 0
    told: dict[str, list[str]] = field(default_factory=dict)
    banned: set[str] = field(default_factory=set)

    def ask(self, actor: str, fields: Mapping[str, Any]) -> GroupChange | AlreadyDone | None:
        request = Request(**fields)
        need = need_of(request, actor, POLICY)
        shown = None if need is None or self.group is None else self._shown(need.users, need.successor)
        try:
            named = self.banned.intersection(need.users if need else ())
            decision = decide(request, actor, shown, POLICY, Circumstances(banned=frozenset(named)), new="g:x")
        except (Forbidden, NotFound, BadRequest):
            return None
        if isinstance(decision, GroupChange):
            self._apply(decision)
        assert isinstance(decision, GroupChange | AlreadyDone)
        return decision

    def _shown(self, asked: tuple[str, ...], successor: bool) -> GroupSnapshot:
        assert self.group is not None
        if not self.group.is_large:
            return self.group
        heir = self._heir() if successor else ""
        shown = {who: member for who, member in self.group.members.items() if who in {*asked, heir}}
        return replace(self.group, members=shown, successor=heir)

    def _heir(self) -> str:
        assert self.group is not None
        others = [member for member in self.group.members.values() if member.role is not GroupRole.OWNER]
        others.sort(key=lambda member: (member.role is not GroupRole.ADMIN, member.joined_ms, member.user))
        return others[0].user if others else ""

    def _apply(self, change: GroupChange) -> None:
        self.clock += 1
        before = self.group or GroupSnapshot("g:x", 0, {}, 0)
        assert change.version == before.version
        members = dict(before.members)
        for member in change.members:
            known = members.get(member.user)
            members[member.user] = replace(member, joined_ms=known.joined_ms if known else self.clock)
        assert not self.banned.intersection(change.banned)
        assert self.banned.issuperset(change.unbanned)
        self.banned = self.banned.union(change.banned).difference(change.unbanned)
        for who in change.removed:
            assert who in members, "who is removed was there"
            del members[who]
        for notice in change.notices:
            for who in notice.recipients:
                self.told.setdefault(who, []).append(notice.act.act)
        self.group = replace(
            before,
            version=before.version + 1,
            members=members,
            member_count=len(members),
            name=change.name,
            open=change.open,
            channel=change.channel,
            share_history=change.share_history,
            further=change.further,
            bans=len(self.banned),
            large_from=before.large_from or (1 if change.becomes_large else 0),
        )


def _world(members: list[str], open_to_all: bool) -> World:
    world = World()
    assert isinstance(world.ask("u0", {"create": Request.Create(members=members, open=open_to_all)}), GroupChange)
    return world


@given(st.lists(user, max_size=6), st.booleans(), st.lists(st.tuples(user, acts), max_size=30))
def test_a_group_has_one_owner_as_long_as_it_has_members(
    members: list[str], open_to_all: bool, script: list[tuple[str, dict[str, Any]]]
) -> None:
    world = _world(members, open_to_all)
    for actor, fields in script:
        world.ask(actor, fields)
        assert world.group is not None
        owners = [member for member in world.group.members.values() if member.role is GroupRole.OWNER]
        assert len(owners) == (1 if world.group.members else 0)


@given(st.lists(user, max_size=6), st.booleans(), st.lists(st.tuples(user, acts), max_size=30))
def test_nobody_who_is_banned_is_a_member_and_no_owner_is_muted(
    members: list[str], open_to_all: bool, script: list[tuple[str, dict[str, Any]]]
) -> None:
    world = _world(members, open_to_all)
    for actor, fields in script:
        world.ask(actor, fields)
        assert world.group is not None
        assert not world.banned.intersection(world.group.members)
        assert all(
            not member.muted_until_ms for member in world.group.members.values() if member.role is GroupRole.OWNER
        )


@given(st.lists(user, max_size=6), st.booleans(), st.lists(st.tuples(user, acts), max_size=30))
def test_sizes_stay_within_the_limits_and_above_the_threshold_a_group_is_large(
    members: list[str], open_to_all: bool, script: list[tuple[str, dict[str, Any]]]
) -> None:
    world = _world(members, open_to_all)
    was_large = False
    for actor, fields in script:
        world.ask(actor, fields)
        assert world.group is not None
        assert world.group.member_count <= POLICY.members_max
        assert world.group.is_large or world.group.member_count <= POLICY.large_above
        assert world.group.is_large or not was_large, "it stays large"
        was_large = world.group.is_large


@given(st.lists(user, max_size=6), st.booleans(), st.lists(st.tuples(user, acts), max_size=30))
def test_what_was_done_is_done_already_when_it_is_asked_again(
    members: list[str], open_to_all: bool, script: list[tuple[str, dict[str, Any]]]
) -> None:
    world = _world(members, open_to_all)
    for actor, fields in script:
        if isinstance(world.ask(actor, fields), GroupChange):
            before = world.group
            again = world.ask(actor, fields)
            assert again is None or isinstance(again, AlreadyDone)
            assert world.group == before


@given(st.lists(user, max_size=6), st.booleans(), st.lists(st.tuples(user, acts), max_size=30))
def test_everyone_concerned_hears_of_each_change_of_a_group_that_is_not_large(
    members: list[str], open_to_all: bool, script: list[tuple[str, dict[str, Any]]]
) -> None:
    world = _world(members, open_to_all)
    for actor, fields in script:
        before = set(world.group.members) if world.group else set()
        was_large = world.group is not None and world.group.is_large
        decision = world.ask(actor, fields)
        if isinstance(decision, GroupChange) and not was_large:
            assert world.group is not None
            everyone = before | set(world.group.members)
            assert set(decision.notices[0].recipients) == everyone
            for notice in decision.notices[1:]:
                assert set(notice.recipients) == set(world.group.members)


@given(st.lists(user, max_size=6), st.booleans(), st.lists(st.tuples(user, acts), max_size=30))
def test_in_a_large_group_nobody_gets_an_inbox_entry_and_the_nodes_hear_who_is_in_it(
    members: list[str], open_to_all: bool, script: list[tuple[str, dict[str, Any]]]
) -> None:
    world = _world(members, open_to_all)
    indexed: set[str] = set()
    assert world.group is not None
    if world.group.is_large:
        indexed = set(world.group.members)
    for actor, fields in script:
        was_large = world.group.is_large
        decision = world.ask(actor, fields)
        assert world.group is not None
        if isinstance(decision, AlreadyDone):
            indexed = (indexed | set(decision.indexed)) - set(decision.dropped)
        elif decision is not None:
            item = announcing.change_item(decision, "op")
            indexed = (indexed | set(announcing.indexed_of(item))) - set(announcing.dropped_of(item))
        if isinstance(decision, GroupChange) and was_large:
            assert all(notice.recipients == () for notice in decision.notices)
        if world.group.is_large:
            assert indexed == set(world.group.members)


@given(st.lists(user, max_size=6), st.booleans(), st.lists(st.tuples(user, acts), max_size=30))
def test_only_those_who_may_change_a_group(
    members: list[str], open_to_all: bool, script: list[tuple[str, dict[str, Any]]]
) -> None:
    world = _world(members, open_to_all)
    for actor, fields in script:
        assert world.group is not None
        mine: GroupMember | None = world.group.members.get(actor)
        may_add = world.group.further.members_add
        decision = world.ask(actor, fields)
        if isinstance(decision, GroupChange):
            [act] = fields
            match act:
                case "join":
                    assert mine is None
                    assert world.group.open
                case "leave":
                    assert mine is not None
                case "set_role":
                    assert mine is not None
                    assert mine.role is GroupRole.OWNER
                case "add":
                    assert mine is not None
                    assert mine.role is not GroupRole.MEMBER or may_add
                case _:
                    assert mine is not None
                    assert mine.role is not GroupRole.MEMBER
