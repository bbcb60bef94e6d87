"""Messages whose text grows as one watches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.talk import (
    People,
    change,
    created,
    edit,
    listed,
    live,
    mute,
    page,
    recall,
    refusal,
    refused,
    say,
    shown,
    still_waiting,
    synced,
    until,
)
from tests.support.device.pipes import WAYS, Way
from tests.support.device.wire import Refused, Wire
from tidings_protocol.client_pb2 import BlockRequest, Change, Content, Message, Ping, Sent, StreamPart
from tidings_protocol.ids import direct

pytestmark = pytest.mark.e2e
Name = Callable[[str], str]
each_way = pytest.mark.parametrize("way", WAYS)
WRITTEN_S = 4.0


async def part(wire: Wire, conversation: str, seq: int, number: int, text: str) -> int:
    """Says one part, and waits for nothing; the frame's id."""
    return await wire.post(stream_part=StreamPart(conversation=conversation, seq=seq, part=number, text=text))


async def parts(wire: Wire, conversation: str, seq: int, *texts: str) -> None:
    for number, text in enumerate(texts, 1):
        await part(wire, conversation, seq, number, text)


async def finish(
    wire: Wire, conversation: str, seq: int, count: int = 0, text: str = "", *, client_id: str = ""
) -> Sent:
    return await change(wire, conversation, seq, client_id=client_id, finish=Change.Finish(parts=count, text=text))


async def part_refused(wire: Wire, conversation: str, seq: int, number: int, text: str = "x") -> Refused:
    return await refused(wire.reply(await part(wire, conversation, seq, number, text)))


async def grown(wire: Wire) -> StreamPart:
    return (await wire.push("stream_part")).stream_part


@each_way
async def test_a_stream_is_stored_then_grows_and_ends(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        (laptop,) = await people.come("bob", device="laptop", visiting=True)
        chat = direct(name("ann"), name("bob"))
        sent = await say(ann, chat, "", streaming=True)
        for wire in (bob, laptop):
            message = await live(wire, chat, sent.seq)
            assert (message.kind, message.ordinal) == (Message.NORMAL, 1)
            assert message.state.streaming
            assert message.content.text == ""
        await parts(ann, chat, sent.seq, "Once ", "upon ", "a time")
        for wire in (bob, laptop):
            heard = [await grown(wire) for _ in range(3)]
            assert [(each.part, each.text) for each in heard] == [(1, "Once "), (2, "upon "), (3, "a time")]
            assert {(each.conversation, each.seq) for each in heard} == {(chat, sent.seq)}
        ended = await finish(ann, chat, sent.seq, 3)
        assert (ended.seq, ended.state.streaming, ended.state.parts) == (2, False, 3)
        told = await live(bob, chat, ended.seq)
        assert (told.kind, told.change.WhichOneof("act")) == (Message.CHANGE, "finish")
        assert (told.change.finish.text, told.change.finish.parts) == ("Once upon a time", 3)
        assert told.state == ended.state
        message = await shown(bob, chat, sent.seq)
        assert (message.content.text, message.state.streaming) == ("Once upon a time", False)
        assert [(entry.number, entry.message.seq) for entry in await synced(bob)] == [(1, 1), (2, 2)]


@each_way
async def test_a_stream_may_begin_with_text_and_the_text_so_far_is_read(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "Well", streaming=True)
        message = await shown(bob, chat, 1)
        assert (message.content.text, message.state.streaming, message.state.parts) == ("Well", True, 0)
        await parts(ann, chat, 1, ", that", " depends")

        async def is_written() -> bool:
            now = await shown(bob, chat, 1)
            assert now.state.streaming
            return (now.content.text, now.state.parts) == ("Well, that depends", 2)

        await until(is_written, WRITTEN_S)

        async def is_listed() -> bool:
            return (await listed(bob, chat)).last.content.text == "Well, that depends"

        await until(is_listed, WRITTEN_S)
        ended = await finish(ann, chat, 1, 2)
        assert ended.state.parts == 2
        assert (await shown(bob, chat, 1)).content.text == "Well, that depends"


@each_way
async def test_a_part_that_was_had_is_ignored_and_one_too_early_is_told_which_is_wanted(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "", streaming=True)
        await parts(ann, chat, 1, "a", "b")
        await part(ann, chat, 1, 1, "A")
        error = await part_refused(ann, chat, 1, 5)
        assert (error.code, error.next_part) == ("BAD_REQUEST", 3)
        await part(ann, chat, 1, 3, "c")
        assert [(await grown(bob)).text for _ in range(3)] == ["a", "b", "c"]
        await ann.request(ping=Ping())
        bodies = [frame.WhichOneof("body") for frame in ann.received]
        assert "ok" not in bodies, "a part has no reply"
        await finish(ann, chat, 1, 3)
        assert (await shown(bob, chat, 1)).content.text == "abc"


@each_way
async def test_a_finish_with_text_wins_and_one_with_a_missing_part_is_refused(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "", streaming=True)
        await parts(ann, chat, 1, "a", "b")
        error = await refused(finish(ann, chat, 1, 4))
        assert (error.code, error.next_part) == ("BAD_REQUEST", 3)
        assert (await page(ann, chat)).head == 1
        await part(ann, chat, 1, 3, "c")
        await part(ann, chat, 1, 4, "d")
        ended = await finish(ann, chat, 1, 4, client_id="end")
        again = await finish(ann, chat, 1, 4, client_id="end")
        assert (again.seq, again.duplicate, again.message_id) == (ended.seq, True, ended.message_id)
        assert (await shown(bob, chat, 1)).content.text == "abcd"

        second = (await say(ann, chat, "", streaming=True)).seq
        await parts(ann, chat, second, "x")
        ended = await finish(ann, chat, second, 9, "the whole of it")
        assert (await live(bob, chat, ended.seq)).change.finish.text == "the whole of it"
        assert (await shown(bob, chat, second)).content.text == "the whole of it"


@each_way
async def test_only_the_sender_makes_a_stream_grow_and_only_until_its_end(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with People(cluster, name, way) as people:
        ann, bob, eve = await people.come("ann", "bob", "eve")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "", streaming=True)
        await say(ann, chat, "not a stream")
        assert (await part_refused(bob, chat, 1, 1)).code == "FORBIDDEN"
        assert (await part_refused(eve, chat, 1, 1)).code == "FORBIDDEN"
        assert (await part_refused(ann, chat, 9, 1)).code == "NOT_FOUND"
        assert (await part_refused(ann, chat, 2, 1)).code == "BAD_REQUEST"
        assert await refusal(finish(bob, chat, 1, 0, "mine")) == "FORBIDDEN"
        assert await refusal(finish(ann, chat, 2, 0, "what?")) == "BAD_REQUEST"
        await part(ann, chat, 1, 1, "good")
        await finish(ann, chat, 1, 1)
        assert (await part_refused(ann, chat, 1, 2)).code in {"BAD_REQUEST", "FORBIDDEN"}
        assert await refusal(finish(ann, chat, 1, 0, "more")) in {"BAD_REQUEST", "FORBIDDEN"}
        assert (await edit(ann, chat, 1, "goodbye")).state.edited_ms
        assert (await shown(bob, chat, 1)).content.text == "goodbye"
        assert [each.seq for each in (await still_waiting(bob))][-1] == 4


@each_way
async def test_text_that_grows_beyond_the_limit_is_too_large(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        (ann,) = await people.come("ann")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "x" * 20_000, streaming=True)
        await part(ann, chat, 1, 1, "y" * 12_000)
        assert (await part_refused(ann, chat, 1, 2, "z" * 769)).code == "TOO_LARGE"
        await part(ann, chat, 1, 2, "z" * 768)
        assert await refusal(finish(ann, chat, 1, 2, "w" * 32_769)) == "TOO_LARGE"
        await finish(ann, chat, 1, 2)
        assert len((await shown(ann, chat, 1)).content.text) == 32_768


async def test_more_than_thirty_parts_a_second_are_too_many(cluster: Cluster, name: Name) -> None:
    async with People(cluster, name, "proto") as people:
        (ann,) = await people.come("ann")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "", streaming=True)
        frames = [await part(ann, chat, 1, number, "x") for number in range(1, 121)]
        await ann.request(ping=Ping())
        await asyncio.sleep(0.3)
        errors = [frame.error for frame in ann.received if frame.id in frames]
        assert errors
        assert {error.code for error in errors} <= {"RATE_LIMITED", "BAD_REQUEST"}
        assert "RATE_LIMITED" in {error.code for error in errors}
        assert any(error.retry_after_ms for error in errors if error.code == "RATE_LIMITED")
        await asyncio.sleep(1)
        error = await part_refused(ann, chat, 1, 1000)
        assert (error.code, error.next_part > 1) == ("BAD_REQUEST", True)
        await part(ann, chat, 1, error.next_part, "end")
        await finish(ann, chat, 1, error.next_part)
        assert (await shown(ann, chat, 1)).content.text == "x" * (error.next_part - 1) + "end"


