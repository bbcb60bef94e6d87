"""Goodbyes and close codes."""

from __future__ import annotations

import pytest

from tidings_protocol import close, errors

PROTOCOL = {
    4000: "DRAINING",
    4001: "MOVED",
    4002: "HEARTBEAT_TIMEOUT",
    4003: "OVERLOADED",
    4004: "SLOW_HANDSHAKE",
    4005: "INTERNAL",
    4006: "ABUSE",
    4500: "UNAUTHENTICATED",
    4501: "REPLACED",
    4502: "KICKED",
    4503: "BAD_FRAME",
    4504: "TOO_LARGE",
    4506: "TOKEN_EXPIRED",
    4507: "CLIENT_REFUSED",
    4508: "BANNED",
}


def test_the_table_is_that_of_the_protocol() -> None:
    assert {code: reason.name for code, reason in close.REASONS.items()} == PROTOCOL


@pytest.mark.parametrize("code", PROTOCOL)
def test_below_4500_the_client_comes_back_by_itself(code: int) -> None:
    goodbye = close.reason_of(code).goodbye().goodbye

    assert goodbye.code == code
    assert goodbye.reconnect is (code < 4500)
    assert goodbye.message


def test_a_goodbye_says_what_the_case_knows_better() -> None:
    frame = close.MOVED.goodbye("go there", retry_after_ms=20, address="ws://127.0.0.1:1/v1/ws")

    assert frame.id == 0
    assert frame.goodbye.message == "go there"
    assert (frame.goodbye.retry_after_ms, frame.goodbye.address) == (20, "ws://127.0.0.1:1/v1/ws")


def test_a_code_of_a_newer_version_keeps_its_range() -> None:
    assert close.reason_of(4123).reconnect
    assert not close.reason_of(4987).reconnect
    assert close.reason_of(4987).code == 4987


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errors.BadFrame("x"), close.BAD_FRAME),
        (errors.Unparsable("x"), close.BAD_FRAME),
        (errors.BadRequest("x"), close.BAD_FRAME),
        (errors.TooLarge("x"), close.TOO_LARGE),
        (errors.RateLimited("x"), close.OVERLOADED),
        (errors.Overloaded("x"), close.OVERLOADED),
        (errors.Unavailable("x"), close.OVERLOADED),
        (errors.Internal("x"), close.INTERNAL),
        (errors.Unauthenticated("x"), close.UNAUTHENTICATED),
    ],
)
def test_before_the_welcome_each_error_is_a_goodbye(error: errors.TidingsError, reason: close.CloseReason) -> None:
    assert close.reason_before_welcome(error) is reason
