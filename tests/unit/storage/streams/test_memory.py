"""The streams that a node keeps an eye on."""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2
from services.common.clock import ManualClock
from services.storage.folding.texts import TextSoFar
from services.storage.memory.stream_watch import StreamWatch
from services.storage.repository.memory import Database
from services.storage.repository.records import ConversationDocument, StoredMessage
from services.storage.streams.memory import OpenStreams
from tidings_protocol import client_pb2
from tidings_protocol.ids import slot_of


def message(seq: int, text: str = "", parts: int | None = 0, conversation: str = "g:1") -> StoredMessage:
    state = storage_pb2.FoldedState(state=client_pb2.State(streaming=parts is not None)).SerializeToString()
    content = client_pb2.Content(text=text, streaming=True).SerializeToString()
    return StoredMessage(conversation, seq, "ann", f"c{seq}", 1000, content, state=state, parts=parts)


def memory(**options: int) -> tuple[OpenStreams, Database]:
    database = Database()
    database.conversations["g:1"] = ConversationDocument("g:1", 2)
    return OpenStreams(database.repository().streams, ManualClock(), **options), database


async def test_what_begins_is_named_and_its_text_is_known() -> None:
    streams, database = memory()
    watch: StreamWatch = streams
    await watch.begun([message(3, "hi"), message(5)])
    assert database.conversations["g:1"].streams == (3, 5)
    assert streams.so_far(("g:1", 3)) == TextSoFar(0, "hi")
    assert streams.so_far(("g:1", 4)) is None
    assert (streams.count, streams.in_doubt) == (2, [])


async def test_what_was_changed_loaded_or_written_to_by_others_is_in_doubt_until_it_is_read() -> None:
    streams, _ = memory()
    await streams.begun([message(3), message(5)])
    streams.changed([("g:1", 3), ("g:1", 4)])
    assert streams.in_doubt == [("g:1", 3)]
    streams.found([("g:1", 9)])
    streams.doubt(["g:2"])
    assert streams.in_doubt == [("g:1", 3), ("g:1", 9)]
    assert streams.unsure([("g:1", 3), ("g:1", 5), ("g:1", 9), ("g:1", 9)]) == [("g:1", 3), ("g:1", 9)]
    found = {("g:1", 3): message(3, parts=None), ("g:1", 9): message(9, "more", 4)}
    assert streams.learn([("g:1", 3), ("g:1", 9)], found) == [("g:1", 3)]
    assert streams.in_doubt == []
    assert streams.so_far(("g:1", 9)) == TextSoFar(4, "more")
    streams.doubt_slots(frozenset([slot_of("g:1")]))
    assert streams.in_doubt == [("g:1", 5), ("g:1", 9)]
    streams.doubt(["g:1"])
    assert streams.in_doubt == [("g:1", 5), ("g:1", 9)]


async def test_what_has_ended_is_to_be_named_no_more() -> None:
    streams, _ = memory()
    await streams.begun([message(3), message(5)])
    streams.changed([("g:1", 3)])
    streams.learn([("g:1", 3), ("g:1", 77)], {("g:1", 3): message(3, parts=None)})
    assert streams.ended == [("g:1", 3)], "of 77 nobody ever said that it is a stream"
    streams.unnamed([("g:1", 3)])
    assert streams.ended == []


async def test_the_longer_of_two_texts_stays() -> None:
    streams, _ = memory()
    await streams.begun([message(3)])
    stream = streams.get(("g:1", 3))
    assert stream is not None
    stream.take(1, "ab", 100, 0.0)
    streams.learn([("g:1", 3)], {("g:1", 3): message(3)})
    assert (stream.text, stream.is_dirty) == ("ab", True)
    streams.learn([("g:1", 3)], {("g:1", 3): message(3, "abc", 2)})
    assert streams.so_far(("g:1", 3)) == TextSoFar(2, "abc")


async def test_text_is_bounded() -> None:
    streams, _ = memory(text_bytes_max=8)
    await streams.begun([message(3, "1234"), message(5, "12")])
    assert (streams.is_full, streams.count) == (False, 2)
    streams.grown(2)
    assert (streams.is_full, streams.has_room("g:1")) == (True, True)
    streams.drop(("g:1", 3))
    streams.drop(("g:1", 3))
    assert (streams.is_full, streams.count) == (False, 1)
