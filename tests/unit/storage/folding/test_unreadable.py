"""Entries as they are shown now, also those of which something cannot be read."""

from __future__ import annotations

import pytest

from services.storage.folding.shown import EXPIRY, shown, stub, target_of
from services.storage.repository.records import StoredMessage
from tests.unit.storage.changed import CHAT, acted, edited, read, said, state
from tidings_protocol import client_pb2
from tidings_protocol.ids import message_id

NOW_MS = 5000
POISON = b"\x7b" * 200 + b"\x7c" * 200  # a group of fields nested so deeply that nobody reads it


def show(entry: StoredMessage, target: StoredMessage | None = None, *, with_content: bool = True) -> client_pb2.Message:
    return read(shown(entry, NOW_MS, target=target, with_content=with_content))


def test_a_message_that_nothing_happened_to_is_shown_as_it_was_sent() -> None:
    assert show(said(3, "hi", before=1)) == client_pb2.Message(
        message_id=message_id(CHAT, 3),
        conversation=CHAT,
        seq=3,
        sender="ann",
        time_ms=1003,
        content=client_pb2.Content(text="hi"),
        kind=client_pb2.Message.NORMAL,
        client_id="c3",
        ordinal=2,
    )


def test_what_changes_made_of_a_message_is_its_state() -> None:
    message = show(said(3, "now", state=state(9, revision=9, edited_ms=7, pinned=True)))
    assert (message.content.text, message.state) == ("now", client_pb2.State(revision=9, edited_ms=7, pinned=True))


def test_what_is_recalled_or_expired_has_no_content_whatever_lies_there() -> None:
    recalled = show(said(3, state=state(revision=4, recalled_by="bob")))
    assert (recalled.HasField("content"), recalled.state.recalled_by) == (False, "bob")
    expired = show(said(3, expires_ms=NOW_MS, state=state(revision=2, pinned=True)))
    assert (expired.HasField("content"), expired.state) == (False, client_pb2.State(revision=2, recalled_by=EXPIRY))
    there = show(said(3, expires_ms=NOW_MS + 1))
    assert (there.content.text, there.expires_ms, there.HasField("state")) == ("hello", NOW_MS + 1, False)


def test_a_change_has_the_state_of_its_target_and_the_content_of_the_newest_edit() -> None:
    target = said(1, "newer", state=state(5, revision=6, edited_ms=9))
    newest, before = edited(5, 1, "newer"), edited(4, 1)
    shown_ = show(newest, target)
    assert (shown_.change.seq, shown_.change.edit.text, shown_.state.revision) == (1, "newer", 6)
    assert (shown_.ordinal, shown_.HasField("content")) == (0, False)
    assert show(newest, target, with_content=False).change == client_pb2.Change(seq=1, edit=client_pb2.Content())
    assert show(before, target).change == client_pb2.Change(seq=1, edit=client_pb2.Content())
    # It was not erased yet, when the next edit came.
    assert not show(edited(4, 1, "old"), target).change.edit.text


def test_a_finish_has_the_whole_text_where_it_is_the_present_one() -> None:
    target = said(1, "all of it", state=state(2, revision=2, parts=3))
    finish = acted(2, 1, sender="ann", finish=client_pb2.Change.Finish(parts=3))._replace(content=target.content)
    assert show(finish, target).change.finish == client_pb2.Change.Finish(parts=3, text="all of it")
    assert show(finish, target, with_content=False).change.finish == client_pb2.Change.Finish(parts=3)


def test_a_change_of_what_is_gone_or_recalled_tells_no_content() -> None:
    recalled = said(1, state=state(2, revision=3, recalled_by="ann"))
    assert not show(edited(2, 1, "hi"), recalled).change.edit.text
    alone = show(edited(2, 1, "hi"))
    assert (alone.change.seq, alone.change.edit.text, alone.HasField("state")) == (1, "", False)


@pytest.mark.parametrize("field", ["content", "state"])
def test_what_cannot_be_read_of_a_message_is_left_out_and_its_place_told(field: str) -> None:
    broken = said(3, state=state(9, revision=9))._replace(**{field: POISON})  # type: ignore[arg-type]
    message = show(broken)
    assert (message.seq, message.conversation, message.sender) == (3, CHAT, "ann")
    assert message.HasField("content") == (field != "content")


def test_what_cannot_be_read_of_a_change_is_left_out_and_its_place_told() -> None:
    target = said(1, state=state(5, revision=5))
    assert show(edited(5, 1)._replace(content=POISON), target).change == client_pb2.Change(
        seq=1, edit=client_pb2.Content()
    )
    unreadable = edited(5, 1)._replace(act=POISON)
    message = show(unreadable, target)
    assert (message.seq, message.kind, message.HasField("change")) == (5, client_pb2.Message.CHANGE, False)
    assert target_of(unreadable) == 0


def test_what_a_change_changes_is_known_and_a_stub_says_its_place_alone() -> None:
    assert (target_of(edited(5, 2)), target_of(said(5))) == (2, 0)
    assert read(stub(CHAT, 7)) == client_pb2.Message(conversation=CHAT, seq=7)
