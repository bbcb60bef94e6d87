"""What logic nodes are answered by a storage node, and by the fake one of logic's own tests, call by call.

Does not know: times and message ids, which are each one's own, and what the fake says that it does not know.
"""

from __future__ import annotations

from typing import Any

from protos.tidings.internal.v1 import common_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from tests.contract.storage_calls.harness import Storage
from tests.unit.storage.nodes import change, content_of, create, post, send
from tidings_protocol import client_pb2
from tidings_protocol.ids import direct

CHAT = direct("ann", "bob")
GROUP = "g:1"
DONE = pb.ChangeOutcome.DONE


async def test_numbers_are_dense_in_the_conversation_and_in_each_inbox(storage: Storage) -> None:
    first, second = await storage.store(send("ann", "bob", "1"), send("bob", "ann", "2"))
    (other,) = await storage.store(send("ann", "cid", "3"))
    assert [(each.status, each.seq, list(each.numbers)) for each in (first, second, other)] == [
        (pb.StoreOutcome.STORED, 1, [1, 1]),
        (pb.StoreOutcome.STORED, 2, [2, 2]),
        (pb.StoreOutcome.STORED, 1, [3, 1]),
    ]
    assert first.time_ms <= second.time_ms


async def test_a_repeat_is_told_what_was_stored_first(storage: Storage) -> None:
    (first,) = await storage.store(send("ann", "bob", "1", "first"))
    (again,) = await storage.store(send("ann", "bob", "1", "second"))
    assert (again.status, again.seq, again.time_ms) == (pb.StoreOutcome.DUPLICATE, 1, first.time_ms)
    assert (again.content, again.kind, list(again.numbers)) == (content_of("first"), client_pb2.Message.NORMAL, [1, 1])


async def test_who_only_looks_stores_nothing(storage: Storage) -> None:
    item = send("ann", "bob", "1")
    item.only_look = True
    (looked,) = await storage.store(item)
    assert (looked.status, looked.seq) == (pb.StoreOutcome.NOT_STORED, 0)
    await storage.store(send("ann", "bob", "1"))
    (looked,) = await storage.store(item)
    assert (looked.status, looked.seq) == (pb.StoreOutcome.DUPLICATE, 1)


async def test_a_reply_to_what_is_not_there_is_not_stored(storage: Storage) -> None:
    (outcome,) = await storage.store(send("ann", "bob", "1", reply_to=7))
    assert outcome.status == pb.StoreOutcome.NO_SUCH_REPLY
    assert (await storage.ask("InboxHeads", pb.KeyBatch(keys=["ann"]), pb.HeadOutcomes)).heads == [0]


async def test_a_group_comes_into_being_with_its_notice(storage: Storage) -> None:
    made = await storage.change(create(GROUP, "ann", "bob"))
    assert (made.status, made.record.exists, made.record.version, made.record.member_count) == (DONE, True, 1, 2)
    assert (made.record.head, made.record.name, made.record.large_from) == (1, "friends", 0)
    assert [(each.seq, list(each.numbers)) for each in made.notices] == [(1, [1, 1])]
    loaded = await storage.load(GROUP)
    assert {member.user: member.role for member in loaded.members} == {"ann": 3, "bob": 1}
    assert (loaded.record.version, loaded.unchanged) == (1, False)


async def test_the_same_change_again_has_the_same_outcome(storage: Storage) -> None:
    await storage.change(create(GROUP, "ann", "bob"))
    once = await storage.change(change(GROUP, "ann", "add", 1, joins=["cid"], notices=[["ann", "bob", "cid"]]))
    again = await storage.change(change(GROUP, "ann", "add", 1, joins=["cid"], notices=[["ann", "bob", "cid"]]))
    assert (once.status, again.status) == (DONE, DONE)
    assert [notice.seq for notice in once.notices] == [notice.seq for notice in again.notices] == [2]
    assert again.record.member_count == once.record.member_count == 3
    assert again.record.version == 2


async def test_what_was_decided_on_an_old_version_is_stale(storage: Storage) -> None:
    await storage.change(create(GROUP, "ann", "bob"))
    await storage.change(change(GROUP, "ann", "out", 1, removed=["bob"], notices=[["ann"]]))
    (stored,) = await storage.store(post(GROUP, "bob", "1", 1, ["ann", "bob"]))
    changed = await storage.change(change(GROUP, "bob", "rename", 1, notices=[["ann", "bob"]]))
    assert (stored.status, changed.status) == (pb.StoreOutcome.STALE, pb.ChangeOutcome.STALE)
    (stored,) = await storage.store(post(GROUP, "ann", "2", 2, ["ann"]))
    assert (stored.status, stored.seq) == (pb.StoreOutcome.STORED, 3)


async def test_members_of_a_known_version_are_left_out(storage: Storage) -> None:
    await storage.change(create(GROUP, "ann", "bob"))
    loaded = await storage.load(GROUP, known_version=1)
    assert (loaded.unchanged, list(loaded.members), loaded.record.version) == (True, [], 1)


async def test_a_group_that_is_not_there_does_not_exist(storage: Storage) -> None:
    assert not (await storage.load(GROUP)).record.exists


async def test_of_a_large_group_those_members_are_told_that_are_asked_for(storage: Storage) -> None:
    made = await storage.change(create(GROUP, "ann", "bob", "cid", large=True))
    assert made.record.large_from == 1
    loaded = await storage.load(GROUP, users=["cid", "eve"])
    assert [member.user for member in loaded.members] == ["cid"]
    successor = await storage.load(GROUP, users=["ann"], successor=True)
    assert successor.successor == "bob"
    opened = await storage.open("bob", "phone", "s1", "g:2")
    assert [each.conversation for each in opened.large if each.conversation != "b:all"] == [GROUP]
    assert list(opened.left) == ["g:2"]


