"""What of the messages that were read fits into a page."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.pages.paging import HistoryLook, bytes_for, history_page, history_window
from services.storage.pages.showing import Showing
from services.storage.repository.records import StoredMessage
from tidings_protocol import client_pb2


@given(
    st.integers(0, 30),
    st.integers(0, 12),
    st.integers(0, 12),
    st.one_of(st.none(), st.integers(0, 40)),
    st.one_of(st.none(), st.integers(0, 40)),
    st.integers(1, 7),
)
def test_pages_one_after_the_other_show_everything_once(
    head: int, first_seq: int, lowest: int, before: int | None, after: int | None, limit: int
) -> None:
    """Whatever retention took, wherever it begins, in both directions; `before` is ignored where `after` is given."""
    kept = {seq: StoredMessage("d:a|b", seq, "a", str(seq), 0, b"x" * 10) for seq in range(max(first_seq, 1), head + 1)}
    begin = max(lowest, 1)
    wanted = [seq for seq in kept if seq >= begin]
    item = pb.HistoryItem(conversation="d:a|b", limit=limit, first_seq=lowest)
    if after is not None:
        item.after = after
        wanted = [seq for seq in wanted if seq > after]
    elif before is not None:
        item.before = before
        wanted = [seq for seq in wanted if seq < before]
    seen: list[int] = []
    for _ in range(60):
        window = history_window(item, 10_000)
        inside = [kept[seq] for seq in sorted(kept) if window.span.after < seq < window.span.before]
        look = HistoryLook(window)
        look.take((inside[::-1] if window.descending else inside)[: window.span.limit], look.span)
        page = history_page(look, Showing(0, {}, ()).item, head=head, first_seq=first_seq)
        found = [client_pb2.Message.FromString(entry.message).seq for entry in page.entries]
        assert len(found) <= limit
        assert found == sorted(found)
        seen = seen + found if after is not None else found + seen
        if not page.more:
            break
        if after is not None:
            item.after = page.next
        else:
            item.before = page.next
    assert seen == wanted


def test_many_pages_in_one_answer_share_its_bytes() -> None:
    assert bytes_for(0, 1) == 128 * 1024
    assert bytes_for(1000, 1) == 1000
    assert bytes_for(0, 1000) * 1000 <= 12 * 1024 * 1024
