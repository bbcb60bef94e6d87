"""Notices and messages: which is given next."""

from __future__ import annotations

from tidings import Link, LinkState, Presence, StreamGrew
from tidings.core.messages.notices import AHEAD_MAX, NOTICES_MAX, Notices


def _presence(number: int) -> Presence:
    return Presence(f"u{number}", True)


def test_what_came_first_is_given_first() -> None:
    notices = Notices()
    notices.came(_presence(1), 0)
    notices.came(_presence(2), 1)  # after a message
    assert notices.take(1) == _presence(1)
    assert notices.take(1) is None
    notices.message_taken()
    assert notices.take(0) == _presence(2)


def test_a_message_that_waits_is_passed_by_a_few_at_most() -> None:
    notices = Notices()
    for number in range(100):
        notices.came(_presence(number), 0)
    given = [notices.take(1) for _ in range(AHEAD_MAX + 1)]
    assert given == [*map(_presence, range(AHEAD_MAX)), None]
    notices.message_taken()
    assert notices.take(1) == _presence(AHEAD_MAX)


def test_without_a_message_nothing_holds_them_up_and_the_oldest_are_let_go() -> None:
    notices = Notices()
    for number in range(NOTICES_MAX + 5):
        notices.came(_presence(number), 0)
    given = [notices.take(0) for _ in range(NOTICES_MAX)]
    assert given[0] == _presence(5)
    assert notices.take(0) is None


def test_what_a_stream_grew_by_while_nobody_asked_is_one_notice() -> None:
    notices = Notices()
    notices.came(StreamGrew("g:1", 1, 1, "a"), 0)
    notices.came(StreamGrew("g:1", 2, 1, "x"), 0)
    notices.came(StreamGrew("g:1", 1, 2, "b"), 0)
    notices.came(Link(LinkState.ONLINE), 0)
    notices.came(StreamGrew("g:1", 1, 3, "c"), 0)
    assert [notices.take(0) for _ in range(4)] == [
        StreamGrew("g:1", 2, 1, "x"),
        Link(LinkState.ONLINE),
        StreamGrew("g:1", 1, 3, "abc"),
        None,
    ]
    notices.came(StreamGrew("g:1", 1, 4, "d"), 0)
    notices.came(StreamGrew("g:1", 1, 6, ""), 0)  # it was read again
    notices.came(StreamGrew("g:1", 1, 7, "e"), 0)
    assert notices.take(0) == StreamGrew("g:1", 1, 7, "")
