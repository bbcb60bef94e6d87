"""A stream as it is by now, whatever its document says."""

from __future__ import annotations

from services.storage.folding.contents import text_of
from services.storage.folding.texts import NoStreamTexts, TextSoFar, as_of_now
from services.storage.repository.records import MessageKey, StoredMessage
from tidings_protocol import client_pb2


class Texts:
    """Of one stream."""

    def so_far(self, key: MessageKey) -> TextSoFar | None:
        return TextSoFar(3, "abc") if key == ("g:1", 7) else None


def message(seq: int, parts: int | None) -> StoredMessage:
    content = client_pb2.Content(text="ab", streaming=True, headers={"a": "b"}).SerializeToString()
    return StoredMessage("g:1", seq, "ann", "c", 1000, content, parts=parts)


def test_the_text_is_that_of_now_and_all_else_stays() -> None:
    now = as_of_now(message(7, 2), Texts())
    assert (text_of(now.content), now.parts) == ("abc", 3)
    assert client_pb2.Content.FromString(now.content).headers == {"a": "b"}


def test_what_has_ended_what_is_not_known_and_what_is_there_already_stays_as_it_is() -> None:
    for each in (message(7, None), message(8, 2), message(7, 3), message(7, 4)):
        assert as_of_now(each, Texts()) is each
    assert as_of_now(message(7, 2), NoStreamTexts()) == message(7, 2)
