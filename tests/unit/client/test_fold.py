"""What a message is after changes and readings, in whatever order they come."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tidings import ChangeAct, Content, Message, MessageChanged, Reacted, Reaction, State, folded, newer
from tidings.core.contents.fold import grown, restated
from tidings_protocol import client_pb2 as pb

CHAT = "d:ann|bob"
MESSAGE = Message("m1", CHAT, 1, "ann", 1000, "one", reply_to=7, mentions=("bob",))


def _change(seq: int, act: ChangeAct, state: State | None = None, text: str = "") -> MessageChanged:
    content = Content(text=text) if text else None
    return MessageChanged(CHAT, 1, seq, act, "ann", 2000, state or State(revision=seq), content)


def _edit(seq: int, text: str, revision: int = 0) -> MessageChanged:
    return _change(seq, ChangeAct.EDIT, State(revision=revision or seq, edited_ms=2000), text)


def test_an_edit_replaces_all_but_what_it_replies_to() -> None:
    after = folded(MESSAGE, _edit(5, "two"))
    assert (after.text, after.mentions, after.reply_to, after.edited, after.state.revision) == ("two", (), 7, True, 5)


@pytest.mark.parametrize("seq", [4, 5])
def test_a_change_that_is_not_beyond_the_revision_is_ignored(seq: int) -> None:
    edited = folded(MESSAGE, _edit(5, "two"))
    assert folded(edited, _edit(seq, "late")) is edited


def test_an_edit_without_content_is_passed_over_and_the_later_one_counts() -> None:
    """In a page each change comes with the state of today: the edit at 9 must not be taken for known at 5 or 7."""
    today = State(revision=9, edited_ms=3000, pinned=True)
    message = folded(MESSAGE, _change(5, ChangeAct.EDIT, today))
    assert message is MESSAGE
    pinned = folded(message, _change(7, ChangeAct.PIN, today))
    assert (pinned.text, pinned.state.pinned, pinned.state.revision) == ("one", True, 7)
    edited = folded(pinned, _change(9, ChangeAct.EDIT, today, "three"))
    assert (edited.text, edited.state) == ("three", today)


def test_what_is_recalled_has_no_content_and_stays_so() -> None:
    recalled = folded(MESSAGE, _change(5, ChangeAct.RECALL, State(revision=5, recalled_by="ann")))
    assert (recalled.text, recalled.mentions, recalled.reply_to, recalled.recalled) == ("", (), 0, True)
    assert folded(recalled, _edit(6, "again")).text == ""
    assert newer(recalled, MESSAGE) is recalled


def test_of_what_is_here_and_what_is_read_the_newer_counts_and_of_two_alike_the_later_one() -> None:
    edited = folded(MESSAGE, _edit(5, "two"))
    assert newer(edited, MESSAGE).text == "two"
    assert newer(MESSAGE, edited).text == "two"
    read = replace(edited, state=replace(edited.state, reactions=(Reaction("x", 9, ("cleo",), mine=True),)))
    assert newer(edited, read, "bob").reactions[0].mine


def test_whose_a_reaction_is_follows_from_who_is_named() -> None:
    def told(*users: str, count: int = 0) -> State:
        return State(revision=5, reactions=(Reaction("x", count or len(users), users),))

    mine = folded(MESSAGE, _change(5, ChangeAct.REACT, told("ann", "bob")), "bob")
    assert mine.reactions[0].mine
    assert not folded(MESSAGE, _change(5, ChangeAct.REACT, told("ann")), "bob").reactions[0].mine
    # Only the first ones are named: what was known stays, and what this change says counts.
    crowd = replace(_change(6, ChangeAct.REACT), state=replace(told("a", "b", "c", count=9), revision=6))
    assert folded(mine, crowd, "bob").reactions[0].mine
    gone = replace(crowd, removed=(Reacted("bob", "x"),))
    assert not folded(mine, gone, "bob").reactions[0].mine
    came = replace(crowd, added=(Reacted("bob", "x"),))
    assert folded(MESSAGE, came, "bob").reactions[0].mine


def test_an_answer_without_a_place_gives_its_state_and_leaves_the_revision() -> None:
    """The changes up to its revision are still to come."""
    state = State(revision=9, reactions=(Reaction("x", 1, ("bob",)),))
    after = restated(MESSAGE, state, "bob")
    assert (after.reactions[0].mine, after.state.revision) == (True, 0)
    assert folded(after, _edit(9, "two")).text == "two"
    edited = folded(MESSAGE, _edit(10, "three"))
    assert restated(edited, state) is edited


def test_a_stream_grows_by_the_next_part_alone_and_its_end_says_the_whole() -> None:
    stream = replace(MESSAGE, text="a", state=State(streaming=True))
    grew = grown(stream, 1, "b")
    assert grew is not None
    assert (grew.text, grew.state.parts) == ("ab", 1)
    assert grown(grew, 1, "b") is None
    assert grown(grew, 3, "d") is None
    assert newer(grew, stream) is grew  # what was read before
    whole = _change(5, ChangeAct.FINISH, State(revision=5, parts=2), "abc")
    assert (folded(grew, whole).text, folded(grew, whole).streaming) == ("abc", False)
    assert grown(folded(grew, whole), 2, "c") is None


def test_an_end_that_does_not_say_the_whole_counts_only_for_who_has_all_parts() -> None:
    stream = replace(MESSAGE, text="ab", state=State(streaming=True, parts=1))
    untold = replace(_change(5, ChangeAct.FINISH, State(revision=5, parts=1)), parts=1)
    assert folded(stream, untold).streaming is False
    assert folded(stream, replace(untold, parts=2)) is stream


def test_what_has_expired_is_shown_as_recalled() -> None:
    message = replace(MESSAGE, expires_ms=5000)
    assert message.at(4999) is message
    assert (message.at(5000).text, message.at(5000).state.recalled_by) == ("", "~expiry")
    assert newer(message.at(5000), message).recalled


def test_a_change_that_tells_nothing_here_is_none() -> None:
    entry = pb.Message(conversation=CHAT, seq=5, kind=pb.Message.CHANGE, change=pb.Change(seq=1, pin=False))
    assert MessageChanged.from_proto(entry) is None  # its message is gone
    entry.state.SetInParent()
    told = MessageChanged.from_proto(entry)
    assert told is not None
    assert told.act is ChangeAct.UNPIN
    entry.change.ClearField("pin")
    assert MessageChanged.from_proto(entry) is None  # an act of a later version
    assert MessageChanged.from_proto(pb.Message(conversation=CHAT, seq=5)) is None  # hidden
