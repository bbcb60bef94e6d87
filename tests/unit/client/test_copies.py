"""The messages at hand: what is kept of them, what expires, what is forgotten."""

from __future__ import annotations

from tidings.core.contents.copies import BYTES_MAX, COPIES_MAX, Copies
from tidings_protocol import client_pb2 as pb

CHAT = "d:ann|me"


def _message(seq: int, text: str = "hi", expires_ms: int = 0) -> pb.Message:
    return pb.Message(
        conversation=CHAT,
        seq=seq,
        sender="ann",
        kind=pb.Message.NORMAL,
        content=pb.Content(text=text),
        expires_ms=expires_ms,
    )


def _recall(seq: int, change_seq: int) -> pb.Message:
    return pb.Message(
        conversation=CHAT,
        seq=change_seq,
        sender="ann",
        kind=pb.Message.CHANGE,
        change=pb.Change(seq=seq, recall=pb.Change.Recall()),
        state=pb.State(revision=change_seq, recalled_by="ann"),
    )


def test_only_the_latest_are_kept() -> None:
    copies = Copies()
    for seq in range(1, COPIES_MAX + 11):
        copies.read(_message(seq))
    assert copies.get(CHAT, 10) is None
    assert copies.get(CHAT, 11) is not None
    copies.read(_message(11))  # seen again
    copies.read(_message(5000))
    assert copies.get(CHAT, 11) is not None


def test_no_more_bytes_are_kept_than_the_bound() -> None:
    copies = Copies()
    for seq in range(1, 6):
        copies.read(_message(seq, "x" * (BYTES_MAX // 4)))
    assert [copies.get(CHAT, seq) is not None for seq in range(1, 6)] == [False, True, True, True, True]
    copies.change(_recall(5, 6))
    copies.read(_message(7, "x" * (BYTES_MAX // 4)))
    assert copies.get(CHAT, 2) is not None  # the recalled one weighs nothing


def test_what_expires_is_told_once_and_shown_without_content() -> None:
    copies = Copies()
    copies.read(_message(1, expires_ms=1000))
    copies.read(_message(1, expires_ms=1000))
    copies.read(_message(2, expires_ms=500))
    copies.read(_message(3, expires_ms=400))
    copies.change(_recall(3, 4))
    assert copies.next_expiry_ms() == 400
    assert list(copies.expire(399)) == []
    assert [(message.seq, message.text) for message in copies.expire(999)] == [(2, "")]
    assert [message.seq for message in copies.expire(1000)] == [1]
    assert copies.next_expiry_ms() is None
    assert copies.shown(_message(1, expires_ms=1000), 1000).recalled
    assert not copies.shown(_message(1, expires_ms=1000), 999).recalled


def test_what_is_hidden_or_of_other_data_is_forgotten() -> None:
    copies = Copies()
    for seq in range(1, 6):
        copies.read(_message(seq))
    copies.hide(CHAT, [5], 2)
    assert [copies.get(CHAT, seq) is not None for seq in range(1, 6)] == [False, False, True, True, False]
    copies.clear()
    assert copies.get(CHAT, 3) is None


def test_a_change_of_what_is_not_at_hand_is_told_if_it_says_all_it_does() -> None:
    copies = Copies()
    told = copies.changed(_recall(1, 5), 0)
    assert told is not None
    assert told.message is None
    edit = _recall(1, 4)
    edit.change.edit.SetInParent()
    assert copies.changed(edit, 0) is None
    copies.read(_message(1))
    assert copies.changed(edit, 0) is None
    copies.change(_recall(1, 5))
    known = copies.changed(edit, 0)  # what came of it is here
    assert known is not None
    assert known.message is not None
    assert known.message.recalled
