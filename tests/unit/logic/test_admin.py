"""The operator's calls."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1 import admin_pb2, storage_pb2
from tests.unit.logic.harness import TOKEN, Logic, logic
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, NotFound, Unauthenticated

Request = client_pb2.GroupRequest


def connect(node: Logic, user: str, device: str, number: int) -> None:
    node.storage.sessions[user, device] = storage_pb2.SessionRecord(
        user=user, device=device, session=f"{device}-{number}", node=f"access-{number}", boot_id=f"boot-{number}"
    )


async def act(node: Logic, user: str = "", op: str = "op", **fields: object) -> client_pb2.ServerFrame:
    request = admin_pb2.AdminGroup(user=user, request=Request(**fields).SerializeToString(), op=op)  # type: ignore[arg-type]
    return client_pb2.ServerFrame.FromString((await node.admin.group(request)).frame)


async def test_only_the_operators_token_opens_the_door() -> None:
    async with logic() as node:
        node.admin.check_token([("x", "y"), ("authorization", f"Bearer {TOKEN}")])
        node.admin.check_token([("authorization", f"Bearer {TOKEN}".encode())])
        for metadata in ([], [("authorization", TOKEN)], [("authorization", f"Bearer {TOKEN}x")]):
            with pytest.raises(Unauthenticated):
                node.admin.check_token(metadata)


async def test_without_a_token_in_the_settings_the_door_stays_shut() -> None:
    async with logic(token="") as node:
        with pytest.raises(Unauthenticated, match="operator_token_file"):
            node.admin.check_token([("authorization", "Bearer ")])


async def test_sessions_are_those_on_live_nodes() -> None:
    async with logic() as node:
        connect(node, "amy", "phone", 0)
        connect(node, "amy", "tablet", 9)
        connect(node, "bob", "phone", 1)
        assert [session.device for session in (await node.admin.sessions("amy")).sessions] == ["phone"]


async def test_a_kick_ends_all_sessions_or_those_of_one_device() -> None:
    async with logic() as node:
        connect(node, "amy", "phone", 0)
        connect(node, "amy", "laptop", 1)
        answer = await node.admin.kick(admin_pb2.KickRequest(user="amy", device="laptop", reason="lost"))
        assert answer.kicked == 1
        assert node.peers.evicted == [("access-1", "laptop-1", 4502, "lost")]
        assert (await node.admin.kick(admin_pb2.KickRequest(user="amy"))).kicked == 2
        assert (await node.admin.kick(admin_pb2.KickRequest(user="nobody"))).kicked == 0


async def test_a_notice_is_sent_once_however_often_it_is_asked_for() -> None:
    async with logic() as node:
        content = client_pb2.Content(text="hello").SerializeToString()
        first = await node.admin.broadcast(admin_pb2.BroadcastRequest(content=content, client_id="n"))
        again = await node.admin.broadcast(admin_pb2.BroadcastRequest(content=content, client_id="n"))
        assert (first.seq, first.duplicate, again.seq, again.duplicate) == (1, False, 1, True)
        assert first.message_id == again.message_id != ""
        assert (await node.admin.broadcast(admin_pb2.BroadcastRequest(content=content))).seq == 2


async def test_a_notice_is_stored_without_what_no_version_knows() -> None:
    async with logic() as node:
        content = client_pb2.Content(text="hi").SerializeToString()
        await node.admin.broadcast(admin_pb2.BroadcastRequest(content=content + b"\x7b" * 90 + b"\x7c" * 90))
        assert [item.content for item in node.storage.conversations["b:all"].messages] == [content]


async def test_a_notice_without_content_is_refused() -> None:
    async with logic() as node:
        for content in (b"", b"\xff\xff"):
            with pytest.raises(BadRequest):
                await node.admin.broadcast(admin_pb2.BroadcastRequest(content=content))


async def test_a_node_is_asked_to_drain_by_its_name() -> None:
    async with logic() as node:
        await node.admin.drain(admin_pb2.AdminDrain(node="access-1", pace_per_s=5))
        assert node.peers.drained == [("access-1", 5)]
        with pytest.raises(NotFound, match="access-0, access-1"):
            await node.admin.drain(admin_pb2.AdminDrain(node="access-7"))


async def test_a_user_is_shown_as_storage_knows_them() -> None:
    async with logic() as node:
        assert not (await node.admin.user("amy")).exists
        with pytest.raises(BadRequest):
            await node.admin.user("no spaces")


async def test_the_operator_creates_a_group_as_a_user() -> None:
    async with logic() as node:
        info = (await act(node, "olga", create=Request.Create(name="Tea", members=["mia"]))).group_info
        assert (info.name, info.member_count) == ("Tea", 2)
        again = (await act(node, "olga", create=Request.Create(name="Tea", members=["mia"]))).group_info
        assert again.conversation == info.conversation
        with pytest.raises(BadRequest):
            await act(node, create=Request.Create(name="Tea"))


@pytest.mark.parametrize("large_from", [0, 1])
async def test_the_operator_changes_a_group_as_its_owner(large_from: int) -> None:
    async with logic() as node:
        node.storage.group("g:x", "olga", "mia", large_from=large_from)
        reply = await act(node, set_role=Request.SetRole(conversation="g:x", user="mia", role=client_pb2.Member.OWNER))
        assert reply.HasField("ok")
        roles = {user: member.role for user, member in node.storage.conversations["g:x"].members.items()}
        assert roles == {"olga": 2, "mia": 3}
        assert (await act(node, info=Request.Info(conversation="g:x"))).group_info.member_count == 2


async def test_a_group_without_an_owner_cannot_be_changed() -> None:
    async with logic() as node:
        for conversation in ("g:none", "d:amy|bob"):
            with pytest.raises(NotFound):
                await act(node, rename=Request.Rename(conversation=conversation, name="x"))
