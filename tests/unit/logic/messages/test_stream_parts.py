"""Parts of streams: what storage takes is told at once to the members."""

from __future__ import annotations

from protos.tidings.internal.v1 import delivery_pb2, logic_pb2
from tests.unit.logic.harness import Logic, logic, message
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError, Unavailable


def part(sender: str, conversation: str, number: int, text: str = "x", *, seq: int = 1) -> logic_pb2.StreamPartItem:
    return logic_pb2.StreamPartItem(
        sender=sender, session="s", conversation=conversation, seq=seq, part=number, text=text
    )


async def told(node: Logic) -> list[tuple[int, str, list[str], str]]:
    """(part, text, users, the session that is left out) of what was pushed, in its order."""
    await node.all_told()
    found = []
    for push in node.pushes(delivery_pb2.Push.STREAM_PART):
        body = client_pb2.StreamPart.FromString(push.body)
        found.append((body.part, body.text, sorted(push.users), push.except_session))
    return found


def codes(outcomes: list[TidingsError | None]) -> list[tuple[str, int]]:
    return [(outcome.code, outcome.next_part) if outcome else ("", 0) for outcome in outcomes]


async def test_a_part_goes_to_all_members_but_the_connection_that_it_came_from() -> None:
    async with logic() as node:
        node.storage.group("g:x", "amy", "bob", "cleo")
        node.storage.streams["g:x", 1] = []
        assert codes(await node.parts.take([part("amy", "g:x", 1, "a"), part("amy", "g:x", 2, "b")])) == [("", 0)] * 2
        found = await told(node)
    assert {
        number: sorted(user for each, _, users, _ in found if each == number for user in users) for number in (1, 2)
    } == {
        1: ["amy", "bob", "cleo"],
        2: ["amy", "bob", "cleo"],
    }
    assert {session for *_, session in found} == {"s"}


async def test_one_that_was_had_is_told_to_nobody_and_one_that_is_too_early_is_told_which_is_wanted() -> None:
    async with logic() as node:
        node.storage.streams["d:amy|bob", 1] = ["a", "b"]
        outcomes = await node.parts.take([part("amy", "d:amy|bob", number) for number in (2, 4, 3)])
        assert codes(outcomes) == [("", 0), ("BAD_REQUEST", 3), ("", 0)]
        assert {number for number, *_ in await told(node)} == {3}


async def test_parts_follow_the_message_and_each_other_on_their_way_to_a_node() -> None:
    async with logic() as node:
        node.broker.away()
        node.storage.group("g:x", "amy")
        node.storage.streams["g:x", 1] = []
        await node.sender.send([message("amy", "g:x", "first")])
        for number in range(1, 6):
            await node.parts.take([part("amy", "g:x", number)])
        node.broker.back()
        await node.all_told()
        kinds = [(push.kind, push.body) for _, parcel in node.parcels() for push in parcel.pushes]
    parts = [
        client_pb2.StreamPart.FromString(body).part for kind, body in kinds if kind == delivery_pb2.Push.STREAM_PART
    ]
    assert parts == sorted(parts)


async def test_who_may_not_send_there_does_not_stream_there() -> None:
    async with logic() as node:
        node.storage.group("g:big", "amy", large_from=1)
        node.storage.group("g:channel", "olga", "amy", channel=True)
        node.storage.group("g:x", "olga")
        items = [
            part("amy", "g:big", 1),
            part("amy", "g:none", 1),
            part("amy", "g:channel", 1),
            part("amy", "g:x", 1),
            part("amy", "b:all", 1),
            part("eve", "d:amy|bob", 1),
            part("amy", "d:amy|bob", 0),
            part("amy", "d:amy|bob", 1, "x" * 1001),
        ]
        refused = codes(await node.parts.take(items))
        assert node.storage.count("Parts") == 0
        assert await told(node) == []
    assert [code for code, _ in refused] == [
        "FORBIDDEN",
        "NOT_FOUND",
        "FORBIDDEN",
        "FORBIDDEN",
        "FORBIDDEN",
        "FORBIDDEN",
        "BAD_REQUEST",
        "TOO_LARGE",
    ]


async def test_a_part_that_storage_does_not_take_is_told_to_nobody() -> None:
    async with logic() as node:
        node.storage.streams["d:amy|bob", 1] = []
        node.storage.fail["Parts"] = [Unavailable("away")]
        assert codes(await node.parts.take([part("amy", "d:amy|bob", 1)])) == [("UNAVAILABLE", 0)]
        assert await told(node) == []
        assert codes(await node.parts.take([part("amy", "d:amy|bob", 1, seq=9)])) == [("NOT_FOUND", 0)]


async def test_nobody_waits_for_kafka() -> None:
    async with logic() as node:
        node.storage.streams["d:amy|bob", 1] = []
        node.broker.away()
        assert codes(await node.parts.take([part("amy", "d:amy|bob", 1)])) == [("", 0)]


async def test_who_is_muted_writes_no_stream_until_that_is_over() -> None:
    async with logic() as node:
        there = node.storage.group("g:x", "amy", "bob")
        node.storage.streams["g:x", 1] = []
        there.members["bob"].muted_until_ms = node.clock.wall_ms() + 5000
        assert codes(await node.parts.take([part("bob", "g:x", 1)])) == [("FORBIDDEN", 0)]
        node.clock.advance(6)
        assert codes(await node.parts.take([part("bob", "g:x", 1)])) == [("", 0)]


async def test_nothing_grows_for_who_blocks_its_sender() -> None:
    async with logic() as node:
        node.storage.streams["d:amy|bob", 1] = []
        node.storage.blocks["bob", "amy"] = 1
        assert codes(await node.parts.take([part("amy", "d:amy|bob", 1)])) == [("FORBIDDEN", 0)]
        assert node.storage.streams["d:amy|bob", 1] == []
        assert await told(node) == []
