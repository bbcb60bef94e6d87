"""Entries as they are shown now."""

from __future__ import annotations

from services.storage.folding.fold import folded
from services.storage.folding.shown import EXPIRY, is_special, shown, state_of, stub
from services.storage.repository.records import StoredMessage
from tests.unit.storage.folding.documents import (
    CHAT,
    Change,
    content,
    edit,
    finish,
    message,
    pin,
    reacted,
    recall,
    streaming,
)
from tidings_protocol import client_pb2
from tidings_protocol.ids import message_id

NOW = 10_000


def read(entry: StoredMessage, **more: object) -> client_pb2.Message:
    return client_pb2.Message.FromString(shown(entry, NOW, **more))  # type: ignore[arg-type]


def test_a_plain_message_is_shown_as_it_was_sent() -> None:
    assert read(message(3)._replace(before=1)) == client_pb2.Message(
        message_id=message_id(CHAT, 3),
        conversation=CHAT,
        seq=3,
        sender="ann",
        time_ms=1000,
        content=client_pb2.Content(text="hello"),
        kind=client_pb2.Message.NORMAL,
        client_id="c3",
        ordinal=2,
    )
    assert not is_special(message())


def test_a_changed_message_is_shown_with_its_content_of_now_and_its_state() -> None:
    found = read(folded(message(), edit(2)))
    assert (found.content.text, found.state.revision, found.ordinal) == ("better", 2, 1)


def test_what_is_recalled_or_expired_has_no_content_whatever_lies_there() -> None:
    recalled = folded(message(), recall(2))._replace(content=content("still there"))
    assert not read(recalled).HasField("content")
    expired = read(message()._replace(expires_ms=NOW))
    assert not expired.HasField("content")
    assert expired.state == client_pb2.State(recalled_by=EXPIRY)
    assert read(message()._replace(expires_ms=NOW + 1)).content.text == "hello"
    assert state_of(folded(message(), recall(2))._replace(expires_ms=1), NOW) == client_pb2.State(
        revision=2, recalled_by="ann"
    )


def test_a_change_is_shown_with_the_state_of_its_target_and_its_content_only_while_that_is_the_newest() -> None:
    once = folded(message(), edit(2))
    twice = folded(once, edit(3, "best"))
    assert read(edit(2), target=once).change.edit.text == "better"
    assert read(edit(2), target=once).state.revision == 2
    assert read(edit(2), target=twice).change == Change(seq=1, edit=client_pb2.Content())
    assert read(edit(3, "best"), target=twice).change.edit.text == "best"
    assert not read(edit(3, "best"), target=twice, with_content=False).change.edit.text
    assert read(edit(2)).change == Change(seq=1, edit=client_pb2.Content())


def test_the_end_of_a_stream_is_shown_with_the_whole_text() -> None:
    ended = folded(streaming(), finish(2, "all", 3))
    assert read(finish(2, "all", 3), target=ended).change.finish == Change.Finish(parts=3, text="all")
    edited = folded(ended, edit(3))
    assert read(finish(2, "all", 3), target=edited).change.finish == Change.Finish(parts=3)


def test_acts_without_content_are_shown_as_they_are() -> None:
    thumb = client_pb2.Reaction(reaction="+1", count=1, users=["bob"])
    after = folded(folded(message(), pin(2)), reacted(3, thumb))
    assert read(pin(2), target=after).change == Change(seq=1, pin=True)
    told = read(reacted(3, thumb), target=after)
    assert told.change.reacted.added[0].reaction == "+1"
    assert list(told.state.reactions) == [thumb]


def test_a_stub_says_where_it_is() -> None:
    assert client_pb2.Message.FromString(stub(CHAT, 7)) == client_pb2.Message(conversation=CHAT, seq=7)
