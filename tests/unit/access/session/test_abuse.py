"""Abuse: what follows when a connection ends because of it."""

from __future__ import annotations

import pytest

from services.access.session.abuse import COUNTED_REFUSALS, TOO_MANY_PARTS, TOO_MANY_REFUSED, TOO_MUCH, counts, with_ban
from services.access.session.delivery_state import DeliveryState
from services.access.session.events import Ban, Become, SayGoodbye, Unregister
from services.access.session.handshaking import Handshaking
from services.access.session.heartbeat import FOREVER
from services.access.session.session import Closing, SessionPolicy
from tidings_protocol import close


def test_a_ban_comes_after_the_next_phase_and_before_the_goodbye_that_tells_it() -> None:
    closing = Become(Closing(Handshaking(SessionPolicy(), DeliveryState(), 1.0), FOREVER))
    goodbye = SayGoodbye(close.ABUSE, TOO_MUCH)
    assert with_ban((closing, goodbye, Unregister()), "frames") == (closing, Ban("frames"), goodbye, Unregister())


@pytest.mark.parametrize("text", [TOO_MUCH, TOO_MANY_REFUSED, TOO_MANY_PARTS])
def test_who_is_ended_is_told_what_to_do(text: str) -> None:
    problem, _, what_to_do = text.partition(": ")
    assert problem.startswith(("too many", "far too many"))
    assert "connect again" in what_to_do


@pytest.mark.parametrize("code", sorted(COUNTED_REFUSALS))
def test_what_the_client_could_have_known_counts_against_it(code: str) -> None:
    assert counts(code, 0)
    assert not counts(code, 300), "it is told when to ask again"
    assert not counts(code, 0, excused=True)


def test_what_the_server_refuses_does_not_count() -> None:
    assert not any(counts(code, 0) for code in ("NOT_FOUND", "UNAVAILABLE", "OVERLOADED", "RATE_LIMITED", "INTERNAL"))
