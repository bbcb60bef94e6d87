"""How many documents go into one command."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.storage.repository.mongo.log import counts_within


@given(st.lists(st.integers(0, 50)), st.integers(1, 100))
def test_each_part_is_as_large_as_it_may_be_and_holds_one_at_least(sizes: list[int], most: int) -> None:
    counts = counts_within(sizes, most)
    assert sum(counts) == len(sizes)
    assert all(count >= 1 for count in counts)
    start = 0
    for count in counts:
        part, following = sizes[start : start + count], sizes[start + count : start + count + 1]
        assert count == 1 or sum(part) <= most
        assert not following or sum(part) + following[0] > most
        start += count
