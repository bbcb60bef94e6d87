"""Presence, as clients ask for it."""

from __future__ import annotations

from typing import Any

from protos.tidings.internal.v1 import storage_pb2
from tests.unit.logic.harness import logic
from tidings_protocol import client_pb2


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
        assert node.storage.calls == [("Sessions", 3)]
