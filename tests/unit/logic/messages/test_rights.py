"""Who may change messages, as far as logic knows."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.logic.groups.model import FurtherSettings, GroupMember, GroupRole, GroupSnapshot
from services.logic.messages.rights import DEMANDS, ChangeWindows, rights_of
from tidings_protocol.changes import KIND_OF_ACT
from tidings_protocol.errors import Forbidden, NotFound

WINDOWS = ChangeWindows(edit_ms=7, recall_ms=8)
ACTS = sorted(KIND_OF_ACT)


def group(*, channel: bool = False, muted: bool = False, muted_by_name: str = "") -> GroupSnapshot:
    """amy owns it, bob is an admin, cid a member."""
    roles = (("amy", GroupRole.OWNER), ("bob", GroupRole.ADMIN), ("cid", GroupRole.MEMBER))
    members = {
        user: GroupMember(user, role, joined_seq=4, muted_until_ms=50 if user == muted_by_name else 0)
        for user, role in roles
    }
    return GroupSnapshot("g:x", 1, members, 3, channel=channel, further=FurtherSettings(muted=muted))


def allowed(user: str, conversation: str = "g:x", snapshot: GroupSnapshot | None = None, now_ms: int = 0) -> set[str]:
    """The acts that this user may do there."""
    found = set()
    for act in ACTS:
        try:
            rights_of(act, conversation, user, snapshot, WINDOWS, now_ms)
        except Forbidden:
            continue
        found.add(act)
    return found


def test_every_act_that_a_client_may_ask_for_has_a_demand() -> None:
    assert DEMANDS.keys() == KIND_OF_ACT.keys()


@pytest.mark.parametrize(
    ("user", "channel", "acts"),
    [
        ("amy", False, set(ACTS)),
        ("bob", False, set(ACTS)),
        ("cid", False, set(ACTS) - {"pin"}),
        ("eve", False, set()),
        ("amy", True, set(ACTS)),
        ("bob", True, set(ACTS)),
        ("cid", True, {"recall", "react", "unreact"}),
        ("tidings", True, set(ACTS)),
    ],
)
def test_what_a_role_allows_in_a_group_and_in_a_channel(user: str, channel: bool, acts: set[str]) -> None:
    assert allowed(user, snapshot=group(channel=channel)) == acts


def test_where_the_group_is_muted_members_do_as_in_a_channel() -> None:
    assert allowed("cid", snapshot=group(muted=True)) == {"recall", "react", "unreact"}
    assert allowed("bob", snapshot=group(muted=True)) == set(ACTS)


@pytest.mark.parametrize("user", ["bob", "cid"])
def test_who_is_muted_by_name_does_not_even_react_until_that_is_over(user: str) -> None:
    there = group(muted_by_name=user)
    assert allowed(user, snapshot=there, now_ms=49) == {"recall", "unreact"}
    assert allowed(user, snapshot=there, now_ms=50) == allowed(user, snapshot=group())


def test_both_may_do_all_in_a_direct_chat_and_nobody_else_anything() -> None:
    assert allowed("amy", "d:amy|bob") == allowed("bob", "d:amy|bob") == set(ACTS)
    assert allowed("eve", "d:amy|bob") == set()


def test_where_only_the_operator_writes_everybody_may_react() -> None:
    assert allowed("amy", "b:all") == {"react", "unreact"}
    assert allowed("tidings", "b:all") == set(ACTS)


def test_a_group_that_there_is_not_is_not_found_by_anybody() -> None:
    for user in ("amy", "tidings"):
        with pytest.raises(NotFound):
            rights_of("pin", "g:x", user, None, WINDOWS, 0)


def test_storage_is_told_what_it_judges_by() -> None:
    assert rights_of("edit", "g:x", "cid", group(), WINDOWS, 0) == pb.ActorRights(role=1, first_seq=4, window_ms=7)
    assert rights_of("recall", "g:x", "cid", group(channel=True), WINDOWS, 0) == pb.ActorRights(
        role=1, first_seq=4, window_ms=8, silenced=True
    )
    assert rights_of("pin", "d:amy|bob", "amy", None, WINDOWS, 0) == pb.ActorRights()
    assert rights_of("recall", "d:amy|bob", "tidings", None, WINDOWS, 0) == pb.ActorRights(is_operator=True)