async def test_there_are_no_streams_in_large_groups(cluster: Cluster, name: Name) -> None:
    async with People(cluster, name, "json") as people:
        (ann,) = await people.come("ann")
        group = await created(ann, [name(f"m{number}") for number in range(201)])
        assert await refusal(say(ann, group, "", streaming=True)) == "FORBIDDEN"
        await say(ann, group, "as always")


@each_way
async def test_who_is_muted_or_blocked_while_it_grows_says_no_more(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        group = await created(ann, [name("bob")])
        seq = (await say(bob, group, "", streaming=True)).seq
        await part(bob, group, seq, 1, "a")
        await mute(ann, group, name("bob"))
        assert (await part_refused(bob, group, seq, 2)).code == "FORBIDDEN"
        chat = direct(name("ann"), name("bob"))
        await say(bob, chat, "", streaming=True)
        await ann.request(block=BlockRequest(set=BlockRequest.Set(users=[name("bob")], blocked=True)))
        assert (await part_refused(bob, chat, 1, 1)).code == "FORBIDDEN"


@each_way
async def test_a_stream_that_is_recalled_grows_no_more(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "", streaming=True)
        await parts(ann, chat, 1, "the secret")
        assert (await grown(bob)).text == "the secret"
        await recall(ann, chat, 1)
        assert (await part_refused(ann, chat, 1, 2)).code == "FORBIDDEN"
        assert await refusal(finish(ann, chat, 1, 1)) == "FORBIDDEN"
        await asyncio.sleep(2.2)  # the text so far is not written any more
        message = await shown(bob, chat, 1)
        assert (message.state.recalled_by, message.state.streaming) == (name("ann"), False)
        assert not message.HasField("content")


@each_way
async def test_a_stream_sent_twice_is_one_stream(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        (ann,) = await people.come("ann")
        chat = direct(name("ann"), name("bob"))
        first = await say(ann, chat, "", streaming=True, client_id="s")
        await parts(ann, chat, 1, "a")
        again = await say(ann, chat, "", streaming=True, client_id="s")
        assert (again.seq, again.duplicate) == (first.seq, True)
        await part(ann, chat, 1, 2, "b")
        await finish(ann, chat, 1, 2)
        assert (await shown(ann, chat, 1)).content.text == "ab"
        assert await refusal(change(ann, chat, 1, edit=Content(text="edited"))) == ""
