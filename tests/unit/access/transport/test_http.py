"""The little HTTP beside WebSocket, as values."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest

from services.access.transport.http import (
    BUSY,
    NO_ADDRESS,
    NO_WEBSOCKET,
    NOTHING_HERE,
    OPEN,
    PATH,
    PREFLIGHT,
    ROUTE_PATH,
    WRONG_METHOD,
    Answer,
    Asked,
    answer_to,
    asked_in,
    sentence,
)
from tidings_protocol.errors import BadRequest, Unavailable


def route(user: str) -> dict[str, Any]:
    if user == "?":
        raise BadRequest("no such name")
    if user == "away":
        raise Unavailable("nobody is ready", 2500)
    return {"user": user}


@pytest.mark.parametrize(
    ("head", "asked"),
    [
        (b"GET /v1/route?user=ann HTTP/1.1\r\n\r\n", Asked("GET", "/v1/route", {"user": ["ann"]})),
        (b"GET http://[ HTTP/1.1\r\n\r\n", NO_ADDRESS),
        (b"PRI * HTTP/2.0\r\n\r\n", None),
        (b"nonsense\r\n\r\n", None),
    ],
)
def test_the_first_line_of_a_head_says_what_is_asked(head: bytes, asked: Asked | Answer | None) -> None:
    assert asked_in(head) == asked


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (Asked("GET", PATH, {}), None),
        (Asked("HEAD", PATH, {}), NO_WEBSOCKET),
        (Asked("POST", PATH, {}), WRONG_METHOD),
        (Asked("GET", "/", {}), NOTHING_HERE),
        (Asked("OPTIONS", ROUTE_PATH, {}), PREFLIGHT),
        (Asked("POST", ROUTE_PATH, {}), WRONG_METHOD),
    ],
)
def test_what_may_be_an_upgrade_is_left_to_others(asked: Asked, answer: Answer | None) -> None:
    assert answer_to(asked, route) == answer


@pytest.mark.parametrize(
    ("users", "status", "body"),
    [
        (["ann"], HTTPStatus.OK, b'{"user":"ann"}'),
        (["?"], HTTPStatus.BAD_REQUEST, b"no such name\n"),
        ([], HTTPStatus.BAD_REQUEST, b"this does not name one user: ask /v1/route?user=U\n"),
        (["away"], HTTPStatus.SERVICE_UNAVAILABLE, b"nobody is ready\n"),
    ],
)
def test_a_route_is_told_or_refused_with_what_to_do(users: list[str], status: HTTPStatus, body: bytes) -> None:
    answer = answer_to(Asked("GET", ROUTE_PATH, {"user": users}), route)
    assert answer is not None
    assert (answer.status, answer.body) == (status, body)
    assert answer.headers.items() >= OPEN.items()
    assert answer.headers.get("Retry-After") == ("3" if users == ["away"] else None)


def test_an_answer_to_head_has_the_headers_and_no_body() -> None:
    whole, head = BUSY.to_bytes(), BUSY.to_bytes(head_only=True)
    assert whole == head + BUSY.body
    assert f"Content-Length: {len(BUSY.body)}".encode() in head
    assert b"Connection: close\r\n" in head
    assert b"Content-" not in PREFLIGHT.to_bytes()


def test_a_sentence_outside_of_unicode_is_told_all_the_same() -> None:
    assert sentence(HTTPStatus.BAD_REQUEST, "\ud800").body == b"?\n"
