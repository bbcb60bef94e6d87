"""Who gets an inbox entry, and of what all nodes hear."""

from __future__ import annotations

from services.logic.groups.model import GroupMember, GroupRole, GroupSnapshot
from services.logic.groups.recipients import Fanout, fanout_of

MEMBERS = {user: GroupMember(user, GroupRole.MEMBER) for user in ("amy", "bob")}


def test_both_of_a_direct_chat_and_one_who_writes_to_oneself_once() -> None:
    assert fanout_of("d:amy|bob", None) == Fanout(("amy", "bob"))
    assert fanout_of("d:amy|amy", None) == Fanout(("amy",))


def test_all_members_of_a_group_in_the_version_that_they_were_taken_from() -> None:
    fanout = fanout_of("g:x", GroupSnapshot("g:x", 7, MEMBERS, 2))
    assert (fanout, fanout.by_cursor) == (Fanout(("amy", "bob"), 7), False)


def test_large_groups_and_the_broadcast_are_read_by_cursor() -> None:
    large = fanout_of("g:x", GroupSnapshot("g:x", 7, MEMBERS, 2, large_from=3))
    assert (large, large.by_cursor) == (Fanout((), 7), True)
    assert fanout_of("b:all", None).by_cursor
