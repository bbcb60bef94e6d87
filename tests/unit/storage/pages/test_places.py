"""The order of a list of conversations, and the tokens of its pages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.storage.pages.places import ListToken, Place, Places
from tidings_protocol.errors import BadRequest


def test_places_sort_newest_first_and_come_back_from_their_text() -> None:
    places = [Place(5, "g:b"), Place(9, "g:a"), Place(5, "d:a|b")]
    assert sorted(places) == [Place(9, "g:a"), Place(5, "d:a|b"), Place(5, "g:b")]
    assert [Place.parse(str(place)) for place in places] == places
    for wrong in ("", "x", "5", "~g:a", "-5~g:a", "²~d:a|b", "٣~g:a", "1" * 20 + "~g:a", "1_0~g:a", " 1~g:a"):
        with pytest.raises(BadRequest):
            Place.parse(wrong)


def test_tokens_come_back_from_their_text_and_one_of_the_version_before_is_taken() -> None:
    first = ListToken(Place(5, "d:a|b"), 7, 1_700_000_000_000)
    for token in (first, first.second, first.second.at(Place(9, "g:a")), ListToken(Place(5, "g:b"), None, 0)):
        assert ListToken.parse(str(token)) == token
    for wrong in ("", "5~g:a~", "5~g:a~7", "5~g:a~7~8~3", "5~g:a~²~8", "5~g:a~7~8~2~", "5~g:a~7~" + "9" * 20):
        with pytest.raises(BadRequest):
            ListToken.parse(wrong)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 9))), st.integers(1, 4))
def test_places_stay_in_order_whatever_moves(moves: list[tuple[str, int]], count: int) -> None:
    places, times = Places(), {"a": 3, "b": 3, "c": 7}
    places.fill(times.items())
    places.fill([("d", 5)])
    places.sort()
    times["d"] = 5
    for conversation, last_ms in moves:
        places.move(conversation, last_ms)
        times[conversation] = max(times.get(conversation, 0), last_ms)
    found: list[Place] = []
    while page := places.after(found[-1] if found else None, count):
        found += page
    assert found == sorted(Place(last_ms, conversation) for conversation, last_ms in times.items())
    places.move("unknown", 9, known_only=True)
    assert len(places) == len(times)


@pytest.mark.parametrize("place", [Place(0, "d:a|b"), Place(1_795_000_000_000, "g:x"), Place(10**19 - 1, "b:all")])
def test_a_place_in_the_list_is_read_as_it_was_written(place: Place) -> None:
    assert Place.parse(str(place)) == place


@pytest.mark.parametrize(
    "text",
    [
        *("", "~", "7", "7~", "~d:a|b", "x~d:a|b", "-1~d:a|b", "1.5~d:a|b", " 7~d:a|b", "7 ~d:a|b", "+7~d:a|b"),
        *("²~d:a|b", "٧~d:a|b", "7\x00~d:a|b", "1_000~d:a|b", "1" * 20 + "~d:a|b", "1" * 5000 + "~d:a|b"),
    ],
)
def test_what_is_no_place_is_a_bad_request(text: str) -> None:
    with pytest.raises(BadRequest, match="pass `next` unchanged, or leave `after` out"):
        Place.parse(text)
