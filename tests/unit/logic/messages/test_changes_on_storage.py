"""Changes of messages from logic to a real storage node and back."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1 import logic_pb2
from tests.unit.logic.harness import Logic, message
from tests.unit.logic.messages.test_changes import change, recall, told
from tests.unit.logic.on_storage import on_storage
from tests.unit.storage.nodes import World
from tidings_protocol import client_pb2

State = client_pb2.State
CHAT = "d:amy|bob"


def state(outcome: logic_pb2.SendOutcome) -> client_pb2.State:
    assert not outcome.HasField("fault"), outcome.fault.message
    return State.FromString(outcome.state)


async def group(node: Logic, *users: str) -> str:
    create = client_pb2.GroupRequest(create=client_pb2.GroupRequest.Create(name="x", members=users[1:]))
    reply = await node.ask(users[0], op="op", group=create)
    node.parcels()
    return reply.group_info.conversation


async def test_a_message_is_sent_edited_pinned_and_recalled_and_all_see_each_step() -> None:
    async with on_storage() as node:
        outcomes = await node.send_rows(
            message("amy", CHAT, "hi", session="amys"),
            change("amy", CHAT, content="ho", session="amys"),
            change("bob", CHAT, pin=True, session="bobs"),
            recall("amy", CHAT, session="amys"),
        )
        assert [outcome.seq for outcome in outcomes] == [1, 2, 3, 4]
        _, edited, pinned, recalled = outcomes
        assert state(edited).edited_ms > 0
        assert (state(pinned).pinned, state(pinned).edited_ms) == (True, state(edited).edited_ms)
        assert state(recalled) == State(revision=4, edited_ms=state(recalled).edited_ms, recalled_by="amy")
        seen = await told(node)
        for user, session in (("amy", "amys"), ("bob", "amys")):
            mine = [(number, entry.seq) for name, number, entry, _ in seen if name == user]
            assert mine == [(1, 1), (2, 2), (3, 3), (4, 4)]
            excepted = [each for name, _, entry, each in seen if name == user and entry.seq != 3]
            assert excepted == [session] * 3
        assert [entry.state.revision for name, _, entry, _ in seen if name == "bob"] == [0, 2, 3, 4]


async def test_a_change_after_a_recall_is_refused_and_is_not_held_against_anybody() -> None:
    async with on_storage() as node:
        await node.send_rows(message("amy", CHAT, "hi"), recall("amy", CHAT))
        late, again, missing, others = await node.send_rows(
            change("amy", CHAT, content="ho"),
            recall("amy", CHAT, client_id="again"),
            recall("amy", CHAT, 9),
            change("bob", CHAT, content="ho", client_id="b"),
        )
        assert (late.fault.code, late.fault.excused) == ("FORBIDDEN", True)
        assert state(again).recalled_by == "amy"
        assert (missing.fault.code, missing.fault.excused) == ("NOT_FOUND", False)
        assert others.fault.code == "FORBIDDEN"
        [next_one] = await node.send_rows(message("amy", CHAT, "next"))
        assert next_one.seq == 3, "what was refused, or had no effect, took no place"


async def test_a_client_id_is_of_a_message_or_of_a_change() -> None:
    async with on_storage() as node:
        outcomes = await node.send_rows(
            message("amy", CHAT, "hi", client_id="m"),
            change("amy", CHAT, content="ho", client_id="c"),
            change("amy", CHAT, content="hu", client_id="m"),
            message("amy", CHAT, "hi", client_id="c"),
            change("amy", CHAT, content="hu", client_id="c"),
        )
        assert [outcome.fault.code for outcome in outcomes] == ["", "", "BAD_REQUEST", "BAD_REQUEST", ""]
        assert (outcomes[4].seq, outcomes[4].duplicate) == (2, True)


async def test_a_window_that_is_over_is_over() -> None:
    world = World()
    async with on_storage(world) as node:
        await node.send_rows(message("amy", CHAT, "hi"))
        world.clock.advance(61)
        edited, recalled = await node.send_rows(change("amy", CHAT, content="ho"), recall("amy", CHAT))
        assert edited.fault.code == "FORBIDDEN"
        assert state(recalled).recalled_by == "amy"


@pytest.mark.parametrize(("user", "allowed"), [("amy", True), ("bob", True), ("cid", False), ("eve", False)])
async def test_owner_and_admins_recall_what_members_sent(user: str, allowed: bool) -> None:
    async with on_storage() as node:
        name = await group(node, "amy", "bob", "cid", "dan")
        role = client_pb2.GroupRequest.SetRole(conversation=name, user="bob", role=client_pb2.Member.ADMIN)
        await node.ask("amy", op="role", group=client_pb2.GroupRequest(set_role=role))
        [sent] = await node.send_rows(message("dan", name, "hi"))
        [outcome] = await node.send_rows(recall(user, name, sent.seq))
        assert (outcome.fault.code == "") == allowed
        assert allowed or outcome.fault.code == "FORBIDDEN"


async def test_the_operator_recalls_whatever_there_is() -> None:
    async with on_storage() as node:
        name = await group(node, "amy", "bob")
        [sent] = await node.send_rows(message("amy", name, "hi"))
        [outcome] = await node.send_rows(recall("tidings", name, sent.seq))
        assert state(outcome).recalled_by == "tidings"
