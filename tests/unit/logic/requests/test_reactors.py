"""Who reacted to a message, for those who may read it: on a storage node."""

from __future__ import annotations

from tests.unit.logic.on_storage import on_storage
from tests.unit.storage.nodes import World, changed, create, post, react, send, stored
from tidings_protocol import client_pb2

Reactors = client_pb2.ReactorsRequest
CHAT, GROUP = "d:amy|bob", "g:x"


async def test_a_page_is_for_those_who_may_read_the_message() -> None:
    world = World()
    async with on_storage(world) as node:
        storage = world.hood.nodes["one"]._storage
        await stored(storage, send("amy", "bob", "m"))
        await changed(storage, create(GROUP, "amy", "bob"))
        await stored(storage, post(GROUP, "amy", "m", 1, ["amy", "bob"]))
        await storage.reactions.react([react(CHAT, 1, "bob"), react(GROUP, 2, "amy", version=1)])
        asks = [
            ("amy", "", {"reactors": Reactors(conversation=CHAT, seq=1)}),
            ("eve", "", {"reactors": Reactors(conversation=CHAT, seq=1)}),
            ("bob", "", {"reactors": Reactors(conversation=GROUP, seq=2)}),
            ("eve", "", {"reactors": Reactors(conversation=GROUP, seq=2)}),
            ("amy", "", {"reactors": Reactors(conversation="g:none", seq=2)}),
            ("amy", "", {"reactors": Reactors(conversation=CHAT, seq=9)}),
            ("amy", "", {"reactors": Reactors(conversation=CHAT)}),
            ("amy", "", {"reactors": Reactors(conversation="nonsense", seq=1)}),
            ("amy", "", {"reactors": Reactors(conversation=CHAT, seq=1, reaction="a\nb")}),
            ("amy", "", {"reactors": Reactors(conversation=CHAT, seq=1, after="nonsense")}),
        ]
        replies = await node.ask_all(*asks)
        assert [reply.error.code for reply in replies] == [
            "",
            "FORBIDDEN",
            "",
            "FORBIDDEN",
            "NOT_FOUND",
            "NOT_FOUND",
            "BAD_REQUEST",
            "BAD_REQUEST",
            "BAD_REQUEST",
            "BAD_REQUEST",
        ]
        assert [(each.user, each.reaction) for each in replies[0].reactor_page.reactors] == [("bob", "+")]
        assert [each.user for each in replies[2].reactor_page.reactors] == ["amy"]


async def test_pages_follow_each_other_and_may_be_of_one_reaction() -> None:
    world = World()
    async with on_storage(world) as node:
        storage = world.hood.nodes["one"]._storage
        await stored(storage, send("amy", "bob", "m"))
        given = [react(CHAT, 1, user, reaction) for reaction in ("❤", "+", "-") for user in ("amy", "bob")]
        await storage.reactions.react(given)
        first = (await node.ask("amy", reactors=Reactors(conversation=CHAT, seq=1, limit=4))).reactor_page
        assert (len(first.reactors), first.more) == (4, True)
        rest = (await node.ask("amy", reactors=Reactors(conversation=CHAT, seq=1, after=first.next))).reactor_page
        assert ([each.reaction for each in rest.reactors], rest.more) == (["-", "-"], False)
        heart = Reactors(conversation=CHAT, seq=1, reaction="❤\ufe0f")
        assert len((await node.ask("amy", reactors=heart)).reactor_page.reactors) == 2


async def test_who_joined_later_does_not_see_what_lies_before() -> None:
    world = World()
    async with on_storage(world) as node:
        storage = world.hood.nodes["one"]._storage
        await changed(storage, create(GROUP, "amy"))
        await stored(storage, post(GROUP, "amy", "m", 1, ["amy"]))
        item = create(GROUP, "amy", op="add")
        item.version = 1
        item.ClearField("set")
        item.set.add(user="bob", role=1)
        await changed(storage, item)
        reply = await node.ask("bob", reactors=Reactors(conversation=GROUP, seq=2))
        assert reply.error.code == "NOT_FOUND"
