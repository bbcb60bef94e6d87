"""Which rows of a batch are plain, and where the others go."""

from __future__ import annotations

from services.logic.groups.model import GroupMember, GroupRole, GroupSnapshot
from services.logic.messages.row_plan import RowPlan, plan_rows

MEMBERS = {user: GroupMember(user, role) for user, role in (("amy", GroupRole.OWNER), ("bob", GroupRole.MEMBER))}
GROUPS = {
    "g:x": GroupSnapshot("g:x", 7, MEMBERS, 2),
    "g:big": GroupSnapshot("g:big", 3, MEMBERS, 2, large_from=1),
    "g:news": GroupSnapshot("g:news", 4, MEMBERS, 2, channel=True),
}


def planned(*rows: tuple[str, str]) -> RowPlan:
    return plan_rows([conversation for conversation, _ in rows], [sender for _, sender in rows], GROUPS.get)


def test_direct_chats_and_groups_in_memory_are_plain_with_all_that_storage_needs() -> None:
    plan = planned(("d:amy|bob", "bob"), ("g:x", "bob"), ("d:amy|amy", "amy"), ("g:x", "amy"))
    assert plan.plain == [0, 1, 2, 3]
    assert plan.recipients == ["amy", "bob", "amy", "bob", "amy", "amy", "bob"]
    assert plan.recipient_counts == [2, 2, 1, 2]
    assert plan.owns == [1, 3, 4, 5]
    assert plan.versions == [0, 7, 0, 7]
    assert (plan.apart, plan.after) == ([], [])


def test_what_memory_does_not_allow_or_does_not_know_is_not_plain() -> None:
    rows = [
        ("d:amy|bob", "eve"),
        ("g:x", "eve"),
        ("g:unknown", "amy"),
        ("g:big", "amy"),
        ("g:news", "bob"),
        ("b:all", "amy"),
        ("d:amy", "amy"),
        ("nonsense", "amy"),
        ("", "amy"),
    ]
    for row in rows:
        plan = planned(row, ("d:amy|cid", "amy"))
        assert (plan.plain, plan.apart, plan.after) == ([1], [0], []), row


def test_what_is_special_is_not_plain_nor_is_what_comes_after_it() -> None:
    conversations = ["d:amy|bob", "g:x", "d:amy|bob", "g:x", "d:amy|bob", "d:amy|cid"]
    plan = plan_rows(conversations, ["amy"] * 6, GROUPS.get, {1: object(), 2: object()})
    assert (plan.plain, plan.apart, plan.after) == ([0, 5], [1, 3], [2, 4])


def test_rows_after_one_that_is_not_plain_in_its_conversation_are_not_either() -> None:
    plan = planned(("g:x", "eve"), ("d:amy|bob", "amy"), ("g:x", "amy"), ("d:amy|bob", "bob"))
    assert (plan.plain, plan.apart, plan.after) == ([1, 3], [0, 2], [])


def test_rows_of_a_conversation_with_plain_ones_come_after_these() -> None:
    plan = planned(("g:x", "amy"), ("g:x", "eve"), ("g:big", "amy"), ("g:x", "bob"), ("d:amy|bob", "eve"))
    assert (plan.plain, plan.apart, plan.after) == ([0], [2, 4], [1, 3])


def test_a_group_is_looked_at_once() -> None:
    asked: list[str] = []

    def group_of(conversation: str) -> GroupSnapshot:
        asked.append(conversation)
        return GROUPS[conversation]

    plan_rows(["g:x", "g:x", "d:amy|bob", "g:x"], ["amy", "bob", "amy", "amy"], group_of)
    assert asked == ["g:x"]
