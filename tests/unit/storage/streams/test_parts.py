"""Parts as their senders give them: taken once, in order, by whoever owns the conversation."""

from __future__ import annotations

from contextlib import AsyncExitStack

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.streams.parts import Part
from tests.unit.storage.changing import act, entry, finish_of, one, recall, text_of, told_of
from tests.unit.storage.nodes import World, send, stored
from tests.unit.storage.streams.streaming import CHAT, stream, take
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError


async def test_parts_make_the_text_and_the_end_makes_it_whole() -> None:
    world = World()
    async with world.node() as node:
        begun = told_of(await one(node, stream("ann", "bob", "c1", "well, ")))
        assert (begun.state.streaming, begun.content.text) == (True, "well, ")
        assert await take(node, (1, "I "), (2, "think")) == [("", 0)] * 2
        outcome = await one(node, act("ann", "bob", "c2", finish_of(1, parts=2)))
        told = told_of(outcome)
        assert told.change.finish == client_pb2.Change.Finish(parts=2, text="well, I think")
        assert not told.state.streaming
        assert (text_of(entry(world, 1)), entry(world, 1).parts) == ("well, I think", None)


def test_a_part_is_of_the_message_that_it_names() -> None:
    item = pb.PartItem(conversation="g:1", seq=7, part=1)
    assert Part(item, 100).key == ("g:1", 7)


async def test_a_repeat_is_had_and_one_too_early_is_told_which_is_wanted() -> None:
    async with World().node() as node:
        await stored(node, stream("ann", "bob", "c1"))
        outcomes = await take(node, (1, "a"), (1, "a"), (3, "c"), (2, "b"), (3, "c"))
        assert outcomes == [("", 0), ("had", 0), ("BAD_REQUEST", 2), ("", 0), ("", 0)]


async def test_an_end_that_says_of_more_parts_than_came_is_told_which_is_wanted() -> None:
    async with World().node() as node:
        await stored(node, stream("ann", "bob", "c1"))
        await take(node, (1, "a"), (2, "b"))
        refused = await one(node, act("ann", "bob", "c2", finish_of(1, parts=4)))
        assert (refused.fault.code, refused.fault.next_part) == ("BAD_REQUEST", 3)
        await take(node, (3, "c"), (4, "d"))
        told = told_of(await one(node, act("ann", "bob", "c2", finish_of(1, parts=4))))
        assert (told.seq, told.change.finish.text) == (2, "abcd"), "what is refused takes no seq"


async def test_a_whole_text_wins_over_the_parts() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, stream("ann", "bob", "c1"))
        await take(node, (1, "a"))
        await stored(node, act("ann", "bob", "c2", finish_of(1, parts=9, text="all of it")))
        assert text_of(entry(world, 1)) == "all of it"


async def test_only_its_sender_goes_on_with_it() -> None:
    async with World().node() as node:
        await stored(node, stream("ann", "bob", "c1"), send("ann", "bob", "c2"))
        assert await take(node, (1, "x"), sender="bob") == [("FORBIDDEN", 0)]
        assert await take(node, (1, "x"), seq=2) == [("BAD_REQUEST", 0)]
        assert await take(node, (1, "x"), seq=9) == [("NOT_FOUND", 0)]
        assert await take(node, (1, "x"), conversation="d:ann|cleo") == [("NOT_FOUND", 0)]


async def test_after_its_end_no_part_is_taken_and_late_repeats_are_had() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, stream("ann", "bob", "c1"))
        await take(node, (1, "a"), (2, "b"))
        await stored(node, act("ann", "bob", "c2", finish_of(1, parts=2)))
        assert await take(node, (2, "b"), (3, "c")) == [("had", 0), ("BAD_REQUEST", 0)]
        assert await take(node, (3, "c"), sender="bob") == [("FORBIDDEN", 0)]
        assert node.streams.count == 0
        assert text_of(entry(world, 1)) == "ab"


async def test_what_is_recalled_does_not_grow() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, stream("ann", "bob", "c1"))
        await take(node, (1, "secret"))
        await stored(node, recall("ann", "bob", "c2", 1))
        assert await take(node, (2, "more")) == [("FORBIDDEN", 0)]
        await node.keeper.tick()
        assert (entry(world, 1).content, entry(world, 1).parts) == (b"", None)


async def test_what_is_over_does_not_grow() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, stream("ann", "bob", "c1", expire_after_s=60))
        assert await take(node, (1, "a")) == [("", 0)]
        world.clock.advance(61)
        await node.keeper.tick()
        assert await take(node, (2, "b")) == [("FORBIDDEN", 0)]
        assert world.database.conversations[CHAT].streams == ()


