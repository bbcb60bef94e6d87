"""A watch of etcd goes on from the last change that it has shown, whatever the headers say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from etcd3 import etcdrpc

from services.common.registry.etcd_client import OPTIONS, EtcdClient
from services.common.registry.etcd_values import Compacted
from tidings_protocol.errors import Unavailable

PREFIX = "/tidings/test/nodes/"
STORE = 3000


def response(*revisions: int, header: int = STORE, **fields: Any) -> Any:
    events = [
        {"kv": {"key": f"{PREFIX}access/n{revision}".encode(), "value": b"{}", "mod_revision": revision}}
        for revision in revisions
    ]
    return etcdrpc.WatchResponse(header={"revision": header}, events=events, **fields)


class Stream:
    """A watch stream that says this, and breaks."""

    def __init__(self, said: Sequence[Any]) -> None:
        self.said = list(said)
        self.began: list[int] = []

    async def write(self, request: Any) -> None:
        self.began.append(request.create_request.start_revision)

    async def read(self) -> Any:
        return self.said.pop(0) if self.said else grpc.aio.EOF  # type: ignore[attr-defined]

    def cancel(self) -> None: ...


class Endpoint:
    """Where the stream is to be had."""

    address = "here"

    def __init__(self, stream: Stream) -> None:
        self.watch = self
        self._stream = stream

    def Watch(self, metadata: Any) -> Stream:  # noqa: N802  # as the stub names it
        return self._stream


async def places(*said: Any, since: int = 11) -> list[tuple[int, int]]:
    """After each response: how many changes it had, and where to go on after it."""
    client = EtcdClient(["nowhere:1"])
    client._endpoints = [Endpoint(Stream(said))]  # type: ignore[list-item]  # enough of one
    found = []
    try:
        async for events, revision in client.watch(PREFIX, since):
            found.append((len(events), revision))
    except Unavailable:
        return found
    raise AssertionError("a stream that breaks ends the watch")


async def test_the_response_that_tells_that_the_watch_was_made_moves_nothing() -> None:
    assert await places(response(created=True)) == [(0, 10)]


async def test_history_that_comes_in_parts_moves_only_as_far_as_it_came() -> None:
    said = [response(created=True), response(12, 1000), response(1001, 2000, 2000)]
    assert await places(*said) == [(0, 10), (2, 1000), (3, 2000)]


async def test_a_response_without_changes_moves_nothing() -> None:
    assert await places(response(created=True), response(20), response(header=5000)) == [(0, 10), (1, 20), (0, 20)]


async def test_a_store_that_is_behind_what_was_seen_has_lost_its_data() -> None:
    client = EtcdClient(["nowhere:1"])
    client._endpoints = [Endpoint(Stream([response(created=True, header=9)]))]  # type: ignore[list-item]
    with pytest.raises(Compacted):
        await anext(client.watch(PREFIX, 11))


def test_a_list_of_ten_thousand_nodes_fits_into_one_message() -> None:
    assert dict(OPTIONS)["grpc.max_receive_message_length"] >= 16 * 1024 * 1024
