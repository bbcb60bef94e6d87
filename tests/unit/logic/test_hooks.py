"""The hook before a send: it allows, refuses, changes, or is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import httpx2
import pytest

from services.common.telemetry import metrics
from services.common.telemetry.health import Health
from services.logic.messages.hook_endpoint import Candidate, HookEndpoint
from services.logic.messages.hooks import HookOptions, Hooks, HookVerdict
from tests.unit.logic.harness import body, logic, message
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError

UNSEEN = metrics.HOOK_UNSEEN
Answer = Callable[[dict[str, Any]], httpx2.Response]


class Endpoint:
    """The operator's endpoint: answers with what `answer` makes of the request."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[dict[str, Any]] = []
        self.headers: list[httpx2.Headers] = []
        self.under_way = self.most_under_way = 0

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await _turn()
        asked = json.loads(request.content)
        self.requests.append(asked)
        self.headers.append(request.headers)
        self.under_way -= 1
        return self.answer(asked)


async def _turn() -> None:
    """Lets everything else go on once."""
    loop = asyncio.get_running_loop()
    turn: asyncio.Future[None] = loop.create_future()
    loop.call_soon(turn.set_result, None)
    await turn


def decide(decision: Callable[[dict[str, Any]], dict[str, Any]]) -> Answer:
    """As ASCII, which can also say what UTF-8 cannot."""
    return lambda asked: httpx2.Response(
        200, content=json.dumps({"decisions": [decision(each) for each in asked["messages"]]})
    )


ALLOW = decide(lambda _: {"action": "allow"})


def hook_endpoint(
    url: str, options: HookOptions, *, token: str = "", transport: httpx2.AsyncBaseTransport | None = None
) -> HookEndpoint:
    return HookEndpoint(
        url,
        "test",
        token=token,
        timeout_s=options.timeout_s,
        calls_max=options.calls_max,
        content_bytes_max=100,
        transport=transport,
    )


@asynccontextmanager
async def hooks(
    endpoint: Callable[[httpx2.Request], Any],
    *,
    when_away: Literal["allow", "refuse"] = "refuse",
    batch_max: int = 1,
    calls_max: int = 4,
    token: str = "",
    health: Health | None = None,
    timeout_s: float = 5,
    probe_interval_s: float = 0,
) -> AsyncIterator[Hooks]:
    options = HookOptions(
        timeout_s=timeout_s,
        when_away=when_away,
        batch_max=batch_max,
        calls_max=calls_max,
        probe_interval_s=probe_interval_s,
    )
    wire = hook_endpoint("http://hook/check", options, token=token, transport=httpx2.MockTransport(endpoint))
    async with Hooks(wire, health or Health(), options) as opened:
        yield opened


def candidate(text: str = "hi", **fields: Any) -> Candidate:
    content = client_pb2.Content(text=text, **fields).SerializeToString()
    return Candidate("d:amy|bob", "amy", "c1", content)


def content(verdict: HookVerdict) -> client_pb2.Content:
    assert isinstance(verdict, bytes)
    return client_pb2.Content.FromString(verdict)


def error(verdict: HookVerdict) -> TidingsError:
    assert isinstance(verdict, TidingsError)
    return verdict


async def test_the_endpoint_sees_the_message_in_its_json_mapping() -> None:
    endpoint = Endpoint(ALLOW)
    async with hooks(endpoint, token="secret") as opened:
        asked = candidate(headers={"lang": "en"}, reply_to=4)
        assert await opened.ask([asked]) == [asked.content]
    assert endpoint.requests == [
        {
            "version": 1,
            "cluster": "test",
            "messages": [
                {
                    "conversation": "d:amy|bob",
                    "sender": "amy",
                    "clientId": "c1",
                    "content": {"text": "hi", "headers": {"lang": "en"}, "replyTo": "4"},
                }
            ],
        }
    ]
    assert endpoint.headers[0]["authorization"] == "Bearer secret"


