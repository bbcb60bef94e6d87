"""Keys sort as what they name does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.storage.repository.keys import number_of, numbered, paired, pairs_of, second_of

names = st.text("abcXYZ019._-@:", min_size=1, max_size=64)


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), names)
def test_numbered_keys_sort_as_their_numbers(one: int, other: int, name: str) -> None:
    assert (numbered(name, one) < numbered(name, other)) == (one < other)
    assert number_of(numbered(name, one)) == one


@given(names, names, names)
def test_paired_keys_lie_within_the_bounds_of_their_first_part_only(first: str, second: str, other: str) -> None:
    low, high = pairs_of(first)
    assert low < paired(first, second) < high
    assert (low < paired(other, second) < high) == (other == first)
    assert second_of(paired(first, second)) == second
