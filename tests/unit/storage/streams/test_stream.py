"""One stream: which part is wanted, and the text so far."""

from __future__ import annotations

import pytest

from services.storage.repository.records import StoredMessage, StreamText
from services.storage.streams.stream import OpenStream
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, TooLarge


def stream(text: str = "", parts: int = 0) -> OpenStream:
    content = client_pb2.Content(text=text, streaming=True, headers={"lang": "en"}).SerializeToString()
    return OpenStream(StoredMessage("g:1", 7, "ann", "c", 1000, content, parts=parts), 5.0)


def test_parts_are_put_behind_what_it_began_with() -> None:
    begun = stream("well, ")
    assert [begun.take(part, text, 100, 6.0) for part, text in ((1, "I "), (2, ""), (3, "think"))] == [True] * 3
    assert (begun.text, begun.parts, begun.size, begun.used_s) == ("well, I think", 3, 13, 6.0)
    assert (begun.is_dirty, begun.written) == (True, 0)
    written = begun.written_as()
    whole = client_pb2.Content(text="well, I think", streaming=True, headers={"lang": "en"}).SerializeToString()
    assert written == StreamText("g:1", 7, 3, whole)


def test_a_part_that_was_had_changes_nothing_but_is_a_sign_of_life() -> None:
    begun = stream("ab", parts=2)
    assert not begun.is_dirty
    assert not begun.take(2, "other", 100, 9.0)
    assert not begun.take(1, "other", 100, 9.0)
    assert (begun.text, begun.parts, begun.used_s) == ("ab", 2, 9.0)


def test_a_part_that_is_too_early_is_told_which_is_wanted() -> None:
    begun = stream("ab", parts=2)
    with pytest.raises(BadRequest) as refused:
        begun.take(5, "x", 100, 6.0)
    assert refused.value.next_part == 3
    assert begun.text == "ab"


def test_a_text_that_would_be_too_long_stays_as_it_is_and_the_stream_may_go_on() -> None:
    begun = stream("ä")
    with pytest.raises(TooLarge):
        begun.take(1, "äb", 4, 6.0)
    assert begun.take(1, "ä", 4, 6.0)
    assert (begun.text, begun.size) == ("ää", 4)
