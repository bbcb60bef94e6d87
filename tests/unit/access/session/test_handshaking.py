"""Before the welcome: what the transcripts (tests/scenario/access) do not show."""

from __future__ import annotations

import pytest

from services.access.session.abuse import EARLY_PARTS_MAX
from services.access.session.delivery_state import DeliveryState
from services.access.session.events import (
    Become,
    CheckHello,
    CloseSession,
    HandleHeld,
    HelloAccepted,
    Misbehaved,
    Opened,
    PeerGone,
    Refreshed,
    SayGoodbye,
    StoreSession,
    Unregister,
    Welcome,
)
from services.access.session.handshaking import Handshaking
from services.access.session.heartbeat import FOREVER
from services.access.session.open import Open
from services.access.session.session import HOLD, HOLD_AND_STOP, NOTHING, Closing, Phase, Session, SessionPolicy

POLICY = SessionPolicy(held_max=2)


def handshaking() -> Handshaking:
    return Handshaking(POLICY, DeliveryState(), 100.0)


def opening() -> Handshaking:
    session = handshaking()
    assert session.receive_frame("hello", 10, 100.0) == (CheckHello(),)
    return session


def next_of(effects: tuple[object, ...]) -> Session:
    become = effects[0]
    assert isinstance(become, Become)
    return become.session


def test_what_it_was_told_is_what_the_open_session_begins_with() -> None:
    session = opening()
    assert session.receive_frame("send", 7, 100.0) == HOLD
    assert session.handle(HelloAccepted(1, 500.0), 101.0) == (StoreSession(),)
    effects = session.handle(Opened(), 102.0)
    assert effects[1:] == (Welcome(), HandleHeld())
    opened = next_of(effects)
    assert isinstance(opened, Open)
    assert (opened.phase, opened.held, opened.delivery) == (Phase.OPEN, 1, session.delivery)
    assert opened.due() <= 500.0


def test_a_transport_that_was_blocked_meanwhile_begins_with_a_pause() -> None:
    session = opening()
    session.handle(HelloAccepted(1, FOREVER), 101.0)
    assert session.block() == NOTHING
    assert not session.answers_pings
    opened = next_of(session.handle(Opened(), 102.0))
    assert opened.delivery.paused
    assert not opened.answers_pings


@pytest.mark.parametrize(("asked", "undone"), [(False, ()), (True, (Unregister(),))])
def test_a_peer_that_goes_before_the_welcome_leaves_nothing_in_the_indexes(
    asked: bool, undone: tuple[object, ...]
) -> None:
    session = opening() if asked else handshaking()
    effects = session.handle(PeerGone(), 101.0)
    assert effects[1:] == undone
    closing = next_of(effects)
    assert isinstance(closing, Closing)
    assert closing.handle(Opened(), 102.0) == (CloseSession(),), "it may have been stored all the same"


def test_many_parts_of_frames_are_a_flood() -> None:
    session = handshaking()
    for _ in range(EARLY_PARTS_MAX):
        assert session.receive_part(1, 100.0, alive=True) == NOTHING
    goodbye = session.receive_part(1, 100.0, alive=True)[1]
    assert isinstance(goodbye, SayGoodbye)


def test_what_belongs_to_an_open_session_says_nothing_here() -> None:
    session = opening()
    for event in (Misbehaved("refused", ""), Refreshed(200.0)):
        assert session.handle(event, 100.0) == NOTHING
    assert session.answer("send", 100.0) == NOTHING
    assert session.count_refusal("BAD_FRAME", 100.0) == NOTHING
    assert not session.take_held(1)
    assert not session.idle(1000.0)


def test_nothing_more_is_read_when_too_much_is_held() -> None:
    session = opening()
    assert session.hold_frame(1, 100.0) == HOLD
    assert session.hold_frame(1, 100.0) == HOLD_AND_STOP
    assert session.hold_frame(1, 100.0) == HOLD, "it is told once"
