"""Numbers of inbox entries, as a value."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.storage.inboxes.numbering import Append, CachedInbox, InboxPlan
from services.storage.repository.records import InboxEntry

CHAT = "d:ann|bob"


def inboxes(capacity: int = 8) -> dict[str, CachedInbox]:
    return {user: CachedInbox(user, capacity) for user in ("ann", "bob")}


def append(seq: int, user: str = "ann", conversation: str = CHAT, *, look: bool = False) -> Append:
    """Of a message whose time is its seq."""
    return Append(user, conversation, seq, seq, only_look=look)


def numbers(entries: list[InboxEntry]) -> list[tuple[str, int, int]]:
    return [(entry.user, entry.number, entry.seq) for entry in entries]


def test_entries_follow_the_head_of_their_inbox() -> None:
    plan = InboxPlan([append(1), append(1, "bob"), append(2)], inboxes().__getitem__)
    assert numbers(plan.next_entries()) == [("ann", 1, 1), ("bob", 1, 1), ("ann", 2, 2)]
    plan.committed(3)
    assert plan.numbers == [1, 1, 2]
    assert plan.next_entries() == []


def test_an_append_that_comes_when_later_ones_are_there_is_looked_for_further_back() -> None:
    """A call may be under way for so long that its entry, made by its repeat, is not in memory any more."""
    there = inboxes(capacity=4)
    for seq in range(1, 9):
        there["ann"].push(CHAT, seq, seq)
    assert InboxPlan([append(2), append(9)], there.__getitem__).to_search == [0]


def test_a_late_append_is_looked_for_although_nothing_of_its_conversation_is_in_memory() -> None:
    """Its repeat was before it, and others have filled the memory since."""
    there = inboxes(capacity=16)
    there["ann"].push(CHAT, 1, 100)
    for seq in range(1, 41):
        there["ann"].push("d:ann|cid", seq, 100 + seq)
    late, new = Append("ann", CHAT, 1, 100), Append("ann", CHAT, 2, 141)
    assert InboxPlan([late, new], there.__getitem__).to_search == [0]


def test_of_an_inbox_that_was_loaded_what_is_as_old_as_its_first_entries_is_looked_for() -> None:
    there = inboxes(capacity=16)
    there["ann"].extend([InboxEntry("ann", number, "d:ann|cid", number, 50_000 + number) for number in range(20, 30)])
    late, new = Append("ann", CHAT, 1, 49_000), Append("ann", CHAT, 2, 60_021)
    assert InboxPlan([late, new], there.__getitem__).to_search == [0]


@given(st.lists(st.integers(0, 60), min_size=1, max_size=80), st.integers(1, 20))
def test_no_entry_that_is_out_of_memory_is_newer_than_the_inbox_thinks(times: list[int], capacity: int) -> None:
    inbox = CachedInbox("ann", capacity)
    for seq, time_ms in enumerate(times, 1):
        inbox.push(f"d:{seq}", 1, time_ms)
    for seq, time_ms in list(enumerate(times, 1))[: inbox.floor]:
        assert inbox.is_past(f"d:{seq}", 1, time_ms)


def test_an_entry_that_is_there_keeps_its_number() -> None:
    there = inboxes()
    for seq in (1, 2, 3):
        there["ann"].push(CHAT, seq, seq)
    plan = InboxPlan([append(2), append(4)], there.__getitem__)
    assert numbers(plan.next_entries()) == [("ann", 4, 4)]
    plan.committed(1)
    assert plan.numbers == [2, 4]


def test_the_same_append_twice_in_a_batch_is_one_entry() -> None:
    plan = InboxPlan([append(1), append(1), append(2)], inboxes().__getitem__)
    assert len(plan.next_entries()) == 2
    plan.committed(2)
    assert plan.next_entries() == []
    assert plan.numbers == [1, 1, 2]


def test_after_a_conflict_what_is_new_is_learnt_and_the_rest_moves_up() -> None:
    there = inboxes()
    plan = InboxPlan([append(1), append(2)], there.__getitem__)
    plan.next_entries()
    plan.committed(0)
    plan.learn([InboxEntry("ann", 1, "d:ann|cid", 9, 0), InboxEntry("ann", 2, CHAT, 1, 0)])
    assert plan.numbers == [2, 0]
    assert numbers(plan.next_entries()) == [("ann", 3, 2)]


def test_more_learnt_than_memory_holds_is_found_all_the_same() -> None:
    there = inboxes(capacity=2)
    plan = InboxPlan([append(1)], there.__getitem__)
    plan.next_entries()
    plan.committed(0)
    plan.learn([InboxEntry("ann", seq, CHAT, seq, 0) for seq in range(1, 10)])
    assert (plan.numbers, plan.next_entries(), there["ann"].head) == ([1], [], 9)


def test_what_is_only_looked_for_is_not_appended() -> None:
    there = inboxes()
    there["ann"].push(CHAT, 1, 1)
    plan = InboxPlan([append(1, look=True), append(2, look=True), append(3), append(3, look=True)], there.__getitem__)
    assert numbers(plan.next_entries()) == [("ann", 2, 3)]
    plan.committed(1)
    plan.finish()
    assert plan.numbers == [1, 0, 2, 2]


def test_an_inbox_forgets_its_oldest_entries_but_not_its_head() -> None:
    inbox = CachedInbox("ann", 3)
    for seq in range(1, 6):
        inbox.push(CHAT, seq, seq)
    assert (inbox.head, inbox.floor) == (5, 2)
    assert [inbox.number_of(CHAT, seq) for seq in (2, 3, 5, 6)] == [0, 3, 5, 0]
    assert inbox.between(0, 4) == [(CHAT, 3), (CHAT, 4)]
    assert inbox.between(3, 99) == [(CHAT, 4), (CHAT, 5)]
    assert inbox.between(9, 99) == []


def test_an_inbox_that_is_read_begins_with_its_first_entry() -> None:
    inbox = CachedInbox("ann", 3)
    inbox.extend([InboxEntry("ann", 7, CHAT, 1, 0), InboxEntry("ann", 8, CHAT, 2, 0)])
    inbox.extend([InboxEntry("ann", 8, CHAT, 2, 0), InboxEntry("ann", 9, CHAT, 3, 0)])
    assert (inbox.head, inbox.floor, inbox.number_of(CHAT, 3)) == (9, 6, 9)


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.integers(1, 9)), max_size=60), st.integers(1, 8))
def test_a_number_that_memory_tells_is_right(entries: list[tuple[str, int]], capacity: int) -> None:
    inbox = CachedInbox("ann", capacity)
    first: dict[tuple[str, int], int] = {}
    for conversation, seq in entries:
        if (conversation, seq) not in first:
            inbox.push(conversation, seq, seq)
            first[conversation, seq] = inbox.head
    for (conversation, seq), number in first.items():
        assert inbox.number_of(conversation, seq) in (0, number)
