"""What clients are told while the text of a message grows, by the real nodes and by what stands in for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.client_protocol.servers import Server, real
from tests.support.device.wire import Refused, Wire
from tidings_protocol.client_pb2 import Change, Content, History, Message, Ping, Send, StreamPart
from tidings_protocol.ids import direct

CHAT = direct("ann", "bob")


async def begin(wire: Wire, text: str = "") -> int:
    content = Content(text=text, streaming=True)
    return (await wire.request(send=Send(client_id="stream", user="bob", content=content))).sent.seq


async def part(wire: Wire, number: int, text: str, seq: int = 1) -> int:
    return await wire.post(stream_part=StreamPart(conversation=CHAT, seq=seq, part=number, text=text))


def finish(parts: int, client_id: str = "end", seq: int = 1) -> Change:
    return Change(client_id=client_id, conversation=CHAT, seq=seq, finish=Change.Finish(parts=parts))


async def history(wire: Wire) -> list[Message]:
    page = (await wire.request(history=History(conversation=CHAT, after=0))).page
    return [entry.message for entry in page.entries]


async def test_whoever_is_online_sees_each_part_and_all_have_the_whole_in_the_end(whole_server: Server) -> None:
    server = whole_server
    async with server.session("ann") as ann, server.session("ann", "web") as web, server.session("bob") as bob:
        seq = await begin(ann, "well, ")
        (entry,) = (await bob.push("deliver")).deliver.entries
        assert (entry.message.content.text, entry.message.state.streaming) == ("well, ", True)
        for number, text in enumerate(("I ", "", "think"), 1):
            await part(ann, number, text)
        for wire in (bob, web):
            found = [(await wire.push("stream_part")).stream_part for _ in range(3)]
            assert [(each.conversation, each.seq, each.part, each.text) for each in found] == [
                (CHAT, seq, 1, "I "),
                (CHAT, seq, 2, ""),
                (CHAT, seq, 3, "think"),
            ]
        (now,) = await history(bob)
        assert (now.content.text, now.state.streaming, now.state.parts) == ("well, I think", True, 3)
        # Right behind its last part, which goes another way.
        await part(ann, 4, " so")
        sent = (await ann.request(change=finish(4))).sent
        assert (sent.seq, sent.state.streaming) == (2, False)
        assert (await ann.request(change=finish(4))).sent.duplicate
        await bob.push("deliver")
        (whole,) = await history(bob)
        assert (whole.content.text, whole.state.streaming, whole.state.parts) == ("well, I think so", False, 4)
        assert ann.pushed("stream_part") == []


async def test_who_is_too_early_is_told_which_part_is_wanted(tmp_path: Path) -> None:
    async with real(tmp_path) as server, server.session("ann") as ann:
        await begin(ann)
        await part(ann, 1, "a")
        assert await refused(ann, await part(ann, 3, "c")) == ("BAD_REQUEST", 2)
        await part(ann, 1, "a")
        await part(ann, 2, "b")
        assert await refused(ann, await ann.post(change=finish(3))) == ("BAD_REQUEST", 3)
        await part(ann, 3, "c")
        assert (await ann.request(change=finish(3))).sent.seq == 2
        (whole,) = await history(ann)
        assert whole.content.text == "abc"


async def test_nobody_else_goes_on_with_it_and_nothing_goes_on_after_its_end(tmp_path: Path) -> None:
    async with real(tmp_path) as server, server.session("ann") as ann, server.session("bob") as bob:
        await begin(ann)
        assert await refused(bob, await part(bob, 1, "x")) == ("FORBIDDEN", 0)
        await part(ann, 1, "a")
        await ann.request(change=finish(1))
        await part(ann, 1, "a")  # it was had
        assert await refused(ann, await part(ann, 2, "b")) == ("BAD_REQUEST", 0)
        assert await refused(ann, await part(ann, 1, "b", seq=99)) == ("NOT_FOUND", 0)
        assert (await bob.push("stream_part")).stream_part.text == "a"
        await bob.request(ping=Ping())
        assert bob.pushed("stream_part") == []


async def test_more_parts_than_thirty_a_second_are_refused_and_can_be_sent_again(tmp_path: Path) -> None:
    async with real(tmp_path) as server, server.session("ann") as ann:
        await begin(ann)
        ids = [await part(ann, number, "x") for number in range(1, 42)]
        with pytest.raises(Refused) as one:
            await ann.reply(ids[-1])
        assert (one.value.code, one.value.retry_after_ms > 0) == ("RATE_LIMITED", True)
        sent = await refused(ann, await ann.post(change=finish(41)))
        assert sent[0] == "BAD_REQUEST"
        assert sent[1] >= 31


async def refused(wire: Wire, frame_id: int) -> tuple[str, int]:
    """The code of the error, and the part that is wanted."""
    with pytest.raises(Refused) as error:
        await wire.reply(frame_id)
    return error.value.code, error.value.next_part
