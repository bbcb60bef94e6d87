"""Clients that are broken, hostile or hasty: each is refused well, and nobody else notices."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from typing import Any

import httpx2
import jwt
import pytest
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.e2e.cluster import Cluster, route_url
from tests.support.device.pipes import WAYS, Way
from tests.support.device.wire import Closed, Refused, connect
from tidings_protocol.client_pb2 import (
    ClientFrame,
    Content,
    GroupRequest,
    Hello,
    History,
    Member,
    Ping,
    PresenceRequest,
    Read,
    Send,
    Signal,
)

pytestmark = pytest.mark.e2e
Name = Callable[[str], str]
each_way = pytest.mark.parametrize("way", WAYS)
CONTENT_MAX = 32_768
FRAME_MAX = 131_072


def text(words: str) -> Content:
    return Content(text=words)


async def refusal(cluster: Cluster, user: str, way: Way = "json", **body: Any) -> Refused:
    """What a request is refused with; the session goes on after it."""
    async with cluster.session(user, way) as (wire, _):
        with pytest.raises(Refused) as refused:
            await wire.request(**body)
        assert (await wire.request(ping=Ping())).pong.time_ms
    assert refused.value.message
    assert "Traceback" not in refused.value.message
    return refused.value


async def parting(cluster: Cluster, way: Way, **hello: Any) -> Closed:
    """How the server ends a connection whose hello it does not like."""
    async with connect(next(iter(cluster.access().values())), way) as wire:
        await wire.post(hello=Hello(**hello))
        return await wire.end()


# ---- tokens


def wrong_tokens(cluster: Cluster, user: str) -> dict[str, tuple[str, int]]:
    good = cluster.token(user)
    head, _, signature = good.split(".")
    forged = base64.urlsafe_b64encode(b'{"sub":"root","aud":"local","exp":9000000000}').decode().rstrip("=")
    now = int(time.time())
    return {
        "empty": ("", 4500),
        "no token at all": ("abc", 4500),
        "cut off": (good[:-5], 4500),
        "another's payload": (f"{head}.{forged}.{signature}", 4500),
        "another secret": (jwt.encode({"sub": user, "aud": "local", "exp": now + 60}, "x" * 32, "HS256"), 4500),
        "no signature": (jwt.encode({"sub": user, "aud": "local", "exp": now + 60}, "", "none"), 4500),
        "another audience": (cluster.token(user, aud="elsewhere"), 4500),
        "no audience": (cluster.token(user, aud=None), 4500),
        "no user": (cluster.token(user, sub=None), 4500),
        "no expiry": (cluster.token(user, exp=None), 4500),
        "an expiry that is no number": (cluster.token(user, exp="soon"), 4500),
        "not valid yet": (cluster.token(user, nbf=now + 120), 4500),
        "issued in the future": (cluster.token(user, iat=now + 120), 4500),
        "expired": (cluster.token(user, exp=now - 60), 4506),
        "a user name with a space": (cluster.token("an n"), 4500),
        "a user name that is too long": (cluster.token("a" * 65), 4500),
        "the operator's name": (cluster.token("tidings"), 4500),
    }


@each_way
async def test_a_wrong_token_is_refused_each_way_it_can_be_wrong(cluster: Cluster, name: Name, way: Way) -> None:
    for what, (token, code) in wrong_tokens(cluster, name("ann")).items():
        closed = await parting(cluster, way, token=token, device="d")
        assert closed.goodbye is not None, what
        assert (closed.goodbye.code, closed.goodbye.reconnect) == (code, False), (what, closed.goodbye)
        assert closed.goodbye.message, what
        assert closed.code == (0 if way == "tcp" else code), what
        if token:
            assert token not in closed.goodbye.message, what


async def test_a_token_that_is_a_little_late_or_early_is_within_the_leeway(cluster: Cluster, name: Name) -> None:
    now = int(time.time())
    home = await cluster.home(name("ann"))
    for claims in ({"exp": now - 3}, {"nbf": now + 3}, {"iat": now + 3}, {"aud": ["other", "local"]}):
        async with connect(cluster.access()[home], "json") as wire:
            assert (await wire.hello(cluster.token(name("ann"), **claims))).user == name("ann")


async def test_a_session_ends_when_its_token_runs_out(cluster: Cluster, name: Name) -> None:
    home = await cluster.home(name("ann"))
    async with connect(cluster.access()[home], "tcp") as wire:
        await wire.hello(cluster.token(name("ann"), exp=int(time.time()) - 8))
        closed = await wire.end(timeout_s=8)
        assert closed.goodbye is not None
        assert closed.goodbye.code == 4506


# ---- the first frame


@each_way
async def test_a_first_frame_that_is_no_hello_is_told_so(cluster: Cluster, way: Way) -> None:
    async with connect(next(iter(cluster.access().values())), way) as wire:
        await wire.post(ping=Ping())
        closed = await wire.end()
        assert closed.goodbye is not None
        assert (closed.goodbye.code, closed.goodbye.reconnect) == (4500, False)


@each_way
@pytest.mark.parametrize("device", ["", "d" * 65])
async def test_a_device_name_that_breaks_the_rule_is_refused(
    cluster: Cluster, name: Name, way: Way, device: str
) -> None:
    closed = await parting(cluster, way, token=cluster.token(name("ann")), device=device)
    assert closed.goodbye is not None
    assert closed.goodbye.code == 4503


@each_way
async def test_a_second_hello_is_a_bad_request(cluster: Cluster, name: Name, way: Way) -> None:
    hello = Hello(token=cluster.token(name("ann")), device="d")
    assert (await refusal(cluster, name("ann"), way, hello=hello)).code == "BAD_REQUEST"


async def test_a_websocket_that_never_says_hello_is_ended_after_five_seconds(cluster: Cluster) -> None:
    async with connect(next(iter(cluster.access().values())), "json") as wire:
        begun = time.monotonic()
        closed = await wire.end(timeout_s=9)
        assert closed.goodbye is not None
        assert closed.goodbye.code == closed.code == 4004
        assert closed.goodbye.reconnect
        assert 4 < time.monotonic() - begun < 8


async def test_half_a_tcp_frame_and_then_silence_is_ended_after_five_seconds(cluster: Cluster, name: Name) -> None:
    async with connect(next(iter(cluster.access().values())), "tcp") as wire:
        frame = ClientFrame(id=1, hello=Hello(token=cluster.token(name("ann")), device="d")).SerializeToString()
        await wire.pipe.send_raw(len(frame).to_bytes(4, "big") + frame[: len(frame) // 2])
        closed = await wire.end(timeout_s=9)
        assert closed.goodbye is not None
        assert closed.goodbye.code == 4004


async def test_a_websocket_request_that_is_never_finished_is_ended(cluster: Cluster) -> None:
    host, _, port = (
        next(iter(cluster.access().values())).ws.removeprefix("ws://").removesuffix("/v1/ws").rpartition(":")
    )
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websock")
    async with asyncio.timeout(12):
        await reader.read()
    writer.close()


# ---- frames that are none

BROKEN_JSON = {
    "no JSON": "{",
    "another type": "[1]",
    "an unknown field": '{"id":"7","ping":{"idel":true}}',
    "an unknown body": '{"id":"7","pong":{}}',
    "two bodies": '{"id":"7","ping":{},"bye":{}}',
    "a field twice": '{"id":"7","ping":{},"ping":{}}',
    "a field in both spellings": '{"id":"7","send":{"clientId":"1","client_id":"1","user":"b","content":{"text":"x"}}}',
    "a wrong type": '{"id":"7","ping":{"idle":"yes"}}',
    "a number that is too large": '{"id":"7","ack":{"number":"18446744073709551616"}}',
    "a number that is negative": '{"id":"7","ack":{"number":-1}}',
    "base64 that is none": '{"id":"7","send":{"clientId":"1","user":"bob","content":{"data":"%%%"}}}',
    "two receivers": '{"id":"7","send":{"clientId":"1","user":"bob","conversation":"b:all","content":{"text":"x"}}}',
    "no body": '{"id":"7"}',
}
UNPARSABLE = {"no JSON", "another type"}


@pytest.mark.parametrize("what", BROKEN_JSON)
async def test_a_broken_json_frame_is_refused_by_its_id_or_ends_the_connection(
    cluster: Cluster, name: Name, what: str
) -> None:
    async with cluster.session(name("ann")) as (wire, _):
        await wire.pipe.send_raw(BROKEN_JSON[what])
        if what in UNPARSABLE:
            closed = await wire.end()
            assert closed.goodbye is not None
            assert closed.goodbye.code == closed.code == 4503
            return
        with pytest.raises(Refused) as refused:
            await wire.reply(7)
        assert refused.value.code == "BAD_FRAME"
        assert refused.value.message
        assert (await wire.request(ping=Ping())).pong.time_ms


@pytest.mark.parametrize("way", ["proto", "tcp"])
async def test_bytes_that_are_no_protobuf_end_the_connection(cluster: Cluster, name: Name, way: Way) -> None:
    async with cluster.session(name("ann"), way) as (wire, _):
        await wire.post_bytes(b"\xff\xff\xff\xff\xff")
        closed = await wire.end()
        assert closed.goodbye is not None
        assert closed.goodbye.code == 4503


@pytest.mark.parametrize("way", ["proto", "tcp"])
async def test_a_protobuf_frame_without_a_body_is_a_bad_frame_and_unknown_fields_are_ignored(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with cluster.session(name("ann"), way) as (wire, _):
        await wire.post_bytes(ClientFrame(id=900).SerializeToString())
        with pytest.raises(Refused) as refused:
            await wire.reply(900)
        assert refused.value.code == "BAD_FRAME"
        ping_of_a_newer_version = ClientFrame(id=901, ping=Ping()).SerializeToString() + b"\xfa\x3f\x01x"
        await wire.post_bytes(ping_of_a_newer_version)
        assert (await wire.reply(901)).WhichOneof("body") == "pong"


async def test_a_binary_message_on_the_json_subprotocol_ends_the_connection(cluster: Cluster, name: Name) -> None:
    async with cluster.session(name("ann")) as (wire, _):
        await wire.pipe.send_raw(b"\x08\x01")
        closed = await wire.end()
        assert closed.goodbye is None or closed.goodbye.code == 4503
        assert closed.code in {1003, 4503}


async def test_only_unknown_subprotocols_are_refused_with_the_known_ones(cluster: Cluster) -> None:
    address = next(iter(cluster.access().values()))
    with pytest.raises(InvalidStatus) as refused:
        async with connect_websocket(address.ws, subprotocols=[Subprotocol("chat.v9")], proxy=None):
            pass
    assert refused.value.response.status_code == 400
    assert b"tidings.v1.json" in bytes(refused.value.response.body or b"")


async def test_a_route_that_is_asked_wrong_is_an_http_error(cluster: Cluster, name: Name) -> None:
    url = route_url(next(iter(cluster.access().values())))
    async with httpx2.AsyncClient(trust_env=False) as http:
        answer = await http.get(url, params={"user": name("ann")})
        assert answer.json().keys() == {"user", "slot", "node", "ws", "tcp"}
        for params in ({}, {"user": ""}, {"user": "a b"}, {"user": "x" * 65}):
            assert (await http.get(url, params=params)).status_code == 400
        assert (await http.get(url.replace("route", "nothing"))).status_code == 404


# ---- too large


@each_way
async def test_a_frame_over_the_limit_is_refused_before_it_is_read(cluster: Cluster, name: Name, way: Way) -> None:
    async with cluster.session(name("ann"), way) as (wire, _):
        if way == "tcp":
            await wire.pipe.send_raw((FRAME_MAX + 1).to_bytes(4, "big") + b"\x00" * 1000)  # and not a byte more
        else:
            await wire.post(send=Send(client_id="1", user=name("bob"), content=text("x" * FRAME_MAX)))
        closed = await wire.end()
        assert closed.goodbye is not None
        assert closed.goodbye.code == 4504
        assert closed.code == (0 if way == "tcp" else 4504)


async def test_a_tcp_length_of_4_gigabytes_is_refused_at_once(cluster: Cluster) -> None:
    async with connect(next(iter(cluster.access().values())), "tcp") as wire:
        await wire.pipe.send_raw(b"\xff\xff\xff\xff")
        closed = await wire.end()
        assert closed.goodbye is not None
        assert closed.goodbye.code == 4504


@each_way
async def test_content_over_the_limit_is_too_large_and_at_the_limit_is_not(
    cluster: Cluster, name: Name, way: Way
) -> None:
    send = Send(client_id="1", user=name("bob"), content=text("x" * (CONTENT_MAX + 1)))
    assert (await refusal(cluster, name("ann"), way, send=send)).code == "TOO_LARGE"
    async with cluster.session(name("ann"), way) as (wire, _):
        send.content.text = "x" * CONTENT_MAX
        assert (await wire.request(send=send)).sent.seq == 1


# ---- requests that make no sense


def odd_requests(name: Name) -> dict[str, tuple[str, dict[str, Any]]]:
    a_headers = {f"h{number}": "x" for number in range(17)}
    chat = f"d:{name('ann')}|{name('bob')}"
    swapped = f"d:{name('bob')}|{name('ann')}"
    return {
        "empty text": ("BAD_REQUEST", {"send": Send(client_id="1", user=name("bob"), content=text(""))}),
        "no content": ("BAD_REQUEST", {"send": Send(client_id="1", user=name("bob"))}),
        "no client id": ("BAD_REQUEST", {"send": Send(user=name("bob"), content=text("x"))}),
        "a long client id": ("BAD_REQUEST", {"send": Send(client_id="c" * 65, user=name("bob"), content=text("x"))}),
        "to nobody": ("BAD_REQUEST", {"send": Send(client_id="1", content=text("x"))}),
        "to a user name that breaks the rule": (
            "BAD_REQUEST",
            {"send": Send(client_id="1", user="bob smith", content=text("x"))},
        ),
        "to the operator": ("BAD_REQUEST", {"send": Send(client_id="1", user="tidings", content=text("x"))}),
        "to everyone": ("FORBIDDEN", {"send": Send(client_id="1", conversation="b:all", content=text("x"))}),
        "to a chat in the other order": (
            "BAD_REQUEST",
            {"send": Send(client_id="1", conversation=swapped, content=text("x"))},
        ),
        "to somebody else's chat": (
            "FORBIDDEN",
            {"send": Send(client_id="1", conversation="d:x.1|y.1", content=text("x"))},
        ),
        "to a conversation of no kind": (
            "BAD_REQUEST",
            {"send": Send(client_id="1", conversation="z:1", content=text("x"))},
        ),
        "to a group that does not exist": (
            "NOT_FOUND",
            {"send": Send(client_id="1", conversation="g:no-such-group", content=text("x"))},
        ),
        "an answer to nothing": (
            "BAD_REQUEST",
            {"send": Send(client_id="1", user=name("bob"), content=Content(text="x", reply_to=99))},
        ),
        "too many headers": (
            "TOO_LARGE",
            {"send": Send(client_id="1", user=name("bob"), content=Content(text="x", headers=a_headers))},
        ),
        "too large headers": (
            "TOO_LARGE",
            {"send": Send(client_id="1", user=name("bob"), content=Content(text="x", headers={"h": "x" * 4097}))},
        ),
        "too much signal": ("TOO_LARGE", {"signal": Signal(user=name("bob"), name="n", data=b"x" * 1025)}),
        "a history with both ends": ("BAD_REQUEST", {"history": History(conversation=chat, before=3, after=1)}),
        "somebody else's history": ("FORBIDDEN", {"history": History(conversation="d:x.1|y.1")}),
        "the history of no group": ("NOT_FOUND", {"history": History(conversation="g:no-such-group")}),
        "reading somebody else's chat": ("FORBIDDEN", {"read": Read(conversation="d:x.1|y.1", seq=1)}),
        "presence of too many": ("BAD_REQUEST", {"presence": PresenceRequest(users=[f"u{n}" for n in range(101)])}),
        "presence of no user": ("BAD_REQUEST", {"presence": PresenceRequest(users=["a b"])}),
        "a group of too many": (
            "BAD_REQUEST",
            {"group": GroupRequest(create=GroupRequest.Create(members=[f"u{n}" for n in range(501)]))},
        ),
        "a group with no user": (
            "BAD_REQUEST",
            {"group": GroupRequest(create=GroupRequest.Create(members=["a b"]))},
        ),
        "a group request without an act": ("BAD_REQUEST|BAD_FRAME", {"group": GroupRequest()}),
        "a group that does not exist": (
            "NOT_FOUND",
            {"group": GroupRequest(info=GroupRequest.Info(conversation="g:no-such-group"))},
        ),
        "joining a chat": ("BAD_REQUEST", {"group": GroupRequest(join=GroupRequest.Join(conversation=chat))}),
    }


@pytest.mark.parametrize("what", odd_requests(str))
async def test_a_request_that_makes_no_sense_is_refused_with_its_code(cluster: Cluster, name: Name, what: str) -> None:
    code, body = odd_requests(name)[what]
    refused = await refusal(cluster, name("ann"), **body)
    assert refused.code in code.split("|"), refused


async def test_a_group_one_is_not_in_takes_nothing_from_one(cluster: Cluster, name: Name) -> None:
    async with cluster.session(name("ann")) as (ann, _), cluster.session(name("eve")) as (eve, _):
        create = GroupRequest.Create(members=[name("bob")])
        group = (await ann.request(group=GroupRequest(create=create))).group_info.conversation
        refused: dict[str, str] = {}
        attempts: dict[str, dict[str, Any]] = {
            "send": {"send": Send(client_id="1", conversation=group, content=text("let me in"))},
            "signal": {"signal": Signal(conversation=group, name="typing")},
            "history": {"history": History(conversation=group)},
            "read": {"read": Read(conversation=group, seq=1)},
            "info": {"group": GroupRequest(info=GroupRequest.Info(conversation=group))},
            "members": {"group": GroupRequest(members=GroupRequest.Members(conversation=group))},
            "join": {"group": GroupRequest(join=GroupRequest.Join(conversation=group))},
            "add": {"group": GroupRequest(add=GroupRequest.Add(conversation=group, users=[name("eve")]))},
            "rename": {"group": GroupRequest(rename=GroupRequest.Rename(conversation=group, name="mine"))},
            "role": {
                "group": GroupRequest(
                    set_role=GroupRequest.SetRole(conversation=group, user=name("eve"), role=Member.OWNER)
                )
            },
        }
        for what, body in attempts.items():
            with pytest.raises(Refused) as error:
                await eve.request(**body)
            refused[what] = error.value.code
        assert refused == dict.fromkeys(attempts, "FORBIDDEN")
        page = (await ann.request(history=History(conversation=group))).page
        assert len(page.entries) == 1  # that it was created


async def test_who_goes_on_being_wrong_is_closed_for_abuse(cluster: Cluster, name: Name) -> None:
    async with cluster.session(name("eve")) as (eve, _):
        with pytest.raises(Closed) as closed:  # noqa: PT012 - which of them is one too many is the server's setting
            for number in range(70):
                with pytest.raises(Refused):
                    await eve.request(send=Send(client_id=str(number), conversation="b:all", content=text("spam")))
        assert closed.value.goodbye is not None
        assert closed.value.goodbye.code == 4006
        assert closed.value.goodbye.retry_after_ms > 0


# ---- too much


async def test_ten_thousand_pipelined_sends_are_answered_or_refused_one_by_one(cluster: Cluster, name: Name) -> None:
    """Over the rate limit: RATE_LIMITED with a time. Nothing is lost among what was accepted, and its order holds."""
    async with cluster.session(name("ann"), "proto") as (ann, _), cluster.session(name("cid")) as (bystander, _):
        async with asyncio.TaskGroup() as group:

            async def pour() -> list[int]:
                return [
                    await ann.post(send=Send(client_id=str(number), user=name("bob"), content=text("x" * 20)))
                    for number in range(10_000)
                ]

            pouring = group.create_task(pour())
            while not pouring.done():
                assert (await bystander.request(ping=Ping())).pong.time_ms
                await asyncio.sleep(0.05)
        seqs: list[int] = []
        limited: list[Refused] = []
        for frame in pouring.result():
            try:
                seqs.append((await ann.reply(frame, timeout_s=60)).sent.seq)
            except Refused as refused:
                limited.append(refused)
        assert seqs == list(range(1, len(seqs) + 1))
        assert len(seqs) >= 1000
        assert len(seqs) + len(limited) == 10_000
        assert {refused.code for refused in limited} <= {"RATE_LIMITED", "OVERLOADED"}
        assert all(refused.retry_after_ms > 0 for refused in limited)
