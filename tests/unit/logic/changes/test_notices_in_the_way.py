"""A member's messages cannot take the places of the notices of what the member does."""

from __future__ import annotations

import pytest

from tests.unit.logic.harness import message
from tests.unit.logic.on_storage import acts_of, on_storage
from tidings_protocol import client_pb2

R = client_pb2.GroupRequest


@pytest.mark.parametrize("client_id", ["olga-session.7", "op"])
async def test_a_message_with_the_id_of_an_op_does_not_hide_the_change(client_id: str) -> None:
    async with on_storage() as node:
        made = await node.ask("olga", "first", group=R(create=R.Create(members=["mia"])))
        group = made.group_info.conversation
        await node.send(message("olga", group, "first!", client_id=client_id))
        acts_of(node)
        node.pushes()
        remove = R(remove=R.Remove(conversation=group, users=["mia"]))
        assert (await node.ask("olga", client_id, group=remove)).HasField("ok")
        assert acts_of(node) == [("remove", "olga", ("mia",))]
        [notice] = {push.body for push in node.pushes()}
        assert client_pb2.Message.FromString(notice).kind == client_pb2.Message.SYSTEM
