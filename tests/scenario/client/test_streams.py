"""Messages that are read while they are written, against a scripted access node on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.scenario.client.events import PATIENCE_S, the_next
from tests.support.cluster.fake_access import FakeAccess
from tests.support.cluster.model_server import ModelServer
from tidings import BadRequest, ChangeAct, Client, Link, LinkState, Message, MessageChanged, StreamGrew, TooLarge
from tidings_protocol import client_pb2 as pb

CHAT = "d:ann|bot"


class Losing:
    """Loses parts, and says how many came to the server's door."""

    def __init__(self, server: ModelServer, lost: Callable[[int], bool]) -> None:
        """`lost(n)`: whether the n-th that comes is lost."""
        self._lost = lost
        self._count = 0
        self._came = asyncio.Event()
        server.refuse = self._look

    def _look(self, _session: object, frame: pb.ClientFrame) -> pb.ServerFrame | None:
        if not frame.HasField("stream_part"):
            return None
        self._count += 1
        self._came.set()
        return pb.ServerFrame() if self._lost(self._count) else None

    async def came(self, count: int) -> None:
        """Until so many came."""
        while self._count < count:
            self._came.clear()
            await self._came.wait()


def _text(server: ModelServer) -> str:
    return server.rooms[CHAT].messages[0].content.text


@pytest.mark.parametrize("codec", ["proto", "json"])
async def test_a_stream_is_read_while_it_is_written(access: FakeAccess, server: ModelServer, codec: str) -> None:
    async with Client(access.ws, token="ann", codec=codec) as ann, Client(access.ws, token="bot", codec=codec) as bot:
        async with bot.stream("ann", "I ") as stream:
            begun = await the_next(ann, Message)
            assert (begun.text, begun.streaming, begun.seq) == ("I ", True, stream.seq)
            await stream.write("think ")
            grew = await the_next(ann, StreamGrew)
            assert grew.message is not None
            assert (grew.text, grew.message.text) == ("think ", "I think ")
            await stream.write("so")
        change = await the_next(ann, MessageChanged)
        assert change.act is ChangeAct.FINISH
        assert change.message is not None
        assert (change.message.text, change.message.streaming) == ("I think so", False)
        assert _text(server) == stream.text == "I think so"


async def test_what_is_written_fast_is_gathered_into_few_parts(access: FakeAccess, server: ModelServer) -> None:
    async with Client(access.ws, token="bot") as bot, bot.stream("ann") as stream:
        for number in range(200):
            await stream.write(f"{number} ")
    assert _text(server) == "".join(f"{number} " for number in range(200))
    assert len(server.changes.parts) < 20


async def test_the_server_says_which_part_it_lacks_and_gets_it(access: FakeAccess, server: ModelServer) -> None:
    door = Losing(server, lambda count: count <= 2)
    async with asyncio.timeout(PATIENCE_S), Client(access.ws, token="bot") as bot, bot.stream("ann") as stream:
        for count, word in enumerate(("one ", "two ", "three ", "four"), 1):
            await stream.write(word)
            await door.came(count)
        await door.came(7)  # four, and the first three once more
    assert [part.part for part in server.changes.parts][:3] == [1, 2, 3]
    assert _text(server) == "one two three four"


@pytest.mark.parametrize("taken", [0, 1, 99])
async def test_the_end_brings_what_was_lost(access: FakeAccess, server: ModelServer, taken: int) -> None:
    """Whether the server had a first part, and whether it takes any at the end."""
    door = Losing(server, lambda count: count > taken)
    async with Client(access.ws, token="bot") as bot, bot.stream("ann", "so ") as stream:
        for count, word in enumerate(("one ", "two ", "three"), 1):
            await stream.write(word)
            await door.came(count)
    assert _text(server) == "so one two three"
    assert not server.rooms[CHAT].targets[1].streaming


async def test_a_stream_survives_a_reconnect(access: FakeAccess, server: ModelServer) -> None:
    door = Losing(server, lambda _count: False)
    async with asyncio.timeout(PATIENCE_S), Client(access.ws, token="bot") as bot, bot.stream("ann") as stream:
        await stream.write("before ")
        await door.came(1)
        access.cut()
        await stream.write("meanwhile ")
        await the_next_online(bot)
        await stream.write("after")
    assert _text(server) == "before meanwhile after"


async def the_next_online(client: Client) -> None:
    while (await the_next(client, Link)).state is not LinkState.CONNECTING:
        pass
    while (await the_next(client, Link)).state is not LinkState.ONLINE:
        pass


async def test_a_reader_who_lacks_a_part_reads_the_message(access: FakeAccess, server: ModelServer) -> None:
    door = Losing(server, lambda _count: False)
    async with (
        asyncio.timeout(PATIENCE_S),
        Client(access.ws, token="ann") as ann,
        Client(access.ws, token="bot") as bot,
        bot.stream("ann") as stream,
    ):
        await the_next(ann, Message)
        access.lose = lambda frame: frame.HasField("stream_part")
        await stream.write("lost ")
        await door.came(1)
        access.lose = lambda _frame: False
        await stream.write("and found")
        grew = await the_next(ann, StreamGrew)
        assert grew.message is not None
        assert grew.message.text == "lost and found"


async def test_a_stream_that_is_left_by_an_error_is_finished_with_what_there_is(
    access: FakeAccess, server: ModelServer
) -> None:
    async def think(bot: Client) -> None:
        async with bot.stream("ann") as stream:
            await stream.write("as far as ")
            raise ZeroDivisionError

    async with Client(access.ws, token="bot") as bot:
        with pytest.raises(ZeroDivisionError):
            await think(bot)
    assert _text(server) == "as far as "
    assert not server.rooms[CHAT].targets[1].streaming


async def test_a_stream_that_the_server_has_finished_takes_no_more(access: FakeAccess, server: ModelServer) -> None:
    door = Losing(server, lambda _count: False)
    async with (
        asyncio.timeout(PATIENCE_S),
        Client(access.ws, token="ann") as ann,
        Client(access.ws, token="bot") as bot,
        bot.stream("ann") as stream,
    ):
        finish = pb.Change.Finish(text="too slow")
        server.changes.change("bot", pb.Change(client_id="s", conversation=CHAT, seq=1, finish=finish))
        await stream.write("x")
        await door.came(1)
        await ann.history("bot")
        await bot.history("ann")  # behind what the server said of the part
        with pytest.raises(BadRequest, match="no stream"):
            await stream.write("y")


@pytest.mark.parametrize("finished", [False, True])
async def test_a_stream_that_is_begun_again_by_another_process_is_one_message(
    access: FakeAccess, server: ModelServer, finished: bool
) -> None:
    begun = pb.Send(conversation=CHAT, client_id="re-1", content=pb.Content(text="", streaming=True))
    server.post("bot", CHAT, begun.content, begun.client_id)
    if finished:
        async with Client(access.ws, token="bot") as bot, bot.stream("ann", client_id="re-1") as stream:
            await stream.write("the first answer")
    async with Client(access.ws, token="bot") as bot, bot.stream("ann", client_id="re-1") as stream:
        await stream.write("another answer")
    assert _text(server) == ("the first answer" if finished else "another answer")
    assert server.changes.parts == []
    assert [message.kind for message in server.rooms[CHAT].messages] == [pb.Message.NORMAL, pb.Message.CHANGE]


async def test_a_stream_has_the_size_of_a_message(access: FakeAccess) -> None:
    async with Client(access.ws, token="bot") as bot, bot.stream("ann") as stream:
        with pytest.raises(TooLarge, match="begin another message"):
            await stream.write("x" * 40_000)
        await stream.write("x")
