"""Inbox numbers and the order of conversations, by example."""

from __future__ import annotations

from collections.abc import Iterable

from tidings.core.messages.inbox import Inbox, Item
from tidings.core.messages.order import Order
from tidings.model import MEMBERSHIP_MIME
from tidings_protocol import client_pb2 as pb


def _item(number: int, seq: int | None = None, conversation: str = "d:a|b") -> Item:
    seq = number if seq is None else seq
    return Item(conversation, seq, pb.Message(conversation=conversation, seq=seq), number)


def _numbers(items: Iterable[Item]) -> list[int]:
    return [item.number for item in items]


def _seqs(items: Iterable[Item]) -> list[int]:
    return [item.seq for item in items]


def test_what_is_ahead_waits_for_what_is_missing() -> None:
    inbox = Inbox(10, 100)
    assert _numbers(inbox.push(_item(12))) == []
    assert inbox.behind
    assert _numbers(inbox.push(_item(11))) == [11, 12]
    assert not inbox.behind


def test_what_came_before_comes_no_more() -> None:
    inbox = Inbox(10, 100)
    assert _numbers(inbox.push(_item(11))) == [11]
    assert _numbers(inbox.push(_item(11))) == []
    assert _numbers(inbox.push(_item(3))) == []


def test_the_cursor_stops_before_what_was_not_taken() -> None:
    inbox = Inbox(0, 100)
    for number in (1, 2, 3):
        list(inbox.push(_item(number)))
    inbox.taken(2)
    inbox.taken(3)
    assert inbox.cursor == 0
    inbox.taken(1)
    assert inbox.cursor == 3


def test_numbers_that_retention_took_are_skipped_when_the_server_says_so() -> None:
    inbox = Inbox(0, 100)
    page = pb.Page(head=9, truncated=True)
    assert _numbers(inbox.page(0, page, [_item(8), _item(9)])) == [8, 9]
    empty = Inbox(0, 100)
    assert list(empty.page(0, page, [])) == []
    assert empty.tip == 9


def test_a_page_that_shows_nothing_moves_to_where_the_server_looked() -> None:
    inbox = Inbox(10, 100)
    assert list(inbox.page(10, pb.Page(next=4030, head=9000, more=True, truncated=True), [])) == []
    assert inbox.tip == 4030


def test_what_retention_took_behind_the_last_entry_of_a_page_is_passed_too() -> None:
    inbox = Inbox(10, 100)
    list(inbox.push(_item(4000)))  # pushed, and ahead of the hole
    page = pb.Page(next=4031, head=9000, more=True, truncated=True)
    assert _numbers(inbox.page(10, page, [_item(12)])) == [12, 4000]
    assert inbox.tip == 4031


def test_a_page_never_moves_beyond_the_head() -> None:
    inbox = Inbox(10, 100)
    list(inbox.page(10, pb.Page(next=99, head=20, truncated=True, more=True), []))
    assert inbox.tip == 20


def test_a_hole_that_the_server_does_not_explain_is_believed_at_the_third_time() -> None:
    inbox = Inbox(0, 100)
    page = pb.Page(head=5)
    assert [_numbers(inbox.page(0, page, [_item(4), _item(5)])) for _ in range(3)] == [[], [], [4, 5]]


def test_a_seq_that_is_missing_holds_the_later_ones_back() -> None:
    order = Order({}, {"d:a|b": 4})
    assert _seqs(order.offer(_item(11, 6), "a")) == []
    assert list(order.unfinished()) == ["d:a|b"]
    assert _seqs(order.offer(_item(12, 5), "a")) == [5, 6]
    assert not order.unfinished()


def test_history_settles_what_is_missing_and_what_does_not_exist() -> None:
    order = Order({}, {"d:a|b": 4})
    list(order.offer(_item(11, 8), "a"))
    filled = order.fill("d:a|b", [_item(0, 6), _item(0, 7)], pb.Page(head=8))
    assert _seqs(filled) == [6, 7, 8]


def test_a_page_of_history_that_shows_nothing_moves_to_where_the_server_looked() -> None:
    order = Order({"g:1": 4}, {})
    order.note_head("g:1", 6000)
    list(order.fill("g:1", [], pb.Page(head=6000, next=5004, more=True)))
    assert order.track("g:1").last == 5004
    assert order.fruitless("g:1") == 0


def test_what_several_readers_are_at_work_on_holds_the_cursor() -> None:
    order = Order({"g:1": 4}, {})
    for seq in (5, 6, 7):
        list(order.offer(_item(0, seq, "g:1"), "me"))
        order.queued("g:1", seq)
    order.took("g:1", 6)
    order.took("g:1", 7)
    assert order.groups() == {"g:1": 4}
    order.took("g:1", 5)
    assert order.groups() == {"g:1": 7}


def test_one_who_is_added_again_reads_on_from_there() -> None:
    order = Order({}, {"g:1": 4})
    told = b'{"act": "add", "by": "b", "users": ["me"]}'
    added = pb.Message(
        conversation="g:1",
        seq=20,
        kind=pb.Message.SYSTEM,
        content=pb.Content(data=told, mime=MEMBERSHIP_MIME),
    )
    assert _seqs(order.offer(Item("g:1", 20, added, 11), "me")) == [20]


def test_a_group_that_is_read_by_cursor_keeps_one() -> None:
    order = Order({"g:1": 4}, {})
    (five,) = order.offer(_item(0, 5, "g:1"), "me")
    order.queued("g:1", five.seq)
    assert order.groups() == {"g:1": 4}
    order.took("g:1", five.seq)
    assert order.groups() == {"g:1": 5}
