"""/v1/route as a page of another site sees it, and heads that are too large."""

from __future__ import annotations

import httpx2
import pytest

from services.access.transport.http import OPEN, ROUTE_PATH, Asked, answer_to
from tests.support.cluster.access_nodes import AccessCluster, RunningNode
from tests.support.device.raw import raw
from tidings_protocol.errors import Unavailable


def url_of(node: RunningNode, path: str) -> str:
    return node.address.ws.replace("ws:", "http:").replace("/v1/ws", path)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "DELETE"])
@pytest.mark.parametrize("query", ["?user=ann", "?user=", "?user=a%00b", "", "?user=ann&user=bob", "?user=[", "?%ff"])
async def test_every_answer_may_be_read_by_a_page_of_any_site(cluster: AccessCluster, method: str, query: str) -> None:
    async with httpx2.AsyncClient() as client:
        answer = await client.request(method, url_of(cluster.nodes["access-0"], f"/v1/route{query}"))
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Expose-Headers"] == "Retry-After"
    good = query == "?user=ann"
    expected = {"GET": 200 if good else 400, "HEAD": 200 if good else 400, "OPTIONS": 204}.get(method, 405)
    assert answer.status_code == expected
    if method == "HEAD":
        assert not answer.content
        assert int(answer.headers["Content-Length"]) > 0
    if method == "OPTIONS":
        assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"
        assert "Content-Length" not in answer.headers


def test_a_page_learns_when_to_ask_again() -> None:
    def nobody(user: str) -> dict[str, str]:
        raise Unavailable(f"nobody serves {user}", 2500)

    answer = answer_to(Asked("GET", ROUTE_PATH, {"user": ["ann"]}), nobody)
    assert answer is not None
    assert answer.status == 503
    assert answer.headers == {**OPEN, "Retry-After": "3"}


async def test_who_comes_when_there_are_too_many_may_read_that(empty: AccessCluster) -> None:
    node = await empty.start("access-0", handshakes_max=1)
    async with raw(node.address), httpx2.AsyncClient() as client:
        answer = await client.get(url_of(node, "/v1/route?user=ann"))
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("whole", [True, False])
async def test_a_head_that_is_too_large_is_told_so(cluster: AccessCluster, whole: bool) -> None:
    async with raw(cluster.nodes["access-0"].address) as wire:
        wire.send(b"GET /v1/ws HTTP/1.1\r\nCookie: " + b"x" * 20_000 + (b"\r\n\r\n" if whole else b""))
        answer = await wire.rest()
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"16384 bytes" in answer


async def test_a_head_that_is_large_and_not_too_large_is_taken(cluster: AccessCluster) -> None:
    async with raw(cluster.nodes["access-0"].address) as wire:
        await wire.upgrade(b"Cookie: " + b"x" * 15_000 + b"\r\n")


@pytest.mark.parametrize(
    ("method", "path", "status"), [("HEAD", "/", 404), ("HEAD", "/v1/ws", 426), ("POST", "/v1/ws", 405)]
)
async def test_a_health_check_of_a_balancer_gets_an_answer(
    cluster: AccessCluster, method: str, path: str, status: int
) -> None:
    async with httpx2.AsyncClient() as client:
        assert (await client.request(method, url_of(cluster.nodes["access-0"], path))).status_code == status
