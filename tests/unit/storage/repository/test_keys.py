"""Keys sort as what they name does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.storage.repository.keys import (
    MAX_NUMBER,
    id_of_entry,
    id_of_message,
    number_of,
    paired,
    pairs_of,
    second_of,
)

names = st.text("abcXYZ019._-@:", min_size=1, max_size=64)


IDS = [id_of_message, id_of_entry]


@pytest.mark.parametrize("id_of", IDS)
@given(one=st.integers(0, 2**63 - 1), other=st.integers(0, 2**63 - 1), name=names)
def test_ids_of_the_log_sort_as_their_numbers(
    id_of: Callable[[str, int], bytes], one: int, other: int, name: str
) -> None:
    assert (id_of(name, one) < id_of(name, other)) == (one < other)
    assert number_of(id_of(name, one)) == one


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), names, names)
def test_no_message_has_the_id_of_an_entry(seq: int, number: int, conversation: str, user: str) -> None:
    assert id_of_message(conversation, seq) != id_of_entry(user, number)


@given(st.integers(0, 2**63 - 1), names)
def test_entries_of_a_user_lie_outside_a_conversation_of_this_name(number: int, name: str) -> None:
    assert not id_of_message(name, 0) <= id_of_entry(name, number) <= id_of_message(name, MAX_NUMBER)


@given(names, names, names)
def test_paired_keys_lie_within_the_bounds_of_their_first_part_only(first: str, second: str, other: str) -> None:
    low, high = pairs_of(first)
    assert low < paired(first, second) < high
    assert (low < paired(other, second) < high) == (other == first)
    assert second_of(paired(first, second)) == second