async def test_a_refusal_reaches_the_sender_with_its_reason() -> None:
    async with hooks(Endpoint(decide(lambda _: {"action": "refuse", "reason": "be kind"}))) as opened:
        refused = error((await opened.ask([candidate()]))[0])
        assert (refused.code, refused.message) == ("FORBIDDEN", "be kind")


async def test_a_change_replaces_the_content_but_not_what_it_replies_to() -> None:
    change = {"action": "change", "content": {"text": "h*", "headers": {"checked": "yes"}, "replyTo": "9"}}
    async with hooks(Endpoint(decide(lambda _: change))) as opened:
        changed = content((await opened.ask([candidate(reply_to=4)]))[0])
        assert changed == client_pb2.Content(text="h*", headers={"checked": "yes"}, reply_to=4)


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: httpx2.Response(500),
        lambda _: httpx2.Response(200, text="fine"),
        lambda _: httpx2.Response(200, json=[]),
        lambda _: httpx2.Response(200, json={"decisions": []}),
        decide(lambda _: {"action": "maybe"}),
        decide(lambda _: {"action": "change", "content": {"text": ""}}),
        decide(lambda _: {"action": "change", "content": {"text": "x" * 101}}),
        decide(lambda _: {"action": "change", "content": {"colour": "red"}}),
        decide(lambda _: {"action": "change", "content": {"text": 7}}),
        decide(lambda _: {"action": "change", "content": {"headers": {"a": "b" * 5000}, "text": "x"}}),
        lambda _: httpx2.Response(200, text="[" * 100_000),
        lambda _: httpx2.Response(200, content=b'{"decisions":[{"action":"change","content":{"text":"\\ud83d"}}]}'),
        decide(lambda _: {"action": "change", "content": "hi"}),
    ],
)
async def test_an_answer_that_is_none_counts_as_away(answer: Answer) -> None:
    health = Health()
    async with hooks(Endpoint(answer), health=health) as opened:
        refused = error((await opened.ask([candidate()]))[0])
        assert refused.code == "UNAVAILABLE"
        assert refused.retry_after_ms > 0
        assert "hook" in health.degraded
    async with hooks(Endpoint(answer), when_away="allow") as opened:
        assert content((await opened.ask([candidate()]))[0]).text == "hi"


async def test_an_endpoint_that_cannot_be_reached_is_away_and_then_back() -> None:
    health, away = Health(), True

    def answer(asked: dict[str, Any]) -> httpx2.Response:
        if away:
            raise httpx2.ConnectError("refused")
        return ALLOW(asked)

    async with hooks(Endpoint(answer), health=health) as opened:
        assert error((await opened.ask([candidate()]))[0]).code == "UNAVAILABLE"
        away = False
        assert content((await opened.ask([candidate()]))[0]).text == "hi"
        assert health.degraded == {}


async def test_an_endpoint_that_takes_too_long_is_away() -> None:
    async def never(_: httpx2.Request) -> httpx2.Response:
        await asyncio.Event().wait()
        raise AssertionError

    options = HookOptions(timeout_s=0.01, when_away="refuse", batch_max=1, calls_max=1)
    endpoint = hook_endpoint("http://hook/check", options, transport=httpx2.MockTransport(never))
    async with Hooks(endpoint, Health(), options) as opened:
        verdicts = await opened.ask([candidate(), candidate()])
        assert [error(verdict).code for verdict in verdicts] == ["UNAVAILABLE"] * 2


async def test_messages_are_asked_about_one_by_one_but_not_too_many_at_once() -> None:
    endpoint = Endpoint(decide(lambda each: {"action": "change", "content": {"text": each["content"]["text"] + "!"}}))
    async with hooks(endpoint, calls_max=3) as opened:
        verdicts = await opened.ask([candidate(str(number)) for number in range(20)])
        assert [content(verdict).text for verdict in verdicts] == [f"{number}!" for number in range(20)]
    assert len(endpoint.requests) == 20
    assert endpoint.most_under_way <= 3