async def test_a_text_has_an_end() -> None:
    async with World().node() as node:
        await stored(node, stream("ann", "bob", "c1", "1234"))
        outcomes = await take(node, (1, "56789"), (1, "5678"), (2, "9"), most=8)
        assert outcomes == [("TOO_LARGE", 0), ("", 0), ("TOO_LARGE", 0)]
        assert told_of(await one(node, act("ann", "bob", "c2", finish_of(1, parts=1)))).change.finish.text == "12345678"


async def test_the_next_owner_goes_on_from_what_was_written() -> None:
    world = World()
    async with AsyncExitStack() as stack:
        first = await world.crashed(stack)
        await stored(first, stream("ann", "bob", "c1"))
        await take(first, (1, "a"), (2, "b"))
        await first.keeper.tick()
        await take(first, (3, "c"), (4, "d"))
    async with world.node("two") as second:
        world.hood.owner_of = lambda _: "two"
        assert await take(second, (5, "e")) == [("BAD_REQUEST", 3)]
        assert await take(second, (3, "c"), (4, "d"), (5, "e")) == [("", 0)] * 3
        told = told_of(await one(second, act("ann", "bob", "c2", finish_of(1, parts=5))))
        assert told.change.finish.text == "abcde"


async def test_a_part_that_the_owner_before_writes_late_takes_nothing_back() -> None:
    world = World()
    async with world.node("one") as first, world.node("two") as second:
        await stored(first, stream("ann", "bob", "c1"))
        await take(first, (1, "a"))
        world.hood.owner_of = lambda _: "two"
        assert await take(second, (1, "a"), (2, "b")) == [("", 0)] * 2
        await second.keeper.tick()
        await first.keeper.tick()
        assert (text_of(entry(world, 1)), entry(world, 1).parts) == ("ab", 2)
        assert first.streams.count == 0, "it is another node's now"


async def test_who_comes_back_to_a_stream_sees_what_others_have_put_behind_it() -> None:
    world = World()
    async with world.node("one") as first, world.node("two") as second:
        await stored(first, stream("ann", "bob", "c1"))
        await take(first, (1, "a"))
        await first.keeper.tick()
        await take(second, (2, "b"))
        await second.keeper.tick()
        first.ring_changed(frozenset(range(4096)))
        assert await take(first, (2, "b"), (3, "c")) == [("had", 0), ("", 0)]


async def test_parts_wait_for_a_database_that_is_away() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, stream("ann", "bob", "c1"))
        await take(node, (1, "a"))
        world.database.faults.away = True
        assert await take(node, (2, "b")) == [("", 0)], "what is in memory needs none"
        assert await take(node, (1, "x"), seq=7) == [("UNAVAILABLE", 0)]
        world.database.faults.away = False
        await node.keeper.tick()
        assert text_of(entry(world, 1)) == "ab"


async def test_there_are_so_many_open_streams_in_a_conversation_and_no_more() -> None:
    async with World().node() as node:
        outcomes = [await one(node, stream("ann", "bob", f"c{index}")) for index in range(101)]
        assert [each.fault.code for each in outcomes] == [""] * 100 + ["RATE_LIMITED"]
        assert (await one(node, send("ann", "bob", "plain"))).seq == 101
        await stored(node, act("ann", "bob", "end", finish_of(1)))
        await node.keeper.tick()
        assert not (await one(node, stream("ann", "bob", "c100"))).fault.code


async def test_who_writes_a_stream_may_ask_for_its_text_so_far() -> None:
    async with World().node() as node:
        await stored(node, stream("ann", "bob", "c1", "well, "), send("ann", "bob", "c2"))
        await take(node, (1, "I "), (2, "think"))

        async def asked(sender: str, seq: int = 1) -> list[pb.PartOutcome | TidingsError]:
            return await node.parts.take([pb.PartItem(conversation=CHAT, seq=seq, sender=sender)], 100)

        assert await asked("ann") == [pb.PartOutcome(had=True, parts=2, text="well, I think")]
        for sender, seq, code in (("bob", 1, "FORBIDDEN"), ("ann", 2, "BAD_REQUEST"), ("ann", 9, "NOT_FOUND")):
            [refused] = await asked(sender, seq)
            assert isinstance(refused, TidingsError)
            assert refused.code == code
        assert await take(node, (3, ".")) == [("", 0)], "nothing was put there"
        await stored(node, act("ann", "bob", "c3", finish_of(1, parts=3)))
        [ended] = await asked("ann")
        assert isinstance(ended, TidingsError)
        assert ended.code == "BAD_REQUEST"
