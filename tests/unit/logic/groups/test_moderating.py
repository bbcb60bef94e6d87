"""The rules of keeping order, one by one."""

from __future__ import annotations

import pytest

from services.logic.groups import moderating
from services.logic.groups.changing import with_role
from services.logic.groups.model import (
    FOR_EVER,
    AlreadyDone,
    Circumstances,
    FurtherSettings,
    GroupChange,
    GroupMember,
    GroupPolicy,
    GroupRole,
    GroupSnapshot,
)
from services.logic.groups.permissions import is_muted, pace_of, silence_of
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, Forbidden

Request = client_pb2.GroupRequest
NOW = 1000


def group(*, large_from: int = 0, channel: bool = False, **further: object) -> GroupSnapshot:
    members = {
        "olga": GroupMember("olga", GroupRole.OWNER, 1, 1),
        "adam": GroupMember("adam", GroupRole.ADMIN, 1, 2),
        "mia": GroupMember("mia", GroupRole.MEMBER, 1, 3, muted_until_ms=NOW + 1),
        "max": GroupMember("max", GroupRole.MEMBER, 1, 4),
    }
    settings = FurtherSettings(**further)  # type: ignore[arg-type]
    return GroupSnapshot("g:x", 9, members, 4, channel=channel, large_from=large_from, further=settings)


def test_a_mute_changes_only_whom_it_does_not_hold_already() -> None:
    request = Request.Mute(conversation="g:x", users=["mia", "max", "eve"], until_ms=NOW + 1)
    made = moderating.mute(group(), "adam", request, Circumstances(now_ms=NOW))
    assert isinstance(made, GroupChange)
    assert [(member.user, member.muted_until_ms) for member in made.members] == [("max", NOW + 1)]
    assert (made.acts[0].users, made.acts[0].until_ms) == (("max",), NOW + 1)
    assert not made.keep_version, "what was decided on the version before is stale"


def test_a_large_group_gets_no_message_of_a_mute_or_ban_but_of_an_update_and_the_end() -> None:
    there, known = group(large_from=7), Circumstances(now_ms=NOW)
    mute = moderating.mute(there, "olga", Request.Mute(conversation="g:x", users=["max"], until_ms=-1), known)
    ban = moderating.ban(
        there, "olga", Request.Ban(conversation="g:x", users=["max"], banned=True), GroupPolicy(), known
    )
    settings = client_pb2.GroupSettings(muted=True)
    update = moderating.update(there, "olga", Request.Update(conversation="g:x", settings=settings), GroupPolicy())
    end = moderating.dissolve(there, "olga", Request.Dissolve(conversation="g:x"))
    made = [each for each in (mute, ban, update, end) if isinstance(each, GroupChange)]
    assert [len(each.notices) for each in made] == [0, 0, 1, 1]
    assert [(each.removed, each.banned) for each in made] == [((), ()), (("max",), ("max",)), ((), ()), ((), ())]


def test_a_ban_of_who_was_banned_and_is_in_again_puts_them_out() -> None:
    known = Circumstances(banned=frozenset({"max", "eve"}))
    request = Request.Ban(conversation="g:x", users=["max", "eve"], banned=True)
    made = moderating.ban(group(), "olga", request, GroupPolicy(), known)
    assert isinstance(made, GroupChange)
    assert (made.removed, made.banned) == (("max",), ())


def test_lifting_a_ban_that_is_not_there_is_done_already() -> None:
    request = Request.Ban(conversation="g:x", users=["max"])
    assert isinstance(moderating.ban(group(), "olga", request, GroupPolicy(), Circumstances()), AlreadyDone)


def test_the_owner_bans_and_mutes_admins_but_nobody_the_owner() -> None:
    known = Circumstances(now_ms=NOW)
    for user in ("adam", "max"):
        request = Request.Mute(conversation="g:x", users=[user], until_ms=FOR_EVER)
        assert isinstance(moderating.mute(group(), "olga", request, known), GroupChange)
    with pytest.raises(Forbidden):
        moderating.mute(group(), "adam", Request.Mute(conversation="g:x", users=["olga"], until_ms=-1), known)
    with pytest.raises(BadRequest):
        moderating.mute(group(), "olga", Request.Mute(conversation="g:x", users=["olga"], until_ms=-1), known)


def test_who_is_silenced_and_who_is_muted_by_name() -> None:
    silences = {user: silence_of("g:x", user, group(), NOW) for user in ("olga", "adam", "mia", "max")}
    assert [user for user, silence in silences.items() if silence] == ["mia"]
    assert (mia := silences["mia"]) is not None
    assert mia.by_name
    assert silence_of("g:x", "mia", group(), NOW + 1) is None
    for there in (group(channel=True), group(muted=True)):
        found = [silence_of("g:x", user, there, NOW) for user in ("olga", "adam", "max")]
        assert [silence and silence.by_name for silence in found] == [None, None, False]
        assert not is_muted(there.members["max"], NOW), "who is held by the group may react"
    assert is_muted(group().members["mia"], NOW)
    owner = with_role(GroupMember("mia", GroupRole.MEMBER, muted_until_ms=FOR_EVER), GroupRole.OWNER)
    assert owner.muted_until_ms == 0
    assert not is_muted(GroupMember("o", GroupRole.OWNER, muted_until_ms=FOR_EVER), NOW)


def test_only_members_are_held_by_the_pace_of_a_slow_group() -> None:
    paces = [pace_of(group(slow_s=30), user) for user in ("olga", "adam", "mia", "eve")]
    assert paces == [0, 0, 30, 0]