async def test_marks_move_forwards_only_and_not_past_the_head(storage: Storage) -> None:
    await storage.store(send("ann", "bob", "1"), send("ann", "bob", "2"))
    moved = await storage.mark(CHAT, "bob", delivered_seq=1)
    assert (moved.moved, moved.read_seq, moved.delivered_seq) == (True, 0, 1)
    moved = await storage.mark(CHAT, "bob", read_seq=9)
    assert (moved.moved, moved.read_seq, moved.delivered_seq) == (True, 2, 2)
    moved = await storage.mark(CHAT, "bob", read_seq=1)
    assert (moved.moved, moved.read_seq, moved.delivered_seq) == (False, 2, 2)


async def test_what_is_hidden_is_what_is_there(storage: Storage) -> None:
    await storage.store(*(send("ann", "bob", str(number)) for number in range(1, 4)))

    async def hide(conversation: str, *seqs: int, through: int = 0) -> tuple[list[int], int]:
        item = pb.HideItem(conversation=conversation, user="bob", seqs=seqs, through=through)
        [outcome] = (await storage.ask("Hide", pb.HideBatch(items=[item]), pb.HideOutcomes)).outcomes
        return list(outcome.seqs), outcome.through

    assert await hide(CHAT, 3, 1, 3, 9, 0) == ([1, 3], 0)
    assert await hide(CHAT, through=9) == ([], 3)
    assert await hide(direct("ann", "zoe"), 1, through=1) == ([], 0)


async def test_pages_of_a_history_and_of_an_inbox(storage: Storage) -> None:
    await storage.store(*(send("ann", "bob", str(number)) for number in range(1, 6)))

    async def history(**fields: Any) -> tuple[list[int], int]:
        batch = pb.HistoryBatch(items=[pb.HistoryItem(conversation=CHAT, **fields)])
        page = (await storage.ask("History", batch, pb.PageOutcomes)).outcomes[0]
        return [client_pb2.Message.FromString(entry.message).seq for entry in page.entries], page.head

    assert await history(after=1, limit=2) == ([2, 3], 5)
    assert await history(limit=2) == ([4, 5], 5)
    assert await history(before=3, limit=5) == ([1, 2], 5)
    batch = pb.InboxBatch(items=[pb.InboxItem(user="bob", after=2, limit=2)])
    page = (await storage.ask("Inbox", batch, pb.PageOutcomes)).outcomes[0]
    assert [entry.number for entry in page.entries] == [3, 4]
    assert (page.head, page.more, page.next) == (5, True, 4)
    messages = [client_pb2.Message.FromString(entry.message) for entry in page.entries]
    assert [(each.seq, each.sender, each.client_id) for each in messages] == [(3, "ann", "3"), (4, "ann", "4")]


async def test_members_come_in_pages_by_name(storage: Storage) -> None:
    await storage.change(create(GROUP, "cid", "ann", "bob"))

    async def page(after: str) -> tuple[list[str], bool]:
        batch = pb.MembersBatch(items=[pb.MembersItem(conversation=GROUP, after=after, limit=2)])
        outcome = (await storage.ask("Members", batch, pb.MembersOutcomes)).outcomes[0]
        return [member.user for member in outcome.members], outcome.more

    assert await page("") == (["ann", "bob"], True)
    assert await page("bob") == (["cid"], False)


async def test_a_session_takes_the_place_of_the_one_before_on_its_device(storage: Storage) -> None:
    await storage.store(send("ann", "bob", "1"))
    first = await storage.open("bob", "phone", "s1")
    assert (first.inbox_head, first.HasField("replaced")) == (1, False)
    assert first.epoch
    assert (await storage.open("bob", "web", "s2")).HasField("replaced") is False
    assert (await storage.open("bob", "phone", "s3")).replaced.session == "s1"
    there = await storage.ask("Sessions", pb.KeyBatch(keys=["bob"]), pb.SessionsOutcomes)
    assert sorted(each.session for each in there.outcomes[0].sessions) == ["s2", "s3"]
    closed = pb.SessionCloseItem(user="bob", device="phone", session="s1")  # that one is long gone
    await storage.ask("Close", pb.SessionCloseBatch(items=[closed]), common_pb2.Empty)
    page = await storage.ask("SessionsUnder", pb.BootQuery(boot_id="boot", limit=1), pb.BootPage)
    assert ([each.session for each in page.sessions], page.more) == (["s3"], True)


async def test_a_list_has_the_conversations_of_a_user_with_their_last_message(storage: Storage) -> None:
    await storage.change(create(GROUP, "ann", "bob"))
    await storage.change(create("g:2", "bob", "cid"))
    batch = pb.ConversationsBatch(items=[pb.ConversationsItem(user="ann", limit=5)])
    outcome = (await storage.ask("Conversations", batch, pb.ConversationsOutcomes)).outcomes[0]
    (entry,) = outcome.entries
    assert (entry.record.conversation, entry.me.user, entry.me.role, outcome.more) == (GROUP, "ann", 3, False)
    assert client_pb2.Message.FromString(entry.last).seq == 1


async def test_heads_are_those_of_what_was_asked_for(storage: Storage) -> None:
    await storage.store(send("ann", "bob", "1"), send("ann", "bob", "2"))
    heads = await storage.ask("ConversationHeads", pb.KeyBatch(keys=[CHAT, direct("x", "y")]), pb.HeadOutcomes)
    assert list(heads.heads) == [2, 0]
    heads = await storage.ask("InboxHeads", pb.KeyBatch(keys=["bob", "nobody"]), pb.HeadOutcomes)
    assert list(heads.heads) == [2, 0]
