"""How a session comes about, ends and comes back: transcripts of the core's effects."""

from __future__ import annotations

from tidings import Kicked, LinkState, Replaced, TidingsError, TokenRefused
from tidings.core.connection.dialer import Bye, Dialer, Over
from tidings.core.signals import AskToken, Drop, Effect, Notify, Open, Stopped
from tidings.model import Link
from tidings_protocol import client_pb2 as pb

WELCOME = pb.Welcome(node="access-0", backoff=pb.Backoff(base_ms=1000, max_ms=8000, factor=2))


def _dialer(*seeds: str, fresh_tokens: bool = False) -> Dialer:
    return Dialer(seeds or ("ws://a",), lambda: 1.0, fresh_tokens=fresh_tokens)


def _live(dialer: Dialer, now: float = 0.0) -> None:
    dialer.start()
    dialer.token_ready("t")
    dialer.greeted(now)
    dialer.welcomed(WELCOME, now)
    dialer.flush()


def _acts(dialer: Dialer) -> list[Effect]:
    """Without what is only told to people."""
    return [effect for effect in dialer.flush() if not isinstance(effect, Notify)]


def _error(dialer: Dialer) -> TidingsError:
    assert isinstance(dialer.phase, Over)
    return dialer.phase.error


def test_it_asks_for_a_token_and_opens_the_first_address() -> None:
    dialer = _dialer("ws://a", "ws://b")
    dialer.start()
    assert _acts(dialer) == [AskToken(fresh=False)]
    dialer.token_ready("t")
    assert _acts(dialer) == [Open(1, "ws://a")]


def test_a_drain_waits_as_told_and_goes_where_it_is_told() -> None:
    dialer = _dialer()
    _live(dialer)
    dialer.ended(Bye(4000, "draining", 2.0, "ws://b"), 100.0)
    assert _acts(dialer) == [Drop(1)]
    assert dialer.next_wake() == 102.0
    dialer.tick(102.0)
    assert _acts(dialer) == [Open(3, "ws://b")]


def test_the_servers_back_off_is_used_from_then_on() -> None:
    dialer = _dialer()
    _live(dialer)
    dialer.ended(Bye(4005, "internal"), 1.0)
    assert dialer.next_wake() == 2.0


def test_a_greeting_that_nobody_answers_is_given_up() -> None:
    dialer = _dialer("ws://a", "ws://b")
    dialer.start()
    dialer.token_ready("t")
    dialer.greeted(0.0)
    dialer.flush()
    dialer.tick(10.0)
    assert _acts(dialer) == [Drop(1), Open(3, "ws://b")]


def test_codes_from_4500_on_end_it() -> None:
    for code, kind in ((4501, Replaced), (4502, Kicked), (4500, TokenRefused)):
        dialer = _dialer()
        _live(dialer)
        dialer.ended(Bye(code, "no"), 1.0)
        error = _error(dialer)
        assert isinstance(error, kind)
        assert Stopped(error) in _acts(dialer)


def test_a_refused_token_is_replaced_once_and_then_it_ends() -> None:
    dialer = _dialer(fresh_tokens=True)
    _live(dialer)
    dialer.ended(Bye(4506, "expired"), 1.0)
    assert _acts(dialer) == [Drop(1), AskToken(fresh=True)]
    dialer.token_ready("t2")
    dialer.ended(Bye(4500, "wrong"), 2.0)
    assert isinstance(_error(dialer), TokenRefused)


def test_a_token_that_cannot_be_had_now_is_asked_for_again() -> None:
    dialer = _dialer(fresh_tokens=True)
    dialer.start()
    dialer.flush()
    dialer.token_failed("the login service is away", 0.0, final=False)
    (told,) = dialer.flush()
    assert told == Notify(Link(LinkState.WAITING, detail="the login service is away", retry_in_s=5.0))
    dialer.tick(5.0)
    assert _acts(dialer) == [AskToken(fresh=False)]
