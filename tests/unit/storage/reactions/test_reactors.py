"""Pages of those who have reacted."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.node import Storage
from services.storage.reactions.reactors import ReactorPages
from tests.unit.storage.nodes import World, changed, create, post, react, recall, send, stored
from tidings_protocol.errors import BadRequest, NotFound, TidingsError

GROUP = "g:1"


async def crowd(world: World, node: Storage, count: int = 10) -> list[str]:
    """A post to which so many have reacted, every third with a heart; the users in their order."""
    await changed(node, create(GROUP, "ann", large=True))
    await stored(node, post(GROUP, "ann", "m", 1))
    users = [f"u{number}" for number in range(count)]
    for number, user in enumerate(users):
        world.clock.advance(0.001)
        await node.reactions.react([react(GROUP, 2, user, "+" if number % 3 else "heart", version=1)])
    return users


async def page(pages: ReactorPages, **item: object) -> pb.ReactorsOutcome:
    [outcome] = await pages.pages([pb.ReactorsItem(**{"conversation": GROUP, "seq": 2, **item})])  # type: ignore[arg-type]
    if isinstance(outcome, TidingsError):
        raise outcome
    return outcome


async def test_pages_have_all_the_oldest_first() -> None:
    world = World()
    async with world.node() as node:
        users = await crowd(world, node)
        seen: list[str] = []
        after, more = "", True
        while more:
            found = await page(node.reactors, limit=4, after=after)
            assert len(found.reactors) <= 4
            seen += [each.user for each in found.reactors]
            after, more = found.next, found.more
        assert seen == users
        times = [each.time_ms for each in (await page(node.reactors)).reactors]
        assert times == sorted(times)
        assert times[0] == world.clock.wall_ms() - 9


async def test_a_page_of_one_reaction_has_only_that() -> None:
    world = World()
    async with world.node() as node:
        await crowd(world, node)
        found = await page(node.reactors, reaction="heart", limit=3)
        assert [each.user for each in found.reactors] == ["u0", "u3", "u6"]
        assert {each.reaction for each in found.reactors} == {"heart"}
        assert found.more


async def test_a_page_goes_on_behind_the_one_before_whatever_went() -> None:
    world = World()
    async with world.node() as node:
        await crowd(world, node)
        first = await page(node.reactors, limit=4)
        await node.reactions.react(
            [react(GROUP, 2, f"u{number}", "+", removes=True, version=1) for number in (1, 2, 4, 5)]
        )
        second = await page(node.reactors, limit=4, after=first.next)
        assert [each.user for each in second.reactors] == ["u6", "u7", "u8", "u9"]
        assert not second.more


async def test_an_end_is_told_and_stays_the_end() -> None:
    world = World()
    async with world.node() as node:
        await crowd(world, node, count=2)
        whole = await page(node.reactors)
        assert not whole.more
        beyond = await page(node.reactors, after=whole.next)
        assert (list(beyond.reactors), beyond.next, beyond.more) == ([], whole.next, False)


@pytest.mark.parametrize("seq", [1, 3, 99])
async def test_what_is_no_message_has_no_reactors(seq: int) -> None:
    world = World()
    async with world.node() as node:
        await crowd(world, node, count=1)  # 1 is a notice, 3 the CHANGE that tells of the reaction
        with pytest.raises(NotFound):
            await page(node.reactors, seq=seq)


async def test_what_lies_before_ones_joining_is_not_there() -> None:
    world = World()
    async with world.node() as node:
        await crowd(world, node, count=1)
        assert len((await page(node.reactors, first_seq=2)).reactors) == 1
        with pytest.raises(NotFound):
            await page(node.reactors, first_seq=3)


async def test_a_recalled_message_has_none() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "m"))
        await node.reactions.react([react("d:ann|bob", 1, "bob")])
        await stored(node, recall("d:ann|bob", 1, "ann", ["ann", "bob"]))
        assert not (await page(node.reactors, conversation="d:ann|bob", seq=1)).reactors


@pytest.mark.parametrize("after", ["nonsense", "xyz ann +", "-5 ann +", "5 ann", "f" * 17 + " ann +"])
async def test_what_is_no_token_is_refused(after: str) -> None:
    world = World()
    async with world.node() as node:
        await crowd(world, node, count=1)
        with pytest.raises(BadRequest):
            await page(node.reactors, after=after)
