"""The ops address, asked over a real socket on loopback."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.settings.addresses import split_address
from services.common.telemetry import metrics, profile
from services.common.telemetry.health import Health
from services.common.telemetry.ops import CALLERS_MAX, OpsServer
from services.common.telemetry.runtime import watch_event_loop


@asynccontextmanager
async def serving(
    health: Health | None = None, debug: dict[str, object] | None = None, listen: str = "127.0.0.1:0"
) -> AsyncIterator[OpsServer]:
    async with OpsServer(listen, health or Health(), lambda: debug or {}) as server:
        yield server


@asynccontextmanager
async def connected(server: OpsServer) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*split_address(server.address))
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def raw(server: OpsServer, request: bytes) -> bytes:
    async with connected(server) as (reader, writer):
        writer.write(request)
        return await reader.read()


async def get(server: OpsServer, path: str, **headers: str) -> tuple[int, str, str]:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    answer = await raw(server, f"GET {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode(), body.decode()


async def test_a_process_that_answers_is_alive() -> None:
    async with serving() as server:
        assert (await get(server, "/healthz"))[0] == 200


async def test_it_is_served_on_version_6_as_well() -> None:
    async with serving(listen="[::1]:0") as server:
        assert server.address.startswith("[::1]:")
        assert (await get(server, "/healthz"))[0] == 200


async def test_a_node_is_ready_when_it_has_started_and_no_check_fails() -> None:
    health = Health()
    async with serving(health) as server:
        status, _, body = await get(server, "/readyz")
        assert (status, json.loads(body)["reasons"]) == (503, {"start": "the node is starting"})
        health.started()
        assert (await get(server, "/readyz"))[0] == 200
        health.set("mongodb", ok=False, reason="no primary")
        status, _, body = await get(server, "/readyz")
        assert (status, json.loads(body)["reasons"]) == (503, {"mongodb": "no primary"})


async def test_a_degraded_node_is_still_ready_and_says_what_is_away() -> None:
    health = Health()
    health.started()
    health.set("kafka", ok=False, reason="no broker answers", degraded=True)
    async with serving(health) as server:
        status, _, body = await get(server, "/readyz")
        assert (status, json.loads(body)["degraded"]) == (200, {"kafka": "no broker answers"})
        health.set("kafka", ok=True)
        assert json.loads((await get(server, "/readyz"))[2])["degraded"] == {}


async def test_metrics_come_as_text_and_as_openmetrics_with_exemplars_for_those_who_ask() -> None:
    metrics.ACK_SECONDS.observe(0.004, exemplar={"trace_id": "abc"})
    async with serving() as server:
        status, head, body = await get(server, "/metrics")
        assert status == 200
        assert "text/plain" in head
        assert "tidings_ack_seconds_bucket" in body
        assert "# EOF" not in body
        _, head, body = await get(server, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert "application/openmetrics-text" in head
        assert '# {trace_id="abc"}' in body
        assert body.endswith("# EOF\n")


async def test_the_state_is_what_the_node_says_with_its_tasks() -> None:
    async with serving(debug={"sessions": 3}) as server:
        _, _, body = await get(server, "/debug/state")
        state = json.loads(body)
        assert state["sessions"] == 3
        assert state["asyncio_tasks"]["Task"] >= 1


async def test_the_state_counts_what_the_process_holds_of_the_system() -> None:
    async with serving() as server:
        before = json.loads((await get(server, "/debug/state"))[2])["process"]
        with socket.socket():
            opened = json.loads((await get(server, "/debug/state"))[2])["process"]
    assert opened["descriptors"] == before["descriptors"] + 1
    assert before["threads"] >= 1


async def test_a_state_that_cannot_be_told_is_an_error_of_that_request_only() -> None:
    def broken() -> dict[str, object]:
        raise LookupError("gone")

    async with OpsServer("127.0.0.1:0", Health(), broken) as server:
        status, _, body = await get(server, "/debug/state")
        assert (status, body) == (500, "LookupError: gone\n")
        assert (await get(server, "/healthz"))[0] == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
        (b"GET /nothing HTTP/1.1\r\n\r\n", 404),
        (b"hello\r\n\r\n", 400),
        (b"GET /debug/profile?seconds=x HTTP/1.1\r\n\r\n", 400),
        (b"GET /debug/profile?seconds=0 HTTP/1.1\r\n\r\n", 400),
        (b"GET /debug/profile?seconds=99999 HTTP/1.1\r\n\r\n", 400),
        (b"GET /debug/profile?seconds=1&format=pdf HTTP/1.1\r\n\r\n", 400),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 431),
    ],
)
async def test_what_is_wrong_is_answered_with_its_status(request_bytes: bytes, status: int) -> None:
    async with serving() as server:
        answer = await raw(server, request_bytes)
        assert int(answer.split()[1]) == status


async def test_more_callers_than_places_are_turned_away_at_once() -> None:
    async with serving() as server:
        async with AsyncExitStack() as silent:
            for _ in range(CALLERS_MAX):
                await silent.enter_async_context(connected(server))
            async with connected(server) as (reader, _):
                with suppress(ConnectionError):
                    assert await reader.read() == b""
        assert (await get(server, "/healthz"))[0] == 200


async def test_leaving_ends_callers_that_say_nothing() -> None:
    async with AsyncExitStack() as callers:
        async with serving() as server:
            reader, _ = await callers.enter_async_context(connected(server))
            await get(server, "/healthz")
        assert await reader.read() == b""


async def test_a_profile_shows_what_the_loop_spends_its_time_in() -> None:
    async def busy_business() -> None:
        while True:
            sum(range(20_000))
            await asyncio.sleep(0)

    async with serving() as server, asyncio.TaskGroup() as group:
        work = group.create_task(busy_business())
        text, svg = await asyncio.gather(
            get(server, "/debug/profile?seconds=0.3"), get(server, "/debug/profile?seconds=0.3&format=svg")
        )
        shown = text if text[0] == 200 else svg
        refused = svg if text[0] == 200 else text
        assert shown[0] == 200
        assert "busy_business" in shown[2]
        assert refused[0] == 409  # one at a time
        work.cancel()


def test_a_profile_is_ranked_by_own_time_and_by_all_below() -> None:
    stacks = {("main", "read"): 3.0, ("main", "read", "decode"): 1.0}
    text = profile.text(stacks, 10)
    own, below = text.split("with all that it calls")
    assert own.index("75.0 %  read") < own.index("25.0 %  decode")
    assert "100.0 %  main" in below
    assert profile.folded(stacks, 10) == "main;read 3000000\nmain;read;decode 1000000\n"


@given(
    st.dictionaries(
        st.lists(st.sampled_from("abc<&"), min_size=1, max_size=5).map(tuple), st.floats(0.001, 10), max_size=20
    )
)
def test_a_flame_graph_is_well_formed_and_no_box_leaves_the_picture(stacks: dict[tuple[str, ...], float]) -> None:
    from xml.etree import ElementTree as ET

    picture = ET.fromstring(profile.svg(stacks, 1))
    for box in picture.iter("{http://www.w3.org/2000/svg}rect"):
        assert float(box.attrib["x"]) + float(box.attrib["width"]) <= profile.WIDTH + 1


async def test_the_lag_of_the_event_loop_is_measured() -> None:
    before = _observations()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watch_event_loop(0.0))
        for _ in range(10):
            await asyncio.sleep(0)
        task.cancel()
    assert _observations() > before


def _observations() -> float:
    return next(
        sample.value
        for sample in next(iter(metrics.EVENT_LOOP_LAG.collect())).samples
        if sample.name.endswith("_count")
    )


async def test_an_address_that_is_none_is_an_answer_and_the_server_goes_on() -> None:
    async with serving() as server:
        for target in (b"//[", b"http://[::1", b"//]", b"/%zz?" + b"a&" * 2000):
            answer = await raw(server, b"GET " + target + b" HTTP/1.1\r\n\r\n")
            assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 ")), answer
        assert (await get(server, "/healthz"))[0] == 200


async def test_a_defect_while_a_caller_is_answered_ends_that_caller_only() -> None:
    class Broken(asyncio.StreamReader):
        async def readuntil(self, separator: Any = b"\n") -> bytes:
            raise LookupError("a defect")

    async with serving() as server, connected(server) as (_, writer):
        server._accept(Broken(), writer)
        assert (await get(server, "/healthz"))[0] == 200
