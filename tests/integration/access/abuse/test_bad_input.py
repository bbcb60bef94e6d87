"""Clients that are broken, hostile or hasty."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.support.cluster.access_nodes import AccessCluster, eventually
from tests.support.device.pipes import WAYS, Way
from tests.support.device.requests import empty_request
from tests.support.device.wire import Closed, Refused, connect
from tidings_protocol.client_pb2 import ClientFrame, Content, Hello, Ping, PresenceRequest, Send, Signal, Sync
from tidings_protocol.errors import Overloaded
from tidings_protocol.operations import REQUESTS

each_way = pytest.mark.parametrize("way", WAYS)
FRAME_MAX = 131_072


async def parting(cluster: AccessCluster, way: Way, **hello: Any) -> Closed:
    async with connect(cluster.nodes["access-0"].address, way) as wire:
        await wire.post(hello=Hello(**hello))
        return await wire.end()


def code_of(closed: Closed) -> int:
    assert closed.goodbye is not None
    assert closed.goodbye.message
    return closed.goodbye.code


# ---- before the welcome


@each_way
async def test_a_wrong_token_ends_with_4500_and_an_expired_one_with_4506(cluster: AccessCluster, way: Way) -> None:
    assert code_of(await parting(cluster, way, token="abc", device="d")) == 4500
    closed = await parting(cluster, way, token=cluster.token("ann", ttl_s=-60), device="d")
    assert code_of(closed) == 4506
    assert closed.code == (0 if way == "tcp" else 4506)
    assert closed.goodbye is not None
    assert not closed.goodbye.reconnect


@each_way
async def test_another_first_frame_ends_with_4500(cluster: AccessCluster, way: Way) -> None:
    async with connect(cluster.nodes["access-0"].address, way) as wire:
        await wire.post(ping=Ping())
        assert code_of(await wire.end()) == 4500


@each_way
async def test_a_bad_device_ends_with_4503(cluster: AccessCluster, way: Way) -> None:
    assert code_of(await parting(cluster, way, token=cluster.token("ann"), device="")) == 4503


@each_way
async def test_silence_instead_of_a_hello_ends_with_4004(empty: AccessCluster, way: Way) -> None:
    await empty.start("access-0", handshake_s=0.3)
    async with connect(empty.nodes["access-0"].address, way) as wire:
        assert code_of(await wire.end(3)) == 4004


async def test_half_a_tcp_frame_and_then_silence_ends_with_4004(empty: AccessCluster) -> None:
    await empty.start("access-0", handshake_s=0.3)
    async with connect(empty.nodes["access-0"].address, "tcp") as wire:
        await wire.pipe.send_raw(b"\x00\x00\x01\x00half a frame")
        assert code_of(await wire.end(3)) == 4004


async def test_half_a_tcp_frame_in_a_session_is_no_sign_of_life(empty: AccessCluster) -> None:
    await empty.start("access-0", heartbeat_s=1, probe_gap_s=0.2)
    async with empty.session("ann", "tcp") as ann:
        await ann.pipe.send_raw(b"\x00\x00\x01\x00half a frame")
        assert code_of(await ann.end(5)) == 4002
        assert [frame.WhichOneof("body") for frame in ann.received] == ["welcome", "pong", "pong", "pong", "goodbye"]


async def test_a_client_that_the_operator_refuses_ends_with_4507(empty: AccessCluster) -> None:
    await empty.start("access-0", refused_clients="bad/1.*")
    token = empty.token("ann")
    assert code_of(await parting(empty, "json", token=token, device="d", client="bad/1.2")) == 4507
    async with empty.session("ann", client="bad/2.0"):
        pass


@each_way
async def test_a_session_that_logic_refuses_ends_with_the_reason(cluster: AccessCluster, way: Way) -> None:
    cluster.logic.open_fault = Overloaded("100 devices are connected", 60_000)
    closed = await parting(cluster, way, token=cluster.token("ann"), device="d")
    assert code_of(closed) == 4003
    assert closed.goodbye is not None
    assert closed.goodbye.retry_after_ms == 60_000


# ---- frames that are none


@each_way
async def test_bytes_that_are_no_frame_end_with_4503(cluster: AccessCluster, way: Way) -> None:
    async with cluster.session("ann", way) as ann:
        if way == "json":
            await ann.pipe.send_raw("{")
        else:
            await ann.post_bytes(b"\xff\xff\xff\xff")
        assert code_of(await ann.end()) == 4503


async def test_an_unknown_field_is_named_and_the_session_goes_on(cluster: AccessCluster) -> None:
    async with cluster.session("ann") as ann:
        await ann.pipe.send_raw('{"id":"7","ping":{"idel":true}}')
        with pytest.raises(Refused, match="idel") as refused:
            await ann.reply(7)
        assert refused.value.code == "BAD_FRAME"
        assert (await ann.request(ping=Ping())).pong.time_ms


@each_way
async def test_a_frame_without_a_body_is_a_bad_frame(cluster: AccessCluster, way: Way) -> None:
    async with cluster.session("ann", way) as ann:
        if way == "json":
            await ann.pipe.send_raw('{"id":"9"}')
        else:
            await ann.post_bytes(ClientFrame(id=9).SerializeToString())
        with pytest.raises(Refused) as refused:
            await ann.reply(9)
        assert refused.value.code == "BAD_FRAME"


@pytest.mark.parametrize(("way", "wrong"), [("json", b"{}"), ("proto", "{}")])
async def test_a_message_of_the_other_type_ends_with_4503(cluster: AccessCluster, way: Way, wrong: bytes | str) -> None:
    async with cluster.session("ann", way) as ann:
        await ann.pipe.send_raw(wrong)
        assert code_of(await ann.end()) == 4503


async def test_text_that_is_not_utf8_closes_with_1007_and_without_a_goodbye(cluster: AccessCluster) -> None:
    async with cluster.session("ann") as ann:
        socket = ann.pipe._socket  # type: ignore[attr-defined]
        await socket.send(b'{"ping":{}, "x":"\xff\xfe"}', text=True)
        closed = await ann.end()
        assert (closed.goodbye, closed.code) == (None, 1007)


async def test_a_continuation_without_a_beginning_closes_with_1002(cluster: AccessCluster) -> None:
    async with cluster.session("ann") as ann:
        transport = ann.pipe._socket.transport  # type: ignore[attr-defined]
        transport.write(b"\x80\x81\x00\x00\x00\x00x")
        closed = await ann.end()
        assert (closed.goodbye, closed.code) == (None, 1002)


# ---- too large


@each_way
async def test_a_frame_over_the_limit_ends_with_4504(cluster: AccessCluster, way: Way) -> None:
    async with cluster.session("ann", way) as ann:
        if way == "tcp":
            await ann.pipe.send_raw((FRAME_MAX + 1).to_bytes(4, "big"))  # and not a byte of it
        else:
            content = Content(text="x" * FRAME_MAX)
            await ann.post(send=Send(client_id="1", user="bob", content=content))
        closed = await ann.end()
        assert code_of(closed) == 4504
        assert closed.code == (0 if way == "tcp" else 4504)


async def test_only_the_header_of_a_websocket_message_over_the_limit_is_needed_to_refuse_it(
    cluster: AccessCluster,
) -> None:
    async with cluster.session("ann", "proto") as ann:
        transport = ann.pipe._socket.transport  # type: ignore[attr-defined]
        transport.write(b"\x82\xff" + (FRAME_MAX + 1).to_bytes(8, "big") + b"\x00\x00\x00\x00")
        closed = await ann.end()
        assert (code_of(closed), closed.code) == (4504, 4504)


async def test_a_message_over_the_limit_in_fragments_ends_with_4504(cluster: AccessCluster) -> None:
    async with cluster.session("ann", "proto") as ann:
        transport = ann.pipe._socket.transport  # type: ignore[attr-defined]
        part = b"\xfe" + (FRAME_MAX // 4).to_bytes(2, "big") + b"\x00" * (4 + FRAME_MAX // 4)
        transport.write(b"\x02" + part + 4 * (b"\x00" + part))
        assert code_of(await ann.end()) == 4504


async def test_a_message_in_fragments_within_the_limit_is_one_frame(cluster: AccessCluster) -> None:
    async with cluster.session("ann") as ann:
        socket = ann.pipe._socket  # type: ignore[attr-defined]
        await socket.send(iter(['{"id":"3",', '"ping":', "{}}"]))
        assert (await ann.reply(3)).pong.time_ms


@each_way
async def test_content_over_the_limit_is_too_large_and_at_the_limit_is_not(cluster: AccessCluster, way: Way) -> None:
    async with cluster.session("ann", way) as ann:
        send = Send(client_id="1", user="bob", content=Content(text="x" * 32_769))
        with pytest.raises(Refused) as refused:
            await ann.request(send=send)
        assert refused.value.code == "TOO_LARGE"
        send.content.text = "x" * 32_768
        assert (await ann.request(send=send)).sent.seq == 1


# ---- requests that make no sense

ODD: dict[str, tuple[str, dict[str, Any]]] = {
    "empty text": ("BAD_REQUEST", {"send": Send(client_id="1", user="bob", content=Content(text=""))}),
    "no client id": ("BAD_REQUEST", {"send": Send(user="bob", content=Content(text="x"))}),
    "to nobody": ("BAD_REQUEST", {"send": Send(client_id="1", content=Content(text="x"))}),
    "to a bad name": ("BAD_REQUEST", {"send": Send(client_id="1", user="b b", content=Content(text="x"))}),
    "to the operator": ("BAD_REQUEST", {"send": Send(client_id="1", user="tidings", content=Content(text="x"))}),
    "to a chat in the other order": (
        "BAD_REQUEST",
        {"send": Send(client_id="1", conversation="d:bob|ann", content=Content(text="x"))},
    ),
    "too much signal": ("TOO_LARGE", {"signal": Signal(user="bob", name="n", data=b"x" * 1025)}),
    "presence of too many": ("BAD_REQUEST", {"presence": PresenceRequest(users=[f"u{n}" for n in range(101)])}),
    "a second hello": ("BAD_REQUEST", {"hello": Hello(token="x", device="d")}),
}


@pytest.mark.parametrize("what", ODD)
async def test_a_request_that_makes_no_sense_is_refused_and_the_session_goes_on(
    cluster: AccessCluster, what: str
) -> None:
    code, body = ODD[what]
    async with cluster.session("ann") as ann:
        with pytest.raises(Refused) as refused:
            await ann.request(**body)
        assert refused.value.code == code
        assert (await ann.request(ping=Ping())).pong.time_ms


@each_way
@pytest.mark.parametrize("name", REQUESTS)
async def test_a_request_in_which_nothing_is_said_is_answered_and_the_session_goes_on(
    cluster: AccessCluster, name: str, way: Way
) -> None:
    operation = REQUESTS[name]
    async with cluster.session("ann", way) as ann:
        said = getattr(empty_request(operation), operation.body)
        number = await ann.post(**{operation.body: said})
        assert (await ann.request(ping=Ping())).pong.time_ms
        if not operation.answered:
            assert [frame.WhichOneof("body") for frame in ann.received] == ["welcome", "pong"]
            return
        try:
            answer = str((await ann.reply(number)).WhichOneof("body"))
        except Refused as refused:
            answer = refused.code
        assert answer in {*operation.answers, "BAD_REQUEST", "FORBIDDEN", "NOT_FOUND", "UNAUTHENTICATED"}


async def test_watching_more_than_allowed_is_refused(empty: AccessCluster) -> None:
    await empty.start("access-0", watched_max=3)
    async with empty.session("ann") as ann:
        await ann.request(presence=PresenceRequest(users=["a", "b", "c"], watch=True))
        with pytest.raises(Refused) as refused:
            await ann.request(presence=PresenceRequest(users=["d"], watch=True))
        assert refused.value.code == "BAD_REQUEST"
        await ann.request(presence=PresenceRequest(users=["a"], watch=False))
        await ann.request(presence=PresenceRequest(users=["d"], watch=True))


async def test_who_goes_on_being_wrong_is_closed_and_banned(cluster: AccessCluster) -> None:
    async with cluster.session("eve") as eve:
        for _ in range(61):
            await eve.post(send=Send(client_id="1", content=Content(text="x")))
        closed = await eve.end()
        assert code_of(closed) == 4006
        assert closed.goodbye is not None
        assert closed.goodbye.retry_after_ms == 30_000
    again = await parting(cluster, "json", token=cluster.token("eve"), device="phone")
    assert code_of(again) == 4006
    assert again.goodbye is not None
    assert 0 < again.goodbye.retry_after_ms <= 30_000
    async with cluster.session("eve", device="another"):
        pass


# ---- too much


@each_way
async def test_ten_thousand_pipelined_sends_keep_their_order_and_bounded_memory(empty: AccessCluster, way: Way) -> None:
    node = await empty.start("access-0", sends_per_s=0, frames_per_s=0, bytes_per_s=0)
    async with empty.session("ann", way) as ann:
        empty.logic.gate.clear()
        async with asyncio.TaskGroup() as group:

            async def pour() -> list[int]:
                return [
                    await ann.post(send=Send(client_id=str(n), user="bob", content=Content(text=str(n) * 20)))
                    for n in range(10_000)
                ]

            pouring = group.create_task(pour())
            await eventually(lambda: node.state["held_frames"])
            await asyncio.sleep(0.2)
            assert node.state["lanes"]["send"]["depth"] <= 256
            assert node.state["held_frames"] < 4000
            empty.logic.gate.set()
        frames = pouring.result()
        seqs = [(await ann.reply(frame, timeout_s=30)).sent.seq for frame in frames]
        assert seqs == list(range(1, 10_001))
    assert max(empty.logic.batches) <= 256


async def test_sends_over_the_rate_are_refused_with_a_time(empty: AccessCluster) -> None:
    await empty.start("access-0", sends_per_s=10)
    async with empty.session("ann", "proto") as ann:
        frames = [
            await ann.post(send=Send(client_id=str(n), user="bob", content=Content(text="x"))) for n in range(100)
        ]
        sent, limited = 0, []
        for frame in frames:
            try:
                sent += (await ann.reply(frame)).sent.seq > 0
            except Refused as refused:
                limited.append(refused)
    assert 20 <= sent <= 30
    assert {refused.code for refused in limited} == {"RATE_LIMITED"}
    assert all(refused.retry_after_ms > 0 for refused in limited)


async def test_pages_wait_for_each_other_beyond_the_limit(empty: AccessCluster) -> None:
    node = await empty.start("access-0", pages_max=2)
    async with empty.session("ann", "tcp") as ann:
        empty.logic.gate.clear()
        frames = [await ann.post(sync=Sync()) for _ in range(10)]
        await eventually(lambda: node.state["held_frames"] >= 8)
        empty.logic.gate.set()
        for frame in frames:
            assert (await ann.reply(frame)).WhichOneof("body") == "page"


# ---- HTTP


async def test_unknown_subprotocols_are_refused_with_the_known_ones(cluster: AccessCluster) -> None:
    address = cluster.nodes["access-0"].address
    with pytest.raises(InvalidStatus) as refused:
        async with connect_websocket(address.ws, subprotocols=[Subprotocol("chat.v9")], proxy=None):
            pass
    assert refused.value.response.status_code == 400
    assert b"tidings.v1.json" in (refused.value.response.body or b"")


async def test_without_an_offer_json_is_spoken(cluster: AccessCluster) -> None:
    async with connect_websocket(cluster.nodes["access-0"].address.ws, proxy=None) as socket:
        await socket.send('{"id":1,"ping":{}}')
        answer = await socket.recv()
        assert isinstance(answer, str)
        assert "4500" in answer
        assert socket.subprotocol is None


async def test_a_browser_that_keeps_its_connection_alive_is_let_in(cluster: AccessCluster) -> None:
    headers = {"Connection": "keep-alive, Upgrade"}
    url = cluster.nodes["access-0"].address.ws.replace("ws://", "http://")
    upgrade = {
        **headers,
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    async with httpx2.AsyncClient(trust_env=False) as http, http.stream("GET", url, headers=upgrade) as answer:
        assert answer.status_code == 101


async def test_the_route_says_where_a_user_belongs_and_refuses_bad_names(cluster: AccessCluster) -> None:
    base = cluster.nodes["access-0"].address.ws.replace("ws://", "http://").removesuffix("/v1/ws")
    async with httpx2.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"{base}/v1/route", params={"user": "ann"})
        node = cluster.nodes["access-0"]
        assert answer.json() == {
            "user": "ann",
            "slot": answer.json()["slot"],
            "node": "access-0",
            "ws": node.address.ws,
            "tcp": node.address.tcp,
        }
        for params in ({}, {"user": ""}, {"user": "a b"}, {"user": "x" * 65}):
            assert (await http.get(f"{base}/v1/route", params=params)).status_code == 400
        assert (await http.get(f"{base}/nothing")).status_code == 404
        assert (await http.get(f"{base}/v1/ws")).status_code == 426


async def test_too_many_new_connections_are_told_to_come_later(empty: AccessCluster) -> None:
    await empty.start("access-0", handshakes_max=1)
    address = empty.nodes["access-0"].address
    async with connect(address, "json"):
        with pytest.raises(InvalidStatus) as refused:
            async with connect_websocket(address.ws, proxy=None):
                pass
        assert refused.value.response.status_code == 503
        assert int(refused.value.response.headers["Retry-After"]) >= 1
        async with connect(address, "tcp") as wire:
            closed = await wire.end()
            assert code_of(closed) == 4003
            assert closed.goodbye is not None
            assert closed.goodbye.retry_after_ms > 0


async def test_a_handshake_that_is_never_finished_is_ended(empty: AccessCluster) -> None:
    node = await empty.start("access-0", handshake_s=0.3)
    host, _, port = node.address.ws.removeprefix("ws://").removesuffix("/v1/ws").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websock")
    begun = time.monotonic()
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    assert time.monotonic() - begun < 3
    writer.close()