async def test_an_endpoint_that_takes_batches_gets_them() -> None:
    endpoint = Endpoint(ALLOW)
    async with hooks(endpoint, batch_max=8) as opened:
        assert len(await opened.ask([candidate(str(number)) for number in range(20)])) == 20
    assert sorted(len(asked["messages"]) for asked in endpoint.requests) == [4, 8, 8]


async def test_of_a_batch_each_message_has_its_own_decision() -> None:
    actions: Iterator[dict[str, Any]] = iter(
        [{"action": "allow"}, {"action": "refuse"}, {"action": "change", "content": {"text": "new"}}]
    )
    async with hooks(Endpoint(decide(lambda _: next(actions))), batch_max=8) as opened, logic(hooks=opened) as node:
        one, two, three = await node.send(*[message("amy", "d:amy|bob", text) for text in ("one", "two", "three")])
        assert (one.seq, two.fault.code, three.seq) == (1, "FORBIDDEN", 2)
        assert {body(push).content.text for push in node.pushes()} == {"one", "new"}


async def hangs(_: httpx2.Request) -> httpx2.Response:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize("when_away", ["allow", "refuse"])
async def test_a_batch_is_answered_after_two_time_limits_however_large_it_is(
    when_away: Literal["allow", "refuse"],
) -> None:
    loop = asyncio.get_running_loop()
    async with hooks(hangs, when_away=when_away, calls_max=2, timeout_s=0.05) as opened:
        began = loop.time()
        verdicts = await opened.ask([candidate(str(number)) for number in range(200)])
        assert loop.time() - began < 1, "one after the other it were 5 s"
    expected = [str(number) for number in range(200)] if when_away == "allow" else []
    assert [content(verdict).text for verdict in verdicts if isinstance(verdict, bytes)] == expected


async def test_one_that_is_slow_gets_what_it_can_answer_and_the_rest_is_decided_in_time() -> None:
    """No call takes longer than it may, and still the last one's turn would come too late."""

    async def slow(request: httpx2.Request) -> httpx2.Response:
        answered: asyncio.Future[None] = loop.create_future()
        loop.call_later(0.04, answered.set_result, None)
        await answered
        return ALLOW(json.loads(request.content))

    loop = asyncio.get_running_loop()
    async with hooks(slow, when_away="refuse", calls_max=2, timeout_s=0.1) as opened:
        began = loop.time()
        verdicts = await opened.ask([candidate(str(number)) for number in range(100)])
        assert loop.time() - began < 1, "one after the other it were 2 s"
        assert not opened.is_away, "it answers"
    assert 0 < sum(isinstance(verdict, bytes) for verdict in verdicts) < 100


async def test_one_that_is_away_is_not_waited_for_but_probed_until_it_is_back() -> None:
    held: list[asyncio.Future[httpx2.Response]] = []
    waiting = asyncio.Event()
    away = True

    async def answer(request: httpx2.Request) -> httpx2.Response:
        if not away:
            return ALLOW(json.loads(request.content))
        if len(held) < 3:
            held.append(asyncio.get_running_loop().create_future())
            raise httpx2.ConnectError("refused")
        waiting.set()
        return await probe

    health = Health()
    probe: asyncio.Future[httpx2.Response] = asyncio.get_running_loop().create_future()
    async with hooks(answer, when_away="allow", health=health) as opened:
        unseen = UNSEEN._value.get()
        await opened.ask([candidate(), candidate(), candidate()])
        assert opened.is_away
        first = asyncio.ensure_future(opened.ask([candidate("probe")]))
        await waiting.wait()
        at_once: list[HookVerdict] = []
        for number in range(50):
            opened.offer(candidate(str(number)), at_once.append)
        assert len(at_once) == 50, "nobody waits for a probe"
        assert UNSEEN._value.get() - unseen == 53
        away = False
        probe.set_result(decide(lambda _: {"action": "refuse"})({"messages": [{}]}))
        assert error((await first)[0]).code == "FORBIDDEN"
        assert (opened.is_away, health.degraded) == (False, {})
        assert content((await opened.ask([candidate("seen")]))[0]).text == "seen"
        assert UNSEEN._value.get() - unseen == 53


