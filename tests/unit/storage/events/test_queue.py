"""The queue of the feed: bounded, in order, and never says too early that something is told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.storage.events.port import FedChange, FedRow
from services.storage.events.queue import DEBTS_MAX, ITEM_BYTES, ROWS_MAX, Debt, FeedQueue
from services.storage.memory.conversation import CachedConversation
from services.storage.repository.records import ConversationDocument, StoredMessage
from tidings_protocol.ids import ConversationKind


def chat(name: str = "d:a|b") -> CachedConversation:
    return CachedConversation(name, ConversationKind.DIRECT, ConversationDocument(name, 1), exists=True)


def hall(stamp: int) -> CachedConversation:
    document = ConversationDocument("g:1", 2, large_from=1, stamp=stamp)
    return CachedConversation("g:1", ConversationKind.GROUP, document, exists=True)


def store(queue: FeedQueue, conversation: CachedConversation) -> FedRow:
    """The next message of the conversation, as a turn hands it over."""
    conversation.head += 1
    row = FedRow(conversation, StoredMessage(conversation.id, conversation.head, "a", "c", 1, b""), ())
    queue.stored([row])
    return row


def pay(queue: FeedQueue) -> None:
    """Tells what is taken next; a debt is paid with one page."""
    rows, debts = queue.take()
    queue.told(rows, debts)


def test_what_is_taken_comes_in_its_order_and_moves_the_watermark_when_it_is_told() -> None:
    queue, conversation = FeedQueue(10**6), chat()
    rows = [store(queue, conversation) for _ in range(3)]
    taken, debts = queue.take()
    assert (taken, debts, conversation.told, conversation.fed) == (rows, [], 0, 3)
    assert not queue.is_told(queue.mark)
    queue.told(taken)
    assert conversation.told == 3
    assert queue.is_told(queue.mark)
    assert (len(queue), queue.size) == (0, 0)


def test_what_it_has_already_is_not_taken_again() -> None:
    queue, conversation = FeedQueue(10**6), chat()
    row = store(queue, conversation)
    queue.stored([row])
    queue.loaded([conversation])
    assert len(queue) == 1


def test_a_row_that_would_leave_a_gap_becomes_a_debt_up_to_the_head() -> None:
    queue, conversation = FeedQueue(10**6), chat()
    conversation.head = 4
    store(queue, conversation)
    [], [debt] = queue.take()
    assert (debt.upto, conversation.fed) == (5, 5)
    queue.told([], [debt])
    assert conversation.told == 5


def test_a_debt_that_is_not_paid_by_one_page_comes_before_what_follows_it() -> None:
    queue, conversation = FeedQueue(10**6), chat()
    conversation.head = 4
    queue.loaded([conversation])
    later = store(queue, conversation)
    _, [debt] = queue.take()
    page = [FedRow(conversation, StoredMessage(conversation.id, seq, "a", "c", 1, b""), ()) for seq in (1, 2)]
    queue.told(page, left=[debt])
    assert conversation.told == 2
    assert not queue.is_told(1)
    assert queue.take() == ([], [debt])
    queue.told([], [debt])
    assert conversation.told == 4
    assert queue.take() == ([later], [])


def test_a_change_without_notice_that_follows_on_another_ones_is_a_debt() -> None:
    queue, group = FeedQueue(10**6), hall(stamp=2)
    group.fed_stamp = 1
    queue.changed([FedChange(group, 2, [b"x"], 1)])
    assert group.fed_stamp == 2
    group.document = hall(stamp=4).document
    queue.changed([FedChange(group, 4, [b"x"], 1)])
    (row,), _ = queue.take()
    assert isinstance(row, FedChange)
    queue.told([row])
    assert group.told_stamp == 2
    _, [debt] = queue.take()
    queue.told([], [debt])
    assert group.told_stamp == 4


def test_what_has_no_room_is_owed_with_all_that_follows_and_becomes_a_debt_when_there_is_room() -> None:
    queue, first, second = FeedQueue(2 * ITEM_BYTES), chat(), chat("d:a|c")
    store(queue, first)
    store(queue, first)
    store(queue, second)
    assert queue.size == 2 * ITEM_BYTES
    assert queue.owed == 1
    mark = queue.mark
    assert queue.take_owed(10) == []
    pay(queue)
    assert not queue.is_told(mark)
    store(queue, second)
    assert queue.owed == 1
    assert queue.take_owed(10) == ["d:a|c"]
    queue.loaded([second])
    queue.found()
    assert not queue.is_told(mark)
    pay(queue)
    assert second.told == 2
    assert queue.is_told(mark)
    assert queue.is_told(queue.mark)


def test_ids_that_have_no_room_are_counted_as_lost() -> None:
    queue = FeedQueue(0, owed_max=1)
    for name in ("d:a|b", "d:a|c", "d:a|b"):
        store(queue, chat(name))
    assert (queue.owed, queue.lost) == (1, 1)
    queue.take_owed(1)
    queue.found()
    assert not queue.is_told(queue.mark)


def test_what_is_taken_at_once_is_bounded_and_debts_are_taken_alone() -> None:
    queue, conversation = FeedQueue(10**9), chat()
    for _ in range(ROWS_MAX + 1):
        store(queue, conversation)
    for number in range(DEBTS_MAX + 1):
        other = chat(f"d:x|y{number}")
        other.head = 1
        queue.loaded([other])
    taken = [queue.take() for _ in range(1)]
    assert len(taken[0][0]) == ROWS_MAX
    queue.told(taken[0][0])
    rows, debts = queue.take()
    assert (len(rows), len(debts)) == (1, 0)
    queue.told(rows)
    rows, debts = queue.take()
    assert (len(rows), len(debts)) == (0, DEBTS_MAX)
    assert all(isinstance(each, Debt) for each in debts)


@given(st.lists(st.sampled_from("sstpfl"), max_size=60), st.integers(0, 5))
def test_whatever_comes_first_events_are_in_order_and_a_mark_is_told_only_with_all_before_it(
    steps: list[str], room: int
) -> None:
    """s: a message is stored; t: what is next is told; p: what is owed is loaded; f: all owed is found; l: loaded."""
    queue, conversation = FeedQueue(room * ITEM_BYTES), chat()
    told: list[int] = []
    marks: list[tuple[int, int]] = []
    for step in steps:
        match step:
            case "s":
                store(queue, conversation)
                marks.append((queue.mark, conversation.head))
            case "t":
                rows, debts = queue.take()
                told += [row.message.seq for row in rows if isinstance(row, FedRow)]
                for debt in debts:
                    told += range(conversation.told + 1, debt.upto + 1)
                queue.told(rows, debts)
            case "p":
                if queue.take_owed(1):
                    queue.loaded([conversation])
            case "f":
                queue.found()
            case _:
                queue.loaded([conversation])
        assert told == list(range(1, conversation.told + 1))
        assert queue.size <= room * ITEM_BYTES
        assert all(head <= conversation.told for mark, head in marks if queue.is_told(mark))
