"""A create that its client has given a name is one group, however often and wherever it is asked for."""

from __future__ import annotations

import pytest

from tests.unit.logic.harness import Logic
from tests.unit.logic.on_storage import acts_of, dies_before_it_tells, on_storage
from tests.unit.storage.nodes import World
from tidings_protocol import client_pb2

R = client_pb2.GroupRequest
Member = client_pb2.Member
LARGE = ["a", "b", "c", "d", "e"]


async def create(node: Logic, user: str, client_id: str, op: str = "", **fields: object) -> client_pb2.GroupInfo:
    made = R(create=R.Create(client_id=client_id, **fields))  # type: ignore[arg-type]
    reply = await node.ask(user, op, group=made)
    assert not reply.HasField("error"), reply.error
    return reply.group_info


@pytest.mark.parametrize("members", [["mia"], LARGE], ids=["small", "large"])
async def test_a_repeat_gives_the_first_group_on_any_node_with_any_op(members: list[str]) -> None:
    world = World()
    async with on_storage(world) as node:
        first = await create(node, "olga", "tea", "op 1", name="Tea", members=members)
        assert await create(node, "olga", "tea", "op 1", name="Tea", members=members) == first
        assert await create(node, "olga", "tea", "op 2", name="Tea", members=members) == first
    async with on_storage(world) as node:
        assert await create(node, "olga", "tea", "op 3", name="Tea", members=members) == first
        assert len(world.database.conversations) == 1
        assert [act for act, _, _ in acts_of(node)] == ["create"]


async def test_a_repeat_gives_the_first_group_whatever_has_become_of_it() -> None:
    async with on_storage() as node:
        first = await create(node, "olga", "tea", name="Tea", members=["mia"], open=True)
        await node.ask("olga", group=R(rename=R.Rename(conversation=first.conversation, name="Coffee")))
        again = await create(node, "olga", "tea", name="Cake", members=["max", "eve"])
        assert (again.conversation, again.name, again.member_count) == (first.conversation, "Coffee", 2)
        await node.ask("olga", group=R(leave=R.Leave(conversation=first.conversation)))
        again = await create(node, "olga", "tea")
        assert (again.conversation, again.role) == (first.conversation, Member.ROLE_UNSPECIFIED)


async def test_who_has_left_a_group_that_is_not_open_learns_its_id_and_no_more() -> None:
    async with on_storage() as node:
        first = await create(node, "olga", "tea", name="Tea", members=["mia"])
        await node.ask("olga", group=R(leave=R.Leave(conversation=first.conversation)))
        assert await create(node, "olga", "tea") == client_pb2.GroupInfo(conversation=first.conversation)


async def test_a_repeat_whose_first_message_retention_has_taken_gives_the_group_all_the_same() -> None:
    world = World()
    async with on_storage(world) as node:
        first = await create(node, "olga", "tea", name="Tea")
    await world.database.repository().messages.remove(first.conversation, 99)
    async with on_storage(world) as node:
        assert (await create(node, "olga", "tea", name="Tea")).conversation == first.conversation
        assert len(world.database.conversations) == 1


async def test_other_users_other_names_and_no_names_are_other_groups() -> None:
    async with on_storage() as node:
        made = [
            await create(node, user, client_id, op)
            for user, client_id, op in (("olga", "a", "1"), ("olga", "b", "2"), ("mia", "a", "3"), ("olga", "", "4"))
        ]
        made += [await create(node, "olga", "", "a"), await create(node, "olga", "")]
        assert len({info.conversation for info in made}) == len(made)


async def test_what_the_first_try_could_not_tell_is_told_by_a_repeat_with_another_op() -> None:
    async with on_storage() as node:
        async with dies_before_it_tells(node):
            await create(node, "olga", "tea", "op 1", members=["mia"])
        await create(node, "olga", "tea", "op 2", members=["mia"])
        assert acts_of(node) == [("create", "olga", ("olga", "mia"))]
        assert {user for push in node.pushes() for user in push.users} == {"olga", "mia"}


async def test_a_name_that_no_message_could_have_is_refused() -> None:
    async with on_storage() as node:
        for client_id in ("x" * 65, "~op x"):
            reply = await node.ask("olga", group=R(create=R.Create(client_id=client_id)))
            assert reply.error.code == "BAD_REQUEST"
