"""A change of a group whose first try was not told, or not answered: the repeat tells all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from protos.tidings.internal.v1 import delivery_pb2
from tests.unit.logic.harness import Logic, body
from tests.unit.logic.on_storage import acts_of, dies_before_it_tells, on_storage
from tests.unit.storage.nodes import World
from tidings_protocol import client_pb2

Push = delivery_pb2.Push
R = client_pb2.GroupRequest
Member = client_pb2.Member

SMALL = ("mia", "max")
LARGE = ("mia", "max", "a", "b", "c", "d")


async def founded(node: Logic, others: Sequence[str], **settings: Any) -> str:
    """Olga's group; what was published of it is forgotten."""
    create = R.Create(name="Tea", members=others, open=True, **settings)
    made = await node.ask("olga", "founding", group=R(create=create))
    acts_of(node), node.parcels()
    return made.group_info.conversation


def act_of(name: str, group: str) -> tuple[str, R]:
    """Who asks, and for what."""
    return {
        "add": ("olga", R(add=R.Add(conversation=group, users=["zoe"]))),
        "remove": ("olga", R(remove=R.Remove(conversation=group, users=["mia"]))),
        "join": ("tom", R(join=R.Join(conversation=group))),
        "leave": ("max", R(leave=R.Leave(conversation=group))),
        "owner leaves": ("olga", R(leave=R.Leave(conversation=group))),
        "rename": ("olga", R(rename=R.Rename(conversation=group, name="Coffee"))),
        "set_role": ("olga", R(set_role=R.SetRole(conversation=group, user="mia", role=Member.ADMIN))),
        "hand over": ("olga", R(set_role=R.SetRole(conversation=group, user="mia", role=Member.OWNER))),
    }[name]


EVERY = ("add", "remove", "join", "leave", "owner leaves", "rename", "set_role", "hand over")


def _told(push: delivery_pb2.Push) -> tuple[int, bytes]:
    """The seq and data of a message, or what else the push is."""
    if push.kind != Push.MESSAGE:
        return 0, push.body
    message = body(push)
    return message.seq, message.content.data


def _shown(node: Logic) -> list[tuple[str, object]]:
    """All that is published, in a form that two tries can be compared by."""
    assert node.events() == []
    pushes = {
        (push.kind, user, *_told(push)) for _, parcel in node.parcels() for push in parcel.pushes for user in push.users
    }
    return [("push", push) for push in sorted(pushes)]


@pytest.mark.parametrize("others", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("name", EVERY)
async def test_a_repeat_tells_what_the_first_try_could_not(name: str, others: Sequence[str]) -> None:
    """Compared with the same change in another cluster, where the first try went well."""
    async with on_storage() as node:
        group = await founded(node, others)
        user, request = act_of(name, group)
        expected_reply = await node.ask(user, "op", group=request)
        expected, acts = _shown(node), acts_of(node)
    async with on_storage() as node:
        assert await founded(node, others) == group
        async with dies_before_it_tells(node):
            await node.ask(user, "op", group=request)
        assert not _shown(node)
        reply = await node.ask(user, "op", group=request)
        assert reply.WhichOneof("body") == expected_reply.WhichOneof("body")
        assert reply.error.message == ""
        assert _shown(node) == expected
        assert acts_of(node) == acts, "it is made once"


@pytest.mark.parametrize("others", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("name", EVERY)
async def test_a_repeat_on_nodes_that_know_nothing_tells_it_too(name: str, others: Sequence[str]) -> None:
    world = World()
    async with on_storage(world) as node:
        group = await founded(node, others)
        user, request = act_of(name, group)
        async with dies_before_it_tells(node):
            await node.ask(user, "op", group=request)
    async with on_storage(world) as node:
        reply = await node.ask(user, "op", group=request)
        assert not reply.HasField("error"), reply.error
        assert acts_of(node)[-1][0] in {name, "leave", "role"}


@pytest.mark.parametrize("others", [SMALL, LARGE], ids=["small", "large"])
async def test_a_repeat_is_the_first_change_whatever_has_happened_since(others: Sequence[str]) -> None:
    async with on_storage() as node:
        group = await founded(node, others)
        add = R(add=R.Add(conversation=group, users=["zoe", "yan"]))
        async with dies_before_it_tells(node):
            await node.ask("olga", "op", group=add)
        await node.ask("zoe", "", group=R(leave=R.Leave(conversation=group)))
        assert sorted(acts_of(node)) == [("add", "olga", ("zoe", "yan")), ("leave", "zoe", ("zoe",))]
        pushes = node.parcels()
        reply = await node.ask("olga", "op", group=add)
        assert reply.HasField("ok")
        assert acts_of(node) == []
        info = (await node.ask("yan", group=R(info=R.Info(conversation=group)))).group_info
        assert (info.member_count, info.role) == (len(others) + 2, Member.MEMBER)
        gone = (await node.ask("zoe", group=R(info=R.Info(conversation=group)))).group_info
        assert gone.role == Member.ROLE_UNSPECIFIED, "who has left is not brought back by somebody else's repeat"
        indexed = [push for _, parcel in node.parcels() for push in parcel.pushes if push.kind == Push.MEMBERSHIP]
        assert all("zoe" not in push.users for push in indexed), "nor is their node told that they are in it"
        assert pushes


@pytest.mark.parametrize("others", [SMALL, LARGE], ids=["small", "large"])
async def test_what_was_done_is_answered_also_if_the_right_to_it_is_gone(others: Sequence[str]) -> None:
    async with on_storage() as node:
        group = await founded(node, others)
        await node.ask("olga", group=R(set_role=R.SetRole(conversation=group, user="mia", role=Member.ADMIN)))
        remove = R(remove=R.Remove(conversation=group, users=["max"]))
        async with dies_before_it_tells(node):
            await node.ask("mia", "op", group=remove)
        await node.ask("olga", group=R(remove=R.Remove(conversation=group, users=["mia"])))
        assert ("remove", "mia", ("max",)) in acts_of(node)
        assert (await node.ask("mia", "op", group=remove)).HasField("ok")
        assert acts_of(node) == []


@pytest.mark.parametrize("others", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("name", [name for name in EVERY if name != "owner leaves"])
async def test_a_repeat_under_another_name_makes_nothing_new(name: str, others: Sequence[str]) -> None:
    """As when the connection was lost and the client asks again on the next one."""
    async with on_storage() as node:
        group = await founded(node, others)
        user, request = act_of(name, group)
        async with dies_before_it_tells(node):
            await node.ask(user, "op", group=request)
        reply = await node.ask(user, "another op", group=request)
        assert not reply.HasField("error"), reply.error
        act = {"set_role": "role", "hand over": "role"}.get(name, name)
        assert {each[0] for each in acts_of(node)} == {act}
