"""The closing phase, and what holds in every phase that says nothing else."""

from __future__ import annotations

import pytest

from services.access.session.delivery_state import DeliveryState
from services.access.session.events import Abort, CloseSession, EndRequested, FrameCame, Opened, PeerGone, Ticked
from services.access.session.handshaking import Handshaking
from services.access.session.heartbeat import FOREVER
from services.access.session.session import ASK_TO_SYNC, NOTHING, Closing, Phase, Session, SessionPolicy
from tidings_protocol import close


def closing(close_at: float = 101.0) -> Closing:
    return Closing(Handshaking(SessionPolicy(), DeliveryState(), 100.0), close_at)


def test_a_peer_that_does_not_close_is_cut_off_once_at_the_deadline() -> None:
    session = closing()
    assert (session.phase, session.due()) == (Phase.CLOSING, 101.0)
    assert session.handle(Ticked(), 100.9) == NOTHING
    assert session.handle(Ticked(), 101.0) == (Abort(),)
    assert session.due() == FOREVER
    assert session.handle(Ticked(), 200.0) == NOTHING


def test_after_the_goodbye_nothing_is_handled() -> None:
    session = closing()
    for event in (FrameCame("send", 1), EndRequested(close.REPLACED)):
        assert session.handle(event, 100.0) == NOTHING
    assert session.receive_frame("send", 1, 100.0) == NOTHING
    assert session.hold_frame(1, 100.0) == session.receive_held("send", 100.0) == NOTHING
    assert session.receive_part(1, 100.0, alive=True) == session.block() == session.unblock() == NOTHING
    assert not session.holding
    assert not session.answers_pings
    assert session.held == 0


def test_a_session_that_was_stored_too_late_is_closed_again() -> None:
    assert closing().handle(Opened(), 100.0) == (CloseSession(),)


def test_when_the_peer_is_gone_nobody_waits_for_it() -> None:
    session = closing()
    session.handle(PeerGone(), 100.0)
    assert session.due() == FOREVER


def test_a_page_that_was_written_before_the_end_counts_as_shown() -> None:
    session = closing()
    session.delivery.block()
    session.delivery.push(9, 100.0)
    session.delivery.unblock()
    assert session.page_written(3, more=False) == ASK_TO_SYNC
    assert session.delivery.shown == 3


def test_a_phase_says_itself_when_it_is_due_and_what_happens_in_it() -> None:
    with pytest.raises(TypeError, match=r"abstract methods '?due'?, '?handle"):
        Session(Phase.OPEN, SessionPolicy(), DeliveryState())  # type: ignore[abstract]
