"""Tokens that end within a session: when another is asked for, and what becomes of it."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.client.virtual_net import Faults, World
from tidings.core.connection.renewal import AGAIN_MIN_S, Renewal, end_of
from tidings_protocol import client_pb2 as pb

BEGIN_S = 1_700_000_000  # what the model server's clock shows


def _token(name: str, ends_s: float) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"sub": "me", "exp": ends_s, "jti": name}).encode()).decode()
    return f"head.{claims.rstrip('=')}.signature"


def test_it_is_asked_for_a_while_before_the_end_by_the_servers_clock() -> None:
    renewal = Renewal(lambda: 0.5)
    renewal.begin(_token("a", 5000), 1_400_000, now=7.0)  # 3,600 s left
    assert renewal.next_wake() == 7.0 + 3600 - 90
    assert not renewal.due(3516.9)
    assert renewal.due(3517.0)
    assert not renewal.due(3518.0)


def test_a_short_life_has_a_short_margin() -> None:
    renewal = Renewal(lambda: 0.0)
    renewal.begin(_token("a", 10), 0, now=0.0)
    assert renewal.next_wake() == 8.0


def test_it_asks_again_with_half_of_what_is_left_until_it_is_too_late() -> None:
    renewal = Renewal(lambda: 0.0)
    renewal.begin(_token("a", 1000), 0, now=0.0)
    assert renewal.due(940.0)
    renewal.failed(940.0)
    assert renewal.next_wake() == 970.0
    renewal.failed(1000.0 - AGAIN_MIN_S)
    assert renewal.next_wake() is None


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "a..c", f"a.{base64.urlsafe_b64encode(b'[]').decode()}.c"])
def test_a_token_that_tells_no_end_is_left_alone(token: str) -> None:
    renewal = Renewal(lambda: 0.0)
    renewal.begin(token, 0, now=0.0)
    assert renewal.next_wake() is None


@given(st.text())
def test_whatever_the_application_gives_is_looked_at_without_harm(token: str) -> None:
    for each in (token, f"a.{token}.c"):
        assert isinstance(end_of(each), float | None)


def _world(*tokens: str) -> World:
    world = World(1, Faults(), fresh_tokens=True)
    left = list(tokens)
    world.next_token = lambda: left.pop(0) if len(left) > 1 else left[0]
    world.start()
    return world


def test_the_server_takes_a_new_token_within_the_session_and_the_next_hello_has_it() -> None:
    first, second = _token("a", BEGIN_S + 100), _token("b", BEGIN_S + 9000)
    world = _world(first, second)
    world.run(100.0)
    assert world.server.refreshed == [second]
    assert world.connections == 1
    world.cut()
    world.run(1.0)
    assert world.tokens == [first, second]
    world.run(5000.0)
    assert world.server.refreshed == [second]


def test_a_token_that_is_refused_leaves_the_session_as_it_was() -> None:
    first, second = _token("a", BEGIN_S + 100), _token("b", BEGIN_S + 9000)
    world = _world(first, second)
    world.server.takes_tokens = False
    world.run(100.0)
    assert world.server.refreshed
    assert set(world.server.refreshed) == {second}
    assert len(world.server.refreshed) <= 4
    assert world.connections == 1
    assert world.ended is None
    world.cut()
    world.run(1.0)
    assert world.tokens == [first, first]


@pytest.mark.parametrize("other", [None, "", "the same"])
def test_an_application_that_has_no_other_token_is_asked_a_few_times_and_nothing_is_sent(other: str | None) -> None:
    token = _token("a", BEGIN_S + 100)
    world = _world(token)
    world.next_token = lambda: token if other == "the same" else other
    world.run(100.0)
    assert 1 <= world.renewals <= 4
    assert world.server.refreshed == []


def test_a_refresh_that_the_connection_took_along_is_made_again_in_the_next() -> None:
    first, second = _token("a", BEGIN_S + 100), _token("b", BEGIN_S + 9000)
    world = _world(first, second)
    world.server.refuse = lambda _session, frame: _silence(frame)
    world.run(90.0)
    world.server.time_ms += 91_000
    world.cut()
    world.server.refuse = lambda _session, _frame: None
    world.run(9.0)
    assert world.server.refreshed == [second]
    world.cut()
    world.run(1.0)
    assert world.tokens == [first, first, second]


def _silence(frame: pb.ClientFrame) -> pb.ServerFrame | None:
    return pb.ServerFrame() if frame.HasField("refresh") else None
