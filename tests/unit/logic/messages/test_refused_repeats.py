"""A send that was stored is a duplicate when it is repeated, though its sender may not send there any more."""

from __future__ import annotations

import json

import httpx2
import pytest

from protos.tidings.internal.v1 import logic_pb2
from tests.unit.logic.harness import Logic, body, message
from tests.unit.logic.messages.test_hooks import Endpoint, decide, hooks
from tests.unit.logic.on_storage import on_storage
from tests.unit.storage.nodes import World
from tidings_protocol import client_pb2

R = client_pb2.GroupRequest
Member = client_pb2.Member
SMALL = ["bob", "mia"]
LARGE = ["bob", "mia", "a", "b", "c", "d"]


async def founded(node: Logic, members: list[str], *, channel: bool) -> str:
    made = await node.ask("ann", group=R(create=R.Create(members=members, channel=channel)))
    group: str = made.group_info.conversation
    if channel:
        await node.ask("ann", group=R(set_role=R.SetRole(conversation=group, user="bob", role=Member.ADMIN)))
    return group


def way_out(name: str, group: str) -> tuple[str, R]:
    return {
        "left": ("bob", R(leave=R.Leave(conversation=group))),
        "removed": ("ann", R(remove=R.Remove(conversation=group, users=["bob"]))),
        "no admin of a channel": (
            "ann",
            R(set_role=R.SetRole(conversation=group, user="bob", role=Member.MEMBER)),
        ),
    }[name]


async def send(node: Logic, sender: str, group: str, text: str = "am I in?", key: str = "c") -> logic_pb2.SendOutcome:
    [outcome] = await node.send(message(sender, group, text, client_id=key))
    return outcome


@pytest.mark.parametrize("members", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("name", ["left", "removed", "no admin of a channel"])
async def test_a_repeat_gives_the_first_outcome_on_any_node(name: str, members: list[str]) -> None:
    world = World()
    async with on_storage(world) as node:
        group = await founded(node, members, channel="channel" in name)
        first = await send(node, "bob", group)
        user, request = way_out(name, group)
        assert not (await node.ask(user, group=request)).HasField("error")
        again = await send(node, "bob", group)
    async with on_storage(world) as node:
        elsewhere = await send(node, "bob", group)
        refused = await send(node, "bob", group, key="another")
    assert first.seq == 2 + ("channel" in name)
    for outcome in (again, elsewhere):
        assert (outcome.seq, outcome.number, outcome.time_ms) == (first.seq, first.number, first.time_ms)
        assert outcome.duplicate
    assert refused.fault.code == "FORBIDDEN"


async def test_what_the_first_try_could_not_tell_is_told() -> None:
    async with on_storage() as node:
        group = await founded(node, SMALL, channel=False)
        await send(node, "bob", group)
        await node.ask("bob", group=R(leave=R.Leave(conversation=group)))
        node.parcels()
        await send(node, "bob", group, "typed anew")
        pushes = node.pushes()
        assert {(body(push).seq, body(push).content.text) for push in pushes} == {(2, "am I in?")}
        assert {user for push in pushes for user in push.users} == {"ann", "bob", "mia"}


async def test_a_hook_that_refuses_the_second_time_has_no_say_in_what_is_stored() -> None:
    refusing = False

    def answer(asked: object) -> httpx2.Response:
        decision = {"action": "refuse", "reason": "not any more"} if refusing else {"action": "allow"}
        return httpx2.Response(200, content=json.dumps({"decisions": [decision]}))

    async with hooks(Endpoint(answer)) as opened, on_storage(hooks=opened) as node:
        first = await send(node, "ann", "d:ann|bob")
        refusing = True
        again = await send(node, "ann", "d:ann|bob")
        assert (again.seq, again.number, again.duplicate) == (first.seq, first.number, True)
        assert (await send(node, "ann", "d:ann|bob", key="new")).fault.message == "not any more"


async def test_who_is_refused_costs_one_look_for_the_whole_batch() -> None:
    async with on_storage() as node:
        group = await founded(node, SMALL, channel=False)
        node.storage.calls.clear()
        outcomes = await node.send(*[message("eve", group, str(number)) for number in range(20)])
        assert {outcome.fault.code for outcome in outcomes} == {"FORBIDDEN"}
        assert list(map(str, node.storage.calls)) == ["Load", "Store"]


async def test_nobody_is_refused_for_good_while_it_is_not_known() -> None:
    async with on_storage() as node:
        group = await founded(node, SMALL, channel=False)
        node.storage.lose = ["Store"]  # type: ignore[attr-defined]
        assert (await send(node, "eve", group)).fault.code == "UNAVAILABLE"


async def test_a_storage_node_that_does_not_know_of_looking_stores_nothing_either() -> None:
    """As while a cluster is brought to a newer version, node by node."""
    refuses = Endpoint(decide(lambda _: {"action": "refuse"}))
    world = World()
    async with hooks(refuses) as opened, on_storage(world, hooks=opened) as node:
        node.storage.forgets_to_look = True  # type: ignore[attr-defined]
        group = await founded(node, SMALL, channel=False)
        stored = len(world.database.messages[group])
        for sender, conversation in (("eve", group), ("ann", group), ("ann", "d:ann|bob"), ("ann", "d:ann|ann")):
            assert (await send(node, sender, conversation)).fault.code == "FORBIDDEN"
            assert len(world.database.messages[conversation]) == (stored if conversation == group else 0)
