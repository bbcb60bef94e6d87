"""Parts of a stream that this client writes, and of one that it reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings import Forbidden, StreamGrew
from tidings.core.contents.copies import Copies
from tidings.core.contents.growing import AGAIN_S, WAITING_MAX, Growing
from tidings.core.contents.writings import PART_EVERY_S, PART_IDS, Writings
from tidings.core.messages.wants import WantMessage
from tidings_protocol import client_pb2 as pb

CHAT = "d:ann|bot"


def _out(writings: Writings, now: float) -> list[tuple[int, str]]:
    return [(frame.stream_part.part, frame.stream_part.text) for frame in writings.flush(now)]


def _refusal(number: int, **error: object) -> pb.ServerFrame:
    return pb.ServerFrame(id=PART_IDS + number, error=pb.Error(**error))  # type: ignore[arg-type]


def test_the_first_words_go_at_once_and_later_ones_gather() -> None:
    writings = Writings()
    number = writings.begin(CHAT, 1)
    writings.write(number, "a")
    assert _out(writings, 1.0) == [(1, "a")]
    writings.write(number, "b")
    writings.write(number, "c")
    assert _out(writings, 1.0) == []
    assert writings.next_wake() == 1.0 + PART_EVERY_S
    assert _out(writings, 1.0 + PART_EVERY_S) == [(2, "bc")]
    assert writings.next_wake() is None


def test_at_the_end_everything_goes_at_once() -> None:
    writings = Writings()
    number = writings.begin(CHAT, 1)
    for word in "abc":
        writings.write(number, word)
        _out(writings, 0.0)
    assert writings.end(number) == 2
    assert _out(writings, 0.0) == [(2, "bc")]


def test_the_server_says_from_where_on() -> None:
    writings = Writings()
    number = writings.begin(CHAT, 1)
    for place, word in enumerate("abcd"):
        writings.write(number, word)
        _out(writings, float(place))
    assert writings.refused(_refusal(number, code="BAD_REQUEST", next_part=2), 4.0)
    assert [_out(writings, 5.0 + place) for place in range(4)] == [[(2, "b")], [(3, "c")], [(4, "d")], []]


def test_a_new_session_asks_by_the_last_part() -> None:
    writings = Writings()
    number = writings.begin(CHAT, 1)
    for place, word in enumerate("abc"):
        writings.write(number, word)
        _out(writings, float(place))
    writings.welcomed()
    writings.write(number, "d")
    assert [*_out(writings, 3.0), *_out(writings, 4.0)] == [(3, "c"), (4, "d")]


def test_too_many_a_second_wait_and_what_is_refused_for_good_ends_it() -> None:
    writings = Writings()
    number = writings.begin(CHAT, 1)
    writings.write(number, "a")
    _out(writings, 0.0)
    writings.refused(_refusal(number, code="RATE_LIMITED", retry_after_ms=2000), 0.0)
    assert (_out(writings, 1.9), _out(writings, 2.0)) == ([], [(1, "a")])
    writings.refused(_refusal(number, code="FORBIDDEN", message="you are muted"), 3.0)
    with pytest.raises(Forbidden, match="muted"):
        writings.write(number, "b")
    assert not writings.refused(pb.ServerFrame(id=7), 0.0)  # of another request
    writings.forget(number)
    assert writings.refused(_refusal(number, code="FORBIDDEN"), 0.0)


def _stream(copies: Copies, text: str = "", parts: int = 0) -> None:
    state = pb.State(streaming=True, parts=parts)
    message = pb.Message(conversation=CHAT, seq=1, kind=pb.Message.NORMAL, content=pb.Content(text=text), state=state)
    copies.read(message)


def _part(number: int) -> pb.StreamPart:
    return pb.StreamPart(conversation=CHAT, seq=1, part=number, text=f"{number} ")


@given(st.permutations([1, 2, 3, 4, 5, 6]), st.lists(st.integers(1, 6)))
def test_parts_grow_the_copy_once_and_in_order_however_they_come(order: list[int], repeated: list[int]) -> None:
    copies = Copies()
    _stream(copies)
    growing = Growing(copies)
    told: list[StreamGrew] = []
    for number in [*order, *repeated]:
        told += growing.part(_part(number), 0.0)[0]
    assert [grew.part for grew in told] == [1, 2, 3, 4, 5, 6]
    copy = copies.get(CHAT, 1)
    assert copy is not None
    assert copy.text == "1 2 3 4 5 6 "


def test_a_lost_part_is_asked_for_now_and_then_and_what_waits_behind_it_follows() -> None:
    copies = Copies()
    _stream(copies)
    growing = Growing(copies)
    assert growing.part(_part(2), 0.0) == ([], WantMessage(CHAT, 1))
    assert growing.part(_part(3), 1.0) == ([], None)
    assert growing.part(_part(5), AGAIN_S) == ([], WantMessage(CHAT, 1))
    _stream(copies, "1 2 ", 2)
    assert [(grew.part, grew.text) for grew in growing.read(CHAT, 1)] == [(2, ""), (3, "3 ")]
    assert [grew.part for grew in growing.part(_part(4), 3.0)[0]] == [4, 5]


def test_parts_of_what_is_not_at_hand_or_not_written_any_more() -> None:
    copies = Copies()
    growing = Growing(copies)
    assert growing.part(_part(1), 0.0) == ([StreamGrew(CHAT, 1, 1, "1 ")], None)
    copies.read(pb.Message(conversation=CHAT, seq=1, kind=pb.Message.NORMAL, content=pb.Content(text="whole")))
    assert growing.part(_part(2), 0.0) == ([], None)


def test_only_so_many_parts_wait() -> None:
    copies = Copies()
    _stream(copies)
    growing = Growing(copies)
    for number in range(2, WAITING_MAX + 100):
        growing.part(_part(number), 0.0)
    assert len(growing.part(_part(1), 0.0)[0]) == WAITING_MAX + 1
