"""The open phase: what the transcripts (tests/scenario/access) do not show."""

from __future__ import annotations

from services.access.session.delivery_state import DeliveryState
from services.access.session.events import (
    AskedToLeave,
    Ban,
    Become,
    CloseSession,
    FrameRefused,
    Misbehaved,
    Opened,
    PeerGone,
    Refreshed,
    Refuse,
    SayGoodbye,
    StopReading,
    Ticked,
    Unregister,
)
from services.access.session.heartbeat import FOREVER
from services.access.session.limits import LimitPolicy, UserTraffic
from services.access.session.open import Open
from services.access.session.session import DISPATCH, NOTHING, Closing, SessionPolicy
from tidings_protocol import client_pb2, close


def opened(*, expires_at: float = FOREVER, **limits: float) -> Open:
    policy = SessionPolicy(limits=LimitPolicy(**limits))
    return Open(policy, DeliveryState(), 100.0, kind=client_pb2.Hello.WEB, expires_at=expires_at)


def test_the_next_phase_comes_before_everything_that_follows_from_it() -> None:
    effects = opened().handle(PeerGone(), 101.0)
    assert isinstance(effects[0], Become)
    assert effects[1:] == (Unregister(), CloseSession())


def test_one_refusal_too_many_is_a_ban_and_a_goodbye_after_the_next_phase() -> None:
    session = opened(refused_per_window=1)
    assert session.handle(FrameRefused("no"), 100.0) == (Refuse("BAD_FRAME", "no"),)
    become, refuse, ban, goodbye, *_ = session.handle(FrameRefused("no"), 100.0)
    assert isinstance(become, Become)
    assert isinstance(become.session, Closing)
    assert (refuse, ban) == (Refuse("BAD_FRAME", "no"), Ban("refused"))
    assert isinstance(goodbye, SayGoodbye)
    assert goodbye.reason is close.ABUSE


def test_what_its_user_does_elsewhere_ends_it() -> None:
    assert Ban("refused") in opened().handle(Misbehaved("refused", "too many"), 100.0)


def test_the_closing_session_knows_what_is_unanswered() -> None:
    session = opened()
    assert session.receive_frame("send", 10, 100.0) is DISPATCH
    become = session.handle(PeerGone(), 101.0)[0]
    assert isinstance(become, Become)
    assert become.session.unanswered == 1
    assert become.session.answer("send", 102.0) == NOTHING
    assert become.session.unanswered == 0


def test_one_who_is_asked_to_leave_finishes_what_is_unanswered() -> None:
    session = opened()
    session.receive_frame("send", 10, 100.0)
    assert session.handle(AskedToLeave(close.DRAINING), 100.0) == (StopReading(),)
    assert session.handle(AskedToLeave(close.DRAINING), 100.0) == NOTHING, "it is asked once"
    goodbye = session.answer("send", 101.0)[1]
    assert isinstance(goodbye, SayGoodbye)
    assert goodbye.reason is close.DRAINING


def test_a_new_token_lets_it_live_longer() -> None:
    session = opened(expires_at=110.0)
    assert session.due() == 110.0
    session.handle(Refreshed(500.0), 105.0)
    assert session.handle(Ticked(), 110.0) == NOTHING
    assert session.handle(Opened(), 110.0) == NOTHING


def test_sends_of_a_user_count_together_once_the_windows_are_shared() -> None:
    limits = {"sends_per_s": 10.0, "sends_burst": 1.0, "user_factor": 1.0}
    one, other, shared = opened(**limits), opened(**limits), UserTraffic()
    for session in (one, other):
        session.share(shared)
    assert one.receive_frame("send", 1, 100.0) is DISPATCH
    (refused,) = other.receive_frame("send", 1, 100.0)
    assert isinstance(refused, Refuse)
    assert refused.code == "RATE_LIMITED"


def test_more_parts_of_streams_than_a_second_allows_are_refused_with_the_time_to_wait() -> None:
    session = opened()
    assert all(session.receive_frame("stream_part", 1, 100.0) is DISPATCH for _ in range(30))
    (refused,) = session.receive_frame("stream_part", 1, 100.0)
    assert isinstance(refused, Refuse)
    assert (refused.code, refused.retry_after_ms) == ("RATE_LIMITED", 34)
    assert session.receive_frame("send", 1, 100.0) is DISPATCH
    assert session.receive_frame("stream_part", 1, 100.034) is DISPATCH


def test_who_is_away_is_idle_until_the_client_is_used() -> None:
    session = opened()
    assert not session.idle(101.0)
    session.set_away(True)
    assert session.idle(101.0)
    session.receive_frame("send", 1, 102.0)
    assert not session.idle(102.0)
