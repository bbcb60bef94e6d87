"""Presence, as clients ask for it."""

from __future__ import annotations

from typing import Any

from protos.tidings.internal.v1 import logic_pb2, storage_pb2
from tests.unit.logic.harness import logic
from tidings_protocol import client_pb2
from tidings_protocol.errors import Unavailable


async def test_presence_is_asked_once_for_all() -> None:
    async with logic() as node:
        record = storage_pb2.SessionRecord(user="amy", device="d", session="s", boot_id="boot-0")
        node.storage.sessions["amy", "d"] = record
        node.storage.last_seen["bob"] = 77
        asks: list[tuple[str, str, dict[str, Any]]] = [
            ("x", "", {"presence": client_pb2.PresenceRequest(users=["amy", "bob"])}),
            ("y", "", {"presence": client_pb2.PresenceRequest(users=["bob", "cleo", "bob"])}),
            ("z", "", {"presence": client_pb2.PresenceRequest(users=[f"u{number}" for number in range(101)])}),
            ("z", "", {"presence": client_pb2.PresenceRequest()}),
        ]
        first, second, third, fourth = await node.ask_all(*asks)
        assert [(each.user, each.online) for each in first.presence_list.users] == [("amy", True), ("bob", False)]
        assert [(each.user, each.last_seen_ms) for each in second.presence_list.users] == [("bob", 77), ("cleo", 0)]
        assert third.error.code == "BAD_REQUEST"
        assert fourth.HasField("presence_list")
        assert sorted(node.storage.calls) == [("Blocked", 3), ("Sessions", 3)]


async def test_who_blocks_the_asker_looks_offline_to_them_alone_and_was_not_seen_since() -> None:
    async with logic() as node:
        for user in ("amy", "bob"):
            record = storage_pb2.SessionRecord(user=user, device="d", session="s", boot_id="boot-0")
            node.storage.sessions[user, "d"] = record
        node.storage.last_seen["cleo"] = 77
        node.storage.blocks = {("amy", "x"): 50, ("cleo", "x"): 50, ("x", "bob"): 50}
        request = client_pb2.PresenceRequest(users=["amy", "bob", "cleo"])
        frame = client_pb2.ClientFrame(presence=request).SerializeToString()
        items = [logic_pb2.HandleItem(user=user, session=session, frame=frame) for user, session in ASKERS]
        blocked, other, access_node = await node.dispatcher.handle(items)
        assert shown(blocked) == [("amy", False, 50), ("bob", True, None), ("cleo", False, 50)]
        assert list(blocked.hiding) == ["amy", "cleo"]
        for outcome in (other, access_node):
            assert shown(outcome) == [("amy", True, None), ("bob", True, None), ("cleo", False, 77)]
            assert not outcome.hiding


async def test_presence_is_not_told_while_nobody_knows_who_blocks_whom() -> None:
    async with logic() as node:
        node.storage.fail["Blocked"] = [Unavailable("away", 100)]
        answer = await node.ask("x", presence=client_pb2.PresenceRequest(users=["amy"]))
        assert answer.error.code == "UNAVAILABLE"


ASKERS = (("x", "x-session"), ("y", "y-session"), ("x", ""))


def shown(outcome: logic_pb2.HandleOutcome) -> list[tuple[str, bool, int | None]]:
    """What is told of each; when somebody who is online was seen is now, whenever that is."""
    answer = client_pb2.ServerFrame.FromString(outcome.frame).presence_list
    return [(each.user, each.online, None if each.online else each.last_seen_ms) for each in answer.users]
