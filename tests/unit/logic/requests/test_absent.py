"""Requests for what there is not."""

from __future__ import annotations

from services.logic.requests import absent
from tests.unit.logic.harness import logic
from tidings_protocol import client_pb2


async def test_who_asks_for_what_there_is_not_is_told_so_and_what_to_do_instead() -> None:
    asks = {
        "upload": client_pb2.UploadRequest(mime="image/png", bytes=3),
        "download": client_pb2.DownloadRequest(id="m"),
        "push_target": client_pb2.PushTarget(provider=client_pb2.PushTarget.FCM, token="t"),
        "search": client_pb2.Search(query="tea"),
    }
    assert absent.handlers().keys() == asks.keys()
    async with logic() as node:
        for name, body in asks.items():
            [reply] = await node.ask_all(("amy", "", {name: body}))
            assert reply.error.code == "BAD_REQUEST"
            wrong, _, to_do = reply.error.message.partition(": ")
            assert wrong.startswith("there ")
            assert to_do
