"""What every repository of conversations and members promises."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from services.common.clock import SystemClock
from services.storage.repository.contract import Repository
from services.storage.repository.records import (
    ConversationDocument,
    MadeChange,
    MemberCursor,
    MemberDocument,
    MemberKey,
    OpKey,
    Watermark,
)

GROUP = ConversationDocument("g:1", 2, name="friends", open=True, version=1, member_count=2, stamp=1, pending=b"p")


def member(user: str, stamp: int = 1, conversation: str = "g:1", **fields: int) -> MemberDocument:
    return MemberDocument(conversation, user, stamp=stamp, **fields)  # type: ignore[arg-type]  # only ints are given


async def test_a_conversation_is_created_once(repository: Repository) -> None:
    first = ConversationDocument("d:a|b", 1, member_count=2)
    await repository.conversations.create([first])
    await repository.conversations.create([replace(first, member_count=9), ConversationDocument("d:a|c", 1)])
    found = await repository.conversations.load(["d:a|b", "d:a|c", "d:x|y"])
    assert found == {"d:a|b": first, "d:a|c": ConversationDocument("d:a|c", 1)}


async def test_a_swap_needs_the_expected_stamp(repository: Repository) -> None:
    assert await repository.conversations.swap(GROUP, 0)
    assert not await repository.conversations.swap(replace(GROUP, name="others"), 0)
    renamed = replace(GROUP, name="others", stamp=2, version=2, applied_seq=5, large_from=6, channel=True, pending=b"")
    assert not await repository.conversations.swap(renamed, 7)
    assert await repository.conversations.swap(renamed, 1)
    assert await repository.conversations.load(["g:1"]) == {"g:1": renamed}


async def test_of_two_swaps_from_one_stamp_one_wins(repository: Repository) -> None:
    await repository.conversations.swap(GROUP, 0)
    done = await asyncio.gather(
        *(repository.conversations.swap(replace(GROUP, stamp=2, name=name), 1) for name in ("x", "y"))
    )
    assert sorted(done) == [False, True]


async def test_a_swap_leaves_the_watermarks(repository: Repository) -> None:
    await repository.conversations.swap(GROUP, 0)
    await repository.conversations.advance([Watermark("g:1", head=9, settled=8, last_ms=700, first_seq=2)])
    await repository.conversations.swap(replace(GROUP, stamp=2), 1)
    found = (await repository.conversations.load(["g:1"]))["g:1"]
    assert (found.head, found.settled, found.last_ms, found.first_seq) == (9, 8, 700, 2)


async def test_watermarks_never_go_back(repository: Repository) -> None:
    await repository.conversations.swap(GROUP, 0)
    await repository.conversations.advance([Watermark("g:1", 9, 8, 700), Watermark("g:unknown", 1, 1, 1)])
    await repository.conversations.advance([Watermark("g:1", 5, 9, 600)])
    found = await repository.conversations.load(["g:1", "g:unknown"])
    assert list(found) == ["g:1"]
    assert (found["g:1"].head, found["g:1"].settled, found["g:1"].last_ms) == (9, 9, 700)


async def test_a_pending_change_is_done_with_by_its_stamp(repository: Repository) -> None:
    await repository.conversations.swap(GROUP, 0)
    await repository.conversations.advance([Watermark("g:1", applied_stamp=4)])
    assert (await repository.conversations.load(["g:1"]))["g:1"].pending == b"p"
    await repository.conversations.advance([Watermark("g:1", applied_stamp=1)])
    assert (await repository.conversations.load(["g:1"]))["g:1"].pending == b""


async def test_conversations_are_walked_by_id(repository: Repository) -> None:
    await repository.conversations.create([ConversationDocument(f"g:{letter}", 2) for letter in "cab"])
    assert [each.conversation for each in await repository.conversations.after("", 2)] == ["g:a", "g:b"]
    assert [each.conversation for each in await repository.conversations.after("g:b", 2)] == ["g:c"]


async def test_members_are_found_by_conversation_and_by_user(repository: Repository) -> None:
    ann, bob = member("ann", role=3, joined_seq=4, joined_ms=5, read_seq=6, delivered_seq=7), member("bob")
    far = member("ann", conversation="g:12")
    await repository.members.write([ann, bob, far])
    assert await repository.members.all_in(["g:1", "g:none"]) == {"g:1": [ann, bob]}
    keys = [MemberKey("g:1", "bob"), MemberKey("g:1", "zoe"), MemberKey("g:12", "ann")]
    assert await repository.members.find(keys) == {keys[0]: bob, keys[2]: far}
    found = await repository.members.memberships(["ann", "zoe"], large_only=False)
    assert sorted(each.conversation for each in found.pop("ann")) == ["g:1", "g:12"]
    assert found == {}


async def test_only_large_memberships_if_that_is_asked(repository: Repository) -> None:
    large = MemberDocument("g:2", "ann", large=True, stamp=1)
    await repository.members.write([member("ann"), large])
    assert await repository.members.memberships(["ann"], large_only=True) == {"ann": [large]}


async def test_a_write_with_a_stamp_that_is_not_higher_does_nothing(repository: Repository) -> None:
    await repository.members.write([member("ann", stamp=5, role=2)])
    await repository.members.write([member("ann", stamp=5, role=3), member("ann", stamp=4, role=1)])
    assert (await repository.members.all_in(["g:1"]))["g:1"] == [member("ann", stamp=5, role=2)]


async def test_a_member_who_is_gone_is_in_no_answer_and_not_brought_back_by_an_older_write(
    repository: Repository,
) -> None:
    await repository.members.write([member("ann"), member("bob")])
    gone = MemberDocument("g:1", "ann", stamp=3, gone=True)
    await repository.members.write([gone, MemberDocument("g:1", "zoe", stamp=3, gone=True)])
    await repository.members.write([member("ann", stamp=2), member("zoe", stamp=2)])
    assert await repository.members.all_in(["g:1"]) == {"g:1": [member("bob")]}
    assert await repository.members.find([MemberKey("g:1", "ann")]) == {}
    assert await repository.members.page("g:1", "", 10) == [member("bob")]
    assert await repository.members.memberships(["ann", "zoe"], large_only=False) == {}


async def test_who_was_gone_can_join_again_and_cursors_never_go_back(repository: Repository) -> None:
    await repository.members.write([member("ann", read_seq=9, delivered_seq=10)])
    await repository.members.write([MemberDocument("g:1", "ann", stamp=2, gone=True)])
    await repository.members.write([member("ann", stamp=3, joined_seq=8, read_seq=8, delivered_seq=12)])
    found = (await repository.members.all_in(["g:1"]))["g:1"][0]
    assert (found.joined_seq, found.read_seq, found.delivered_seq) == (8, 9, 12)


async def test_cursors_move_up_only_and_only_for_members(repository: Repository) -> None:
    await repository.members.write([member("ann", read_seq=5, delivered_seq=5)])
    await repository.members.advance([MemberCursor("g:1", "ann", 4, 7), MemberCursor("g:1", "zoe", 4, 4)])
    assert (await repository.members.all_in(["g:1"]))["g:1"] == [member("ann", read_seq=5, delivered_seq=7)]


async def test_members_are_paged_by_user_id(repository: Repository) -> None:
    names = ["a", "a.b", "aa", "b"]
    await repository.members.write([member(name) for name in reversed(names)])
    assert [each.user for each in await repository.members.page("g:1", "", 2)] == ["a", "a.b"]
    assert [each.user for each in await repository.members.page("g:1", "a.b", 9)] == ["aa", "b"]


async def test_the_successor_is_the_oldest_admin_else_the_oldest_member(repository: Repository) -> None:
    await repository.members.write([member("owner", role=3), member("old", role=1, joined_ms=1)])
    assert await repository.members.successor("g:1", "owner") == "old"
    await repository.members.write([member("later", role=2, joined_ms=9), member("late", role=2, joined_ms=8)])
    assert await repository.members.successor("g:1", "owner") == "late"
    assert await repository.members.successor("g:none", "owner") == ""


async def test_a_time_that_was_ahead_is_replaced_and_any_other_never_goes_back(repository: Repository) -> None:
    day_ms = 24 * 3600 * 1000
    names = ["g:back", "g:wrong", "g:near"]
    await repository.conversations.create([ConversationDocument(name, 2, last_ms=day_ms) for name in names])
    await repository.conversations.advance(
        [
            Watermark("g:back", last_ms=5),
            Watermark("g:wrong", last_ms=5, was_ahead=True),
            Watermark("g:near", last_ms=day_ms - 1000, was_ahead=True),
        ]
    )
    found = await repository.conversations.load(names)
    assert {name: document.last_ms for name, document in found.items()} == {
        "g:back": day_ms,
        "g:wrong": 5,
        "g:near": day_ms,
    }


async def test_the_database_has_a_time_of_day(repository: Repository) -> None:
    """As this machine has it: both run on one."""
    assert abs(await repository.time.now_ms() - time.time() * 1000) < 60_000


async def test_the_times_of_conversations_come_without_the_rest(repository: Repository) -> None:
    await repository.conversations.create([ConversationDocument(f"g:{ms}", 2, last_ms=ms) for ms in (5, 7)])
    assert await repository.conversations.times(["g:5", "g:7", "g:none"]) == {"g:5": 5, "g:7": 7}
    assert await repository.conversations.times([]) == {}


async def test_what_a_user_has_joined_is_told_by_id(repository: Repository) -> None:
    await repository.members.write([member("ann", conversation="g:a"), member("ann", conversation="d:ann|bob")])
    await repository.members.write([member("bob", conversation="g:b"), member("ann", conversation="g:left")])
    await repository.members.write([replace(member("ann", 2, conversation="g:left"), gone=True)])
    assert sorted(await repository.members.joined("ann")) == ["d:ann|bob", "g:a"]
    assert await repository.members.joined("zoe") == []


async def test_a_change_without_notice_is_found_by_its_op_as_it_was_kept_first(repository: Repository) -> None:
    key, other = OpKey("g:1", "ann", "op 1"), OpKey("g:1", "bob", "op 1")
    now_ms = SystemClock().wall_ms()
    await repository.changes.keep([MadeChange(key, b"first", now_ms)])
    await repository.changes.keep([MadeChange(key, b"second", now_ms), MadeChange(other, b"other", now_ms)])
    assert await repository.changes.find([key, other, OpKey("g:2", "ann", "op 1")]) == {key: b"first", other: b"other"}
    assert await repository.changes.find([]) == {}
