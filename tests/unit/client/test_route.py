"""Where the client connects next, and when."""

from __future__ import annotations

from tidings.core.backoff import Backoff
from tidings.core.route import AVOID_S, STEADY_S, Next, Route, address_of, in_scheme


def _route(*seeds: str) -> Route:
    return Route(seeds or ("ws://a",), lambda: 1.0)


def test_every_known_address_is_tried_at_once_before_it_waits() -> None:
    route = _route("ws://a", "ws://b", "ws://c")
    assert route.failed(0.0) == Next("ws://b", 0.0)
    assert route.failed(0.0) == Next("ws://c", 0.0)
    assert route.failed(0.0).delay_s == 0.5


def test_it_waits_longer_with_each_round_up_to_the_limit() -> None:
    route = _route()
    route.backoff = Backoff(base_s=1.0, max_s=5.0, factor=2.0)
    assert [route.failed(0.0).delay_s for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_what_the_server_asks_to_wait_is_added() -> None:
    assert _route().failed(0.0, retry_after_s=7.0).delay_s == 7.5


def test_a_steady_session_that_breaks_comes_back_at_once_and_forgets_earlier_failures() -> None:
    route = _route()
    for _ in range(6):
        route.failed(0.0)
    assert route.broke(STEADY_S).delay_s < 0.1
    assert route.failed(0.0).delay_s == 0.5


def test_a_session_that_breaks_at_once_again_and_again_waits_longer_and_longer() -> None:
    route = _route()
    delays = [route.broke(0.1).delay_s for _ in range(4)]
    assert delays == [0.5, 1.0, 2.0, 4.0]


def test_two_servers_that_point_at_each_other_do_not_spin_the_client() -> None:
    route = _route("ws://a")
    delays = [route.moved(f"ws://{'ab'[number % 2]}").delay_s for number in range(6)]
    assert delays[:3] == [0.0, 0.0, 0.0]
    assert all(delay > 0 for delay in delays[3:])


def test_an_address_that_failed_is_told_to_be_avoided_for_a_while_by_name_too() -> None:
    route = _route("ws://a")
    route.moved("ws://b")
    route.welcomed("access-1")
    route.failed(0.0)
    assert route.avoid(1.0) == ["ws://b", "access-1"]
    assert route.avoid(AVOID_S + 1.0) == []


def test_an_address_that_was_learned_is_tried_when_the_only_seed_is_dead() -> None:
    route = _route("ws://a")
    route.moved("ws://b")
    route.welcomed("access-1")
    route.moved("ws://a")
    assert route.failed(0.0) == Next("ws://b", 0.0)


def test_a_tcp_address_keeps_the_scheme_it_came_by() -> None:
    assert in_scheme("10.0.0.1:81", "tcps://x:1") == "tcps://10.0.0.1:81"
    assert in_scheme("wss://x/v1/ws", "tcp://y:1") == "wss://x/v1/ws"
    assert address_of("tcp://10.0.0.1:81") == "10.0.0.1:81"
    assert address_of("ws://x/v1/ws") == "ws://x/v1/ws"
