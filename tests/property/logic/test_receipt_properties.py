"""Whenever cursors move, each reader's last state is told, and at most one a second."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.logic.receipts.coalescer import ReaderCursor, ReceiptCoalescer

steps = st.lists(
    st.tuples(st.sampled_from(["amy", "bob", "cleo"]), st.integers(0, 50), st.floats(0, 0.7), st.booleans()),
    max_size=60,
)


def _run(
    script: list[tuple[str, int, float, bool]], capacity: int
) -> tuple[list[tuple[float, ReaderCursor]], dict[str, int]]:
    """What went out when, and what was noted last of each."""
    coalescer = ReceiptCoalescer(1.0, capacity)
    now, noted = 0.0, dict[str, int]()
    told: list[tuple[float, ReaderCursor]] = []
    for reader, seq, pause, look in script:
        now += pause
        coalescer.note(ReaderCursor(reader, "g:x", 0, seq))
        noted[reader] = max(noted.get(reader, 0), seq)
        if look:
            told += [(now, cursor) for cursor in coalescer.due(now)]
    while (due := coalescer.next_due_s(now)) is not None:
        now = max(now, due)
        told += [(now, cursor) for cursor in coalescer.due(now)]
    return told, noted


@given(steps, st.sampled_from([1, 2, 100]))
def test_the_last_state_of_every_reader_is_told(script: list[tuple[str, int, float, bool]], capacity: int) -> None:
    told, noted = _run(script, capacity)
    last: dict[str, int] = {}
    for _, cursor in told:
        # Beyond the capacity a reader may be forgotten at once, and an old state that comes late goes out too.
        assert cursor.read_seq > last.get(cursor.user, -1) or capacity < 3
        last[cursor.user] = max(last.get(cursor.user, 0), cursor.read_seq)
    assert last == noted


@given(steps)
def test_a_reader_is_told_at_most_once_an_interval(script: list[tuple[str, int, float, bool]]) -> None:
    told, _ = _run(script, 100)
    before: dict[str, float] = {}
    for at, cursor in told:
        assert at - before.get(cursor.user, -1.0) >= 1.0 - 1e-9
        before[cursor.user] = at
