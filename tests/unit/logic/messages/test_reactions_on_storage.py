"""Reactions from a client's change to the push of their announcement, on a storage node."""

from __future__ import annotations

from protos.tidings.internal.v1 import common_pb2, logic_pb2
from tests.unit.logic.harness import message
from tests.unit.logic.on_storage import on_storage
from tests.unit.storage.nodes import World
from tidings_protocol import client_pb2
from tidings_protocol.ids import direct

CHAT = direct("amy", "bob")


def reacts(user: str, reaction: str = "+", *, removes: bool = False, client_id: str = "") -> logic_pb2.SendItem:
    change = client_pb2.Change(seq=1)
    if removes:
        change.unreact = reaction
    else:
        change.react = reaction
    return logic_pb2.SendItem(
        sender=user,
        session=f"{user}-session",
        conversation=CHAT,
        client_id=client_id or f"{user} {reaction} {removes}",
        special=common_pb2.Special(change=change.SerializeToString()),
    )


def shown(outcome: logic_pb2.SendOutcome) -> list[tuple[str, int]]:
    return [(each.reaction, each.count) for each in client_pb2.State.FromString(outcome.state).reactions]


async def test_the_first_reaction_is_pushed_to_all_but_the_connection_that_was_answered_with_it() -> None:
    async with on_storage() as node:
        await node.send(message("amy", CHAT, "hello"))
        node.pushes()
        [outcome] = await node.send(reacts("bob"))
        assert (outcome.fault.code, outcome.seq, outcome.number) == ("", 2, 2)
        assert shown(outcome) == [("+", 1)]
        pushed = {user: push for push in node.pushes() for user in push.users}
        assert set(pushed) == {"amy", "bob"}
        assert pushed["bob"].except_session == "bob-session"
        entry = client_pb2.Message.FromString(pushed["amy"].body)
        assert (entry.sender, entry.seq, entry.client_id) == ("bob", 2, "")
        assert [(each.user, each.reaction) for each in entry.change.reacted.added] == [("bob", "+")]


async def test_what_gathers_is_answered_without_a_seq_and_told_later() -> None:
    world = World()
    async with on_storage(world) as node:
        await node.send(message("amy", CHAT, "hello"), reacts("bob"))
        node.pushes()
        first, second = await node.send(reacts("amy"), reacts("bob", removes=True))
        assert (first.seq, second.seq) == (0, 0)
        assert shown(second) == [("+", 1)]
        assert node.pushes() == []
        world.clock.advance(1.0)
        await world.hood.nodes["one"]._storage.reactions.announce()
        [told] = world.told_by["one"]
        assert client_pb2.Message.FromString(told.message).sender == "bob"
        [retry] = await node.send(reacts("amy"))
        assert (retry.seq, retry.duplicate) == (3, True)


async def test_who_may_not_read_there_may_not_react() -> None:
    async with on_storage() as node:
        await node.send(message("amy", CHAT, "hello"))
        [stranger] = await node.send(reacts("eve"))
        assert stranger.fault.code == "FORBIDDEN"


async def test_a_refusal_of_storage_is_the_answer() -> None:
    async with on_storage() as node:
        await node.send(message("amy", CHAT, "hello"))
        outcomes = await node.send(*(reacts("bob", f"r{number}") for number in range(6)))
        assert [outcome.fault.code for outcome in outcomes] == [""] * 5 + ["BAD_REQUEST"]
