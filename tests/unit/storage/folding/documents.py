"""Entries for tests of the folding: messages, and CHANGEs of them."""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.repository.records import CHANGE, StoredMessage
from tidings_protocol import client_pb2

CHAT = "d:ann|bob"
Change = client_pb2.Change


def content(text: str = "hello", **fields: object) -> bytes:
    return client_pb2.Content(text=text, **fields).SerializeToString()  # type: ignore[arg-type]


def message(seq: int = 1, *, sender: str = "ann", text: str = "hello", time_ms: int = 1000) -> StoredMessage:
    return StoredMessage(CHAT, seq, sender, f"c{seq}", time_ms, content(text))


def streaming(seq: int = 1, parts: int = 0, text: str = "") -> StoredMessage:
    state = pb.FoldedState(state=client_pb2.State(streaming=True)).SerializeToString()
    return message(seq)._replace(content=content(text, streaming=True), state=state, parts=parts)


def change(
    seq: int,
    act: client_pb2.Change,
    *,
    sender: str = "ann",
    given: bytes = b"",
    mentions: tuple[str, ...] = (),
    time_ms: int = 2000,
) -> StoredMessage:
    return StoredMessage(
        CHAT, seq, sender, f"c{seq}", time_ms, given, CHANGE, act=act.SerializeToString(), mentions=mentions
    )


def edit(seq: int, text: str = "better", *, target: int = 1, mentions: tuple[str, ...] = ()) -> StoredMessage:
    act = Change(seq=target, edit=client_pb2.Content())
    return change(seq, act, given=content(text, mentions=mentions), mentions=mentions)


def recall(seq: int, *, target: int = 1, sender: str = "ann") -> StoredMessage:
    return change(seq, Change(seq=target, recall=Change.Recall()), sender=sender)


def pin(seq: int, *, target: int = 1, pinned: bool = True) -> StoredMessage:
    return change(seq, Change(seq=target, pin=pinned))


def finish(seq: int, text: str, parts: int, *, target: int = 1) -> StoredMessage:
    act = Change(seq=target, finish=Change.Finish(parts=parts))
    return change(seq, act, given=content(text, streaming=True))


def reacted(seq: int, *reactions: client_pb2.Reaction, target: int = 1) -> StoredMessage:
    added = [Change.Reacted.One(user="bob", reaction=each.reaction) for each in reactions]
    entry = change(seq, Change(seq=target, reacted=Change.Reacted(added=added)))
    state = pb.FoldedState(state=client_pb2.State(reactions=reactions))
    return entry._replace(state=state.SerializeToString())
