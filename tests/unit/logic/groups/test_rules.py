"""The rules of groups, one by one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from services.logic.changes import announcement as announcing
from services.logic.groups.model import (
    AlreadyDone,
    Decision,
    GroupAct,
    GroupChange,
    GroupMember,
    GroupNotice,
    GroupPolicy,
    GroupRole,
    GroupSnapshot,
)
from services.logic.groups.needs import Need, need_of
from services.logic.groups.notices import content_of
from services.logic.groups.rules import decide, info_of
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, Forbidden, NotFound, TidingsError

Request = client_pb2.GroupRequest
MEMBER, ADMIN, OWNER = client_pb2.Member.MEMBER, client_pb2.Member.ADMIN, client_pb2.Member.OWNER
POLICY = GroupPolicy(large_above=5, members_max=8, users_max=6)
ROLES = {
    "olga": GroupRole.OWNER,
    "adam": GroupRole.ADMIN,
    "anna": GroupRole.ADMIN,
    "mia": GroupRole.MEMBER,
    "max": GroupRole.MEMBER,
}


def group(
    *users: str,
    large_from: int = 0,
    open_to_all: bool = False,
    share: bool = False,
    count: int = 0,
    successor: str = "",
) -> GroupSnapshot:
    """A group of these users; who is named first is the oldest."""
    members = {
        user: GroupMember(user, ROLES.get(user, GroupRole.MEMBER), joined_seq=3, joined_ms=100 + age)
        for age, user in enumerate(users)
    }
    return GroupSnapshot(
        "g:x",
        9,
        members,
        count or len(members),
        name="Old",
        open=open_to_all,
        share_history=share,
        large_from=large_from,
        head=20,
        successor=successor,
    )


def act(actor: str, there: GroupSnapshot | None, **fields: Any) -> Decision:
    request = Request(**fields)
    need_of(request, actor, POLICY)
    return decide(request, actor, there, POLICY, new="g:new")


def change(actor: str, there: GroupSnapshot | None, **fields: Any) -> GroupChange:
    decision = act(actor, there, **fields)
    assert isinstance(decision, GroupChange)
    return decision


def refused(kind: type[TidingsError], actor: str, there: GroupSnapshot | None, **fields: Any) -> str:
    with pytest.raises(kind) as caught:
        act(actor, there, **fields)
    return caught.value.message


def indexed(made: GroupChange) -> tuple[str, ...]:
    """Whose nodes are told that they are in a large group."""
    return tuple(announcing.indexed_of(announcing.change_item(made, "op")))


def dropped(made: GroupChange) -> tuple[str, ...]:
    return tuple(announcing.dropped_of(announcing.change_item(made, "op")))


def roles(made: GroupChange) -> dict[str, GroupRole]:
    return {member.user: member.role for member in made.members}


# ---- create


def test_who_creates_a_group_owns_it_listed_or_not() -> None:
    for listed in ([], ["olga"]):
        made = change("olga", None, create=Request.Create(name="Tea", members=[*listed, "mia", "mia"]))
        assert roles(made) == {"olga": GroupRole.OWNER, "mia": GroupRole.MEMBER}
        assert made.conversation == "g:new"
        assert made.version == 0


def test_all_of_a_new_group_get_the_notice_of_it() -> None:
    made = change("olga", None, create=Request.Create(name="Tea", members=["mia"]))
    assert made.notices == (GroupNotice(GroupAct("create", "olga", ("olga", "mia"), name="Tea"), ("olga", "mia")),)
    assert not made.becomes_large


def test_a_group_is_created_with_its_settings() -> None:
    made = change("olga", None, create=Request.Create(name="Tea", open=True, channel=True, share_history=True))
    assert (made.open, made.channel, made.share_history) == (True, True, True)


def test_a_group_created_above_the_threshold_is_large_from_its_first_message() -> None:
    made = change("olga", None, create=Request.Create(members=["a", "b", "c", "d", "e"]))
    assert made.becomes_large
    assert [notice.act.act for notice in made.notices] == ["create"]
    assert made.notices[0].recipients == ()
    assert indexed(made) == ("olga", "a", "b", "c", "d", "e")


def test_a_group_created_at_the_threshold_is_not_large() -> None:
    assert not change("olga", None, create=Request.Create(members=["a", "b", "c", "d"])).becomes_large


def test_too_many_users_in_one_request_are_refused() -> None:
    users = list("abcdefg")
    for fields in (
        {"create": Request.Create(members=users)},
        {"add": Request.Add(conversation="g:x", users=users)},
        {"remove": Request.Remove(conversation="g:x", users=users)},
    ):
        assert "7 users at once, at most 6" in refused(BadRequest, "olga", group("olga"), **fields)


@pytest.mark.parametrize("user", ["tidings", "", "no spaces", "x" * 65])
def test_what_is_no_users_name_is_refused(user: str) -> None:
    refused(BadRequest, "olga", None, create=Request.Create(members=[user]))
    refused(BadRequest, "olga", group("olga"), add=Request.Add(conversation="g:x", users=[user]))


def test_a_name_that_is_too_long_is_refused() -> None:
    refused(BadRequest, "olga", None, create=Request.Create(name="é" * 129))
    refused(BadRequest, "olga", group("olga"), rename=Request.Rename(conversation="g:x", name="é" * 129))


# ---- join


def test_anyone_joins_an_open_group() -> None:
    made = change("eve", group("olga", "mia", open_to_all=True), join=Request.Join(conversation="g:x"))
    assert made.members == (GroupMember("eve", GroupRole.MEMBER, joined_seq=0),)
    assert made.notices == (GroupNotice(GroupAct("join", "eve", ("eve",)), ("olga", "mia", "eve")),)


def test_nobody_joins_a_group_that_is_not_open() -> None:
    refused(Forbidden, "eve", group("olga"), join=Request.Join(conversation="g:x"))


def test_joining_again_is_done_already_even_if_the_group_is_not_open() -> None:
    assert act("mia", group("olga", "mia"), join=Request.Join(conversation="g:x")) == AlreadyDone(
        "g:x", GroupAct("join", "mia", ("mia",))
    )


def test_who_joins_a_group_that_everybody_left_owns_it() -> None:
    made = change("eve", group(open_to_all=True), join=Request.Join(conversation="g:x"))
    assert roles(made) == {"eve": GroupRole.OWNER}


def test_who_joins_an_empty_large_group_is_the_only_one_to_be_decided_on_that_version() -> None:
    there = group(open_to_all=True, large_from=4, count=0)
    made = change("eve", there, join=Request.Join(conversation="g:x"))
    assert (roles(made), made.keep_version) == ({"eve": GroupRole.OWNER}, False)


def test_new_members_read_what_was_before_them_only_if_history_is_shared() -> None:
    join = Request.Join(conversation="g:x")
    assert change("eve", group("olga", open_to_all=True, share=True), join=join).members[0].joined_seq == 1
    assert change("eve", group("olga", open_to_all=True), join=join).members[0].joined_seq == 0


def test_a_full_group_takes_nobody() -> None:
    there = group("olga", open_to_all=True, large_from=4, count=8)
    refused(BadRequest, "eve", there, join=Request.Join(conversation="g:x"))


# ---- add


def test_owner_and_admins_add_members() -> None:
    for actor in ("olga", "adam"):
        made = change(actor, group("olga", "adam"), add=Request.Add(conversation="g:x", users=["eve", "fay"]))
        assert roles(made) == {"eve": GroupRole.MEMBER, "fay": GroupRole.MEMBER}
        assert made.notices == (GroupNotice(GroupAct("add", actor, ("eve", "fay")), ("olga", "adam", "eve", "fay")),)


def test_a_member_adds_nobody() -> None:
    refused(Forbidden, "mia", group("olga", "mia"), add=Request.Add(conversation="g:x", users=["eve"]))


def test_only_those_who_are_not_there_are_added() -> None:
    made = change("olga", group("olga", "mia"), add=Request.Add(conversation="g:x", users=["mia", "eve", "eve"]))
    assert [member.user for member in made.members] == ["eve"]
    assert made.acts == (GroupAct("add", "olga", ("eve",)),)


def test_adding_members_again_is_done_already() -> None:
    decision = act("olga", group("olga", "mia"), add=Request.Add(conversation="g:x", users=["mia"]))
    assert decision == AlreadyDone("g:x", GroupAct("add", "olga", ("mia",)))


def test_adding_nobody_is_refused() -> None:
    refused(BadRequest, "olga", group("olga"), add=Request.Add(conversation="g:x"))


def test_a_group_that_grows_above_the_threshold_becomes_large_with_a_last_numbered_notice() -> None:
    made = change("olga", group("olga", "a", "b", "c", "d"), add=Request.Add(conversation="g:x", users=["e"]))
    everyone = ("olga", "a", "b", "c", "d", "e")
    assert made.becomes_large
    assert made.notices == (
        GroupNotice(GroupAct("add", "olga", ("e",)), everyone),
        GroupNotice(GroupAct("large", "olga"), everyone),
    )
    assert indexed(made) == everyone
    assert not made.keep_version


def test_a_group_that_reaches_the_threshold_stays_as_it_is() -> None:
    made = change("olga", group("olga", "a", "b", "c"), add=Request.Add(conversation="g:x", users=["d"]))
    assert not made.becomes_large
    assert indexed(made) == ()


def test_a_join_can_make_a_group_large_too() -> None:
    there = group("olga", "a", "b", "c", "d", open_to_all=True)
    made = change("eve", there, join=Request.Join(conversation="g:x"))
    assert [notice.act.act for notice in made.notices] == ["join", "large"]


def test_a_large_group_takes_members_quietly_and_keeps_its_version() -> None:
    made = change("olga", group("olga", large_from=4, count=6), add=Request.Add(conversation="g:x", users=["eve"]))
    assert made.notices == ()
    assert made.keep_version
    assert indexed(made) == ("eve",)
    assert made.acts == (GroupAct("add", "olga", ("eve",)),)


def test_a_repeat_in_a_large_group_tells_the_nodes_again() -> None:
    there = group("olga", "mia", large_from=4, count=6)
    assert act("olga", there, add=Request.Add(conversation="g:x", users=["mia"])) == AlreadyDone(
        "g:x", GroupAct("add", "olga", ("mia",)), indexed=("mia",)
    )
    assert act("olga", there, remove=Request.Remove(conversation="g:x", users=["eve"])) == AlreadyDone(
        "g:x", GroupAct("remove", "olga", ("eve",)), dropped=("eve",)
    )
    assert act("eve", there, leave=Request.Leave(conversation="g:x")) == AlreadyDone(
        "g:x", GroupAct("leave", "eve", ("eve",)), dropped=("eve",)
    )


# ---- leave


def test_who_leaves_hears_of_it_too() -> None:
    made = change("mia", group("olga", "mia", "max"), leave=Request.Leave(conversation="g:x"))
    assert made.removed == ("mia",)
    assert made.notices == (GroupNotice(GroupAct("leave", "mia", ("mia",)), ("olga", "max", "mia")),)


def test_leaving_a_group_that_one_is_not_in_is_done_already() -> None:
    assert act("eve", group("olga"), leave=Request.Leave(conversation="g:x")) == AlreadyDone(
        "g:x", GroupAct("leave", "eve", ("eve",))
    )


def test_the_oldest_admin_follows_an_owner_who_leaves() -> None:
    made = change("olga", group("olga", "mia", "anna", "adam"), leave=Request.Leave(conversation="g:x"))
    assert made.members == (GroupMember("anna", GroupRole.OWNER, joined_seq=3, joined_ms=102),)
    assert made.removed == ("olga",)
    assert made.notices[1] == GroupNotice(GroupAct("role", "olga", ("anna",), role="OWNER"), ("mia", "anna", "adam"))


def test_without_an_admin_the_oldest_member_follows() -> None:
    made = change("olga", group("max", "olga", "mia"), leave=Request.Leave(conversation="g:x"))
    assert roles(made) == {"max": GroupRole.OWNER}


def test_of_two_who_joined_at_once_the_first_by_name_is_the_older() -> None:
    there = group("olga")
    twins = {user: GroupMember(user, GroupRole.MEMBER, 1, 500) for user in ("zoe", "abe")}
    both = GroupSnapshot("g:x", 1, {**there.members, **twins}, 3)
    assert roles(change("olga", both, leave=Request.Leave(conversation="g:x"))) == {"abe": GroupRole.OWNER}


def test_when_somebody_else_leaves_the_owner_stays() -> None:
    assert change("adam", group("olga", "adam", "mia"), leave=Request.Leave(conversation="g:x")).members == ()


def test_the_last_member_leaves_an_empty_group() -> None:
    made = change("olga", group("olga"), leave=Request.Leave(conversation="g:x"))
    assert made.members == ()
    assert made.notices == (GroupNotice(GroupAct("leave", "olga", ("olga",)), ("olga",)),)


def test_of_a_large_group_storage_says_who_follows_its_owner() -> None:
    there = group("olga", "mia", large_from=4, count=6, successor="mia")
    made = change("olga", there, leave=Request.Leave(conversation="g:x"))
    assert roles(made) == {"mia": GroupRole.OWNER}
    assert made.notices == (GroupNotice(GroupAct("role", "olga", ("mia",), role="OWNER")),)
    assert dropped(made) == ("olga",)


def test_the_last_member_leaves_a_large_group() -> None:
    made = change("olga", group("olga", large_from=4, count=1), leave=Request.Leave(conversation="g:x"))
    assert made.members == ()
    assert made.empties
    assert made.notices == ()


# ---- remove


def test_the_owner_removes_anyone_and_they_still_hear_of_it() -> None:
    there = group("olga", "adam", "mia")
    made = change("olga", there, remove=Request.Remove(conversation="g:x", users=["adam", "mia"]))
    assert made.removed == ("adam", "mia")
    assert made.notices == (GroupNotice(GroupAct("remove", "olga", ("adam", "mia")), ("olga", "adam", "mia")),)


def test_an_admin_removes_members_but_neither_admins_nor_the_owner() -> None:
    there = group("olga", "adam", "anna", "mia")
    assert change("adam", there, remove=Request.Remove(conversation="g:x", users=["mia"])).removed == ("mia",)
    for protected in ("anna", "olga"):
        refused(Forbidden, "adam", there, remove=Request.Remove(conversation="g:x", users=["mia", protected]))


def test_a_member_removes_nobody() -> None:
    refused(Forbidden, "mia", group("olga", "mia", "max"), remove=Request.Remove(conversation="g:x", users=["max"]))


def test_nobody_removes_oneself() -> None:
    there = group("olga", "adam")
    for actor in ("olga", "adam"):
        refused(BadRequest, actor, there, remove=Request.Remove(conversation="g:x", users=[actor]))


def test_removing_who_is_not_there_is_done_already() -> None:
    there = group("olga", "mia")
    assert act("olga", there, remove=Request.Remove(conversation="g:x", users=["eve"])) == AlreadyDone(
        "g:x", GroupAct("remove", "olga", ("eve",))
    )
    assert change("olga", there, remove=Request.Remove(conversation="g:x", users=["eve", "mia"])).removed == ("mia",)


def test_a_large_group_loses_members_quietly() -> None:
    there = group("olga", "mia", large_from=4, count=6)
    made = change("olga", there, remove=Request.Remove(conversation="g:x", users=["mia"]))
    assert made.notices == ()
    assert dropped(made) == ("mia",)
    assert not made.keep_version


# ---- roles


def test_the_owner_gives_and_takes_roles() -> None:
    there = group("olga", "adam", "mia")
    made = change("olga", there, set_role=Request.SetRole(conversation="g:x", user="mia", role=ADMIN))
    assert made.members == (GroupMember("mia", GroupRole.ADMIN, joined_seq=3, joined_ms=102),)
    assert made.notices == (GroupNotice(GroupAct("role", "olga", ("mia",), role="ADMIN"), ("olga", "adam", "mia")),)
    made = change("olga", there, set_role=Request.SetRole(conversation="g:x", user="adam", role=MEMBER))
    assert roles(made) == {"adam": GroupRole.MEMBER}


def test_handing_over_makes_the_old_owner_an_admin() -> None:
    made = change("olga", group("olga", "mia"), set_role=Request.SetRole(conversation="g:x", user="mia", role=OWNER))
    assert roles(made) == {"mia": GroupRole.OWNER, "olga": GroupRole.ADMIN}


@pytest.mark.parametrize("actor", ["adam", "mia"])
def test_nobody_but_the_owner_gives_roles(actor: str) -> None:
    there = group("olga", "adam", "mia")
    refused(Forbidden, actor, there, set_role=Request.SetRole(conversation="g:x", user="mia", role=ADMIN))


def test_who_handed_over_and_says_so_again_is_told_that_it_is_so() -> None:
    there = group("olga", "adam", "mia")
    owner = Request.SetRole(conversation="g:x", user="olga", role=client_pb2.Member.OWNER)
    assert act("adam", there, set_role=owner) == AlreadyDone("g:x", GroupAct("role", "adam", ("olga",), role="OWNER"))
    refused(Forbidden, "mia", there, set_role=owner)
    owner.user = "mia"
    refused(Forbidden, "adam", there, set_role=owner)


def test_a_role_that_is_held_already_is_done_already() -> None:
    there = group("olga", "adam")
    for user, role in (("adam", GroupRole.ADMIN), ("olga", GroupRole.OWNER)):
        request = Request.SetRole(conversation="g:x", user=user, role=int(role))  # type: ignore[arg-type]
        assert act("olga", there, set_role=request) == AlreadyDone(
            "g:x", GroupAct("role", "olga", (user,), role=role.name)
        )


def test_the_owner_does_not_step_down_without_a_follower() -> None:
    request = Request.SetRole(conversation="g:x", user="olga", role=ADMIN)
    assert "hand over" in refused(BadRequest, "olga", group("olga", "mia"), set_role=request)


def test_one_who_is_no_member_has_no_role() -> None:
    request = Request.SetRole(conversation="g:x", user="eve", role=ADMIN)
    refused(NotFound, "olga", group("olga"), set_role=request)


def test_a_role_must_be_one_of_the_three() -> None:
    for role in (0, 4):
        request = Request.SetRole(conversation="g:x", user="mia", role=role)  # type: ignore[arg-type]
        refused(BadRequest, "olga", group("olga", "mia"), set_role=request)


def test_roles_and_names_are_announced_in_a_large_group_without_inbox_entries() -> None:
    there = group("olga", "mia", large_from=4, count=6)
    request = Request.SetRole(conversation="g:x", user="mia", role=ADMIN)
    assert change("olga", there, set_role=request).notices == (
        GroupNotice(GroupAct("role", "olga", ("mia",), role="ADMIN")),
    )
    made = change("olga", there, rename=Request.Rename(conversation="g:x", name="New"))
    assert made.notices == (GroupNotice(GroupAct("rename", "olga", name="New")),)


# ---- rename


def test_owner_and_admins_rename() -> None:
    for actor in ("olga", "adam"):
        made = change(actor, group("olga", "adam"), rename=Request.Rename(conversation="g:x", name="New"))
        assert made.name == "New"
        assert made.notices == (GroupNotice(GroupAct("rename", actor, name="New"), ("olga", "adam")),)


def test_a_member_does_not_rename() -> None:
    refused(Forbidden, "mia", group("olga", "mia"), rename=Request.Rename(conversation="g:x", name="New"))


def test_the_same_name_again_is_done_already() -> None:
    decision = act("olga", group("olga"), rename=Request.Rename(conversation="g:x", name="Old"))
    assert decision == AlreadyDone("g:x", GroupAct("rename", "olga", name="Old"))


def test_a_change_keeps_what_it_does_not_change() -> None:
    there = group("olga", open_to_all=True, share=True)
    made = change("olga", there, rename=Request.Rename(conversation="g:x", name="New"))
    assert (made.open, made.channel, made.share_history, made.version) == (True, False, True, 9)


# ---- all of them


@pytest.mark.parametrize(
    "fields",
    [
        {"join": Request.Join(conversation="g:x")},
        {"leave": Request.Leave(conversation="g:x")},
        {"add": Request.Add(conversation="g:x", users=["eve"])},
        {"remove": Request.Remove(conversation="g:x", users=["eve"])},
        {"set_role": Request.SetRole(conversation="g:x", user="eve", role=ADMIN)},
        {"rename": Request.Rename(conversation="g:x", name="New")},
    ],
)
def test_a_group_that_does_not_exist_is_not_found(fields: dict[str, Any]) -> None:
    refused(NotFound, "olga", None, **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"add": Request.Add(conversation="g:x", users=["eve"])},
        {"remove": Request.Remove(conversation="g:x", users=["mia"])},
        {"set_role": Request.SetRole(conversation="g:x", user="mia", role=ADMIN)},
        {"rename": Request.Rename(conversation="g:x", name="New")},
    ],
)
def test_a_stranger_changes_nothing(fields: dict[str, Any]) -> None:
    assert "not a member" in refused(Forbidden, "eve", group("olga", "mia"), **fields)


@pytest.mark.parametrize("conversation", ["d:amy|bob", "b:all", "g:", "x"])
def test_what_is_no_group_is_refused(conversation: str) -> None:
    refused(BadRequest, "amy", None, join=Request.Join(conversation=conversation))


def test_a_request_without_an_act_is_refused() -> None:
    refused(BadRequest, "amy", None)


def test_what_a_decision_needs_is_named_before_it() -> None:
    request = Request(remove=Request.Remove(conversation="g:x", users=["mia", "max", "mia"]))
    assert need_of(request, "olga", POLICY) == Need("g:x", ("olga", "mia", "max"))
    assert need_of(Request(leave=Request.Leave(conversation="g:x")), "olga", POLICY) == Need(
        "g:x", ("olga",), successor=True, requests=True
    )
    assert need_of(Request(create=Request.Create()), "olga", POLICY) is None


# ---- what is told


def test_a_notice_has_always_the_five_documented_fields() -> None:
    content = client_pb2.Content.FromString(content_of(GroupAct("role", "olga", ("mia",), role="ADMIN")))
    assert content.mime == "application/tidings.membership+json"
    assert json.loads(content.data) == {"act": "role", "by": "olga", "users": ["mia"], "role": "ADMIN", "name": ""}


def test_members_see_all_of_a_groups_info() -> None:
    info = info_of(group("olga", "adam", large_from=7, count=6, share=True), "g:x", "adam")
    assert info == client_pb2.GroupInfo(
        conversation="g:x",
        name="Old",
        member_count=6,
        role=ADMIN,
        head=20,
        share_history=True,
        large_from=7,
        settings=client_pb2.GroupSettings(
            name="Old",
            description="",
            avatar="",
            open=False,
            channel=False,
            share_history=True,
            approval=False,
            members_add=False,
            muted=False,
            slow_s=0,
        ),
    )


def test_members_see_what_is_pinned_and_strangers_do_not() -> None:
    there = replace(group("olga", "mia", open_to_all=True), pinned=(7, 3))
    assert list(info_of(there, "g:x", "mia").pinned) == [7, 3]
    assert list(info_of(there, "g:x", "eve").pinned) == []


def test_a_stranger_sees_the_info_of_an_open_group_only() -> None:
    assert info_of(group("olga", open_to_all=True), "g:x", "eve").role == client_pb2.Member.ROLE_UNSPECIFIED
    with pytest.raises(Forbidden):
        info_of(group("olga"), "g:x", "eve")
    with pytest.raises(NotFound):
        info_of(None, "g:x", "eve")