async def test_a_probe_is_a_while_after_the_last_failure_so_that_one_who_is_alone_does_not_wait_each_time() -> None:
    calls = 0

    async def refuses(_: httpx2.Request) -> httpx2.Response:
        nonlocal calls
        calls += 1
        raise httpx2.ConnectError("refused")

    async with hooks(refuses, when_away="allow", probe_interval_s=3600) as opened:
        for _ in range(20):
            await opened.ask([candidate()])
    assert calls == 3


async def test_a_decision_that_cannot_be_done_is_the_trouble_of_its_message_alone() -> None:
    decisions: Iterator[dict[str, Any]] = iter(
        [
            {"action": "refuse", "reason": "\ud83d no"},
            {"action": "change", "content": {"text": ""}},
            {"action": "allow"},
        ]
    )
    async with hooks(Endpoint(decide(lambda _: next(decisions))), batch_max=8) as opened, logic(hooks=opened) as node:
        outcomes = await node.send(*[message("amy", f"d:amy|{peer}", peer) for peer in ("b", "c", "d")])
        assert [outcome.fault.code for outcome in outcomes] == ["FORBIDDEN", "UNAVAILABLE", ""]
        assert outcomes[0].fault.message == "? no"
        assert not opened.is_away


async def test_fields_that_nobody_knows_are_dropped_from_what_it_changed() -> None:
    change = {"action": "change", "content": {"text": "h*", "colour": "red", "headers": {"a": "b"}}}
    async with hooks(Endpoint(decide(lambda _: change))) as opened:
        changed = content((await opened.ask([candidate()]))[0])
        assert changed == client_pb2.Content(text="h*", headers={"a": "b"})


class KeptConnections:
    """A server that keeps connections and ends each one, without an answer, when its third call comes in on it."""

    def __init__(self, served_max: int) -> None:
        self.served_max = served_max
        self.asked: list[str] = []
        self.connections = self.cut = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        served = 0
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                if served >= self.served_max:
                    self.cut += 1
                    return
                length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
                asked = json.loads(await reader.readexactly(length))
                self.asked += [each["content"]["text"] for each in asked["messages"]]
                body = json.dumps({"decisions": [{"action": "refuse"} for _ in asked["messages"]]}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
                served += 1
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def served(endpoint: KeptConnections, **settings: Any) -> AsyncIterator[Hooks]:
    """On a real connection."""
    server = await asyncio.start_server(endpoint, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    options = HookOptions(timeout_s=5, batch_max=1, calls_max=1, **settings)
    async with server, Hooks(hook_endpoint(f"http://127.0.0.1:{port}/", options), Health(), options) as opened:
        yield opened


async def test_a_kept_connection_that_ends_under_a_call_is_no_reason_to_let_a_message_pass() -> None:
    endpoint = KeptConnections(served_max=2)
    async with served(endpoint, when_away="allow") as opened:
        for number in range(12):
            assert error((await opened.ask([candidate(str(number))]))[0]).code == "FORBIDDEN"
    assert endpoint.cut > 0
    assert endpoint.asked == [str(number) for number in range(12)]


async def test_one_that_ends_every_connection_is_away_after_one_more_try() -> None:
    endpoint = KeptConnections(served_max=0)
    async with served(endpoint, when_away="refuse") as opened:
        assert error((await opened.ask([candidate()]))[0]).code == "UNAVAILABLE"
    assert endpoint.connections == 1, "no connection was kept, so nothing says that another one does better"


async def test_what_is_forbidden_anyway_is_not_asked_about() -> None:
    endpoint = Endpoint(ALLOW)
    async with hooks(endpoint) as opened, logic(hooks=opened) as node:
        await node.send(message("eve", "d:amy|bob", "no"))
    assert endpoint.requests == []
