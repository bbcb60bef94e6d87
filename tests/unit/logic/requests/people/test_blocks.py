"""`block`, on a real storage node, and what follows from it for sends and signals."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1 import delivery_pb2, logic_pb2
from services.logic.requests.people.blocks import USERS_MAX
from services.storage.people.blocks import BLOCKS_MAX
from services.storage.repository.people import BlockKey
from tests.unit.logic.harness import Logic, message
from tests.unit.logic.on_storage import database_of, on_storage
from tidings_protocol import client_pb2

Block = client_pb2.BlockRequest


async def block(node: Logic, user: str, *others: str, blocked: bool = True) -> client_pb2.ServerFrame:
    return await node.ask(user, block=Block(set=Block.Set(users=others, blocked=blocked)))


async def test_a_message_to_who_blocks_its_sender_is_refused_either_way() -> None:
    async with on_storage() as node:
        await node.send_rows(message("ann", "d:ann|bob", "one"))
        assert (await block(node, "bob", "ann")).HasField("ok")
        items = [message("ann", "d:ann|bob", "two"), message("bob", "d:ann|bob", "three")]
        for send in (node.send_rows, node.send):
            refused, sent = await send(*items)
            assert (refused.fault.code, refused.seq, sent.seq) == ("FORBIDDEN", 0, 2)
            assert "does not take messages from you" in refused.fault.message
        assert (await block(node, "bob", "ann", blocked=False)).HasField("ok")
        [sent] = await node.send_rows(items[0])
        assert sent.seq == 3


async def test_a_repeat_of_what_was_stored_before_the_block_is_a_duplicate() -> None:
    async with on_storage() as node:
        first = message("ann", "d:ann|bob", "one")
        await node.send_rows(first)
        await block(node, "bob", "ann")
        [again] = await node.send_rows(first)
        assert (again.duplicate, again.seq, again.fault.code) == (True, 1, "")


async def test_common_groups_go_on() -> None:
    async with on_storage() as node:
        create = client_pb2.GroupRequest.Create(name="x", members=["ann"])
        made = await node.ask("bob", op="op", group=client_pb2.GroupRequest(create=create))
        await block(node, "bob", "ann")
        [sent] = await node.send_rows(message("ann", made.group_info.conversation, "hello"))
        assert sent.seq == 2


async def test_a_signal_is_refused_too() -> None:
    async with on_storage() as node:
        await block(node, "bob", "ann")
        item = logic_pb2.SignalItem(sender="ann", session="s", conversation="d:ann|bob", name="typing")
        [refused] = await node.signals.signal([item])
        assert refused is not None
        assert refused.code == "FORBIDDEN"


async def test_all_access_nodes_hear_of_a_block() -> None:
    async with on_storage() as node:
        await block(node, "bob", "ann", "cid", "ann")
        await block(node, "bob", "ann", blocked=False)
    changes = [delivery_pb2.BlockChange.FromString(push.body) for push in node.pushes(delivery_pb2.Push.BLOCKS)]
    assert [(each.user, list(each.users), each.blocked) for each in changes] == [
        ("bob", ["ann", "cid"], True),
        ("bob", ["ann"], False),
    ]
    assert all(each.time_ms for each in changes)


async def test_who_is_blocked_is_listed_by_user_id_in_pages() -> None:
    async with on_storage() as node:
        await block(node, "bob", "eve", "ann", "cid")
        first = (await node.ask("bob", block=Block(list=Block.List(limit=2)))).user_page
        assert (list(first.users), first.next, first.more) == (["ann", "cid"], "cid", True)
        rest = (await node.ask("bob", block=Block(list=Block.List(after=first.next)))).user_page
        assert (list(rest.users), rest.next, rest.more) == (["eve"], "eve", False)
        none = (await node.ask("ann", block=Block(list=Block.List()))).user_page
        assert (list(none.users), none.next, none.more) == ([], "", False)


@pytest.mark.parametrize(
    "request_",
    [
        Block(),
        Block(set=Block.Set(blocked=True)),
        Block(set=Block.Set(users=["bob"], blocked=True)),
        Block(set=Block.Set(users=["tidings"], blocked=True)),
        Block(set=Block.Set(users=["not a user"], blocked=True)),
        Block(set=Block.Set(users=[f"u{n}" for n in range(USERS_MAX + 1)], blocked=True)),
        Block(set=Block.Set(users=["ann", "cid"], blocked=True)),
    ],
)
async def test_what_is_refused(request_: Block) -> None:
    async with on_storage() as node:
        full = {BlockKey("bob", f"x{n}"): 1 for n in range(BLOCKS_MAX - 1)}
        database_of(node).blocks.update(full)
        assert (await node.ask("bob", block=request_)).error.code == "BAD_REQUEST"
        assert database_of(node).blocks == full
    assert node.pushes(delivery_pb2.Push.BLOCKS) == []


async def test_a_hundred_at_once_and_a_thousand_in_all_are_allowed() -> None:
    async with on_storage() as node:
        for start in range(0, BLOCKS_MAX, USERS_MAX):
            assert (await block(node, "bob", *(f"u{n}" for n in range(start, start + USERS_MAX)))).HasField("ok")
        assert len(database_of(node).blocks) == BLOCKS_MAX
