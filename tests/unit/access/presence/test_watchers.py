"""Who watches whom, and when the watchers are shown something."""

from __future__ import annotations

from services.access.presence.watchers import Followup, PresenceWatchers


def test_a_session_that_begins_is_told_and_one_that_ends_is_asked_about() -> None:
    watchers: PresenceWatchers[object] = PresenceWatchers()
    watcher = object()
    assert watchers.session_changed("bob", up=True) is Followup.NOTHING
    assert watchers.watch(watcher, ["bob"])
    assert not watchers.learn("bob", online=False)
    assert watchers.session_changed("bob", up=True) is Followup.TELL
    assert watchers.session_changed("bob", up=True) is Followup.NOTHING
    assert watchers.session_changed("bob", up=False) is Followup.ASK
    assert not watchers.learn("bob", online=True)
    assert watchers.learn("bob", online=False)
    assert watchers.online() == []


def test_the_limit_of_watchers_is_of_one_connection_and_counts_each_user_once() -> None:
    watchers: PresenceWatchers[object] = PresenceWatchers(watched_max=2)
    one, two = object(), object()
    assert watchers.watch(one, ["a", "b", "a"])
    assert watchers.watch(one, ["a"])
    assert not watchers.watch(one, ["c"])
    assert watchers.watch(two, ["c"])
    watchers.unwatch(one, ["a", "z"])
    watchers.unwatch(two, ["z"])
    assert watchers.watch(one, ["c"])
    assert list(watchers.watchers_of("c")) == [two, one]


def test_nothing_is_left_of_a_connection_that_ended() -> None:
    watchers: PresenceWatchers[object] = PresenceWatchers()
    one = object()
    watchers.watch(one, ["a", "b"])
    watchers.forget(one)
    watchers.forget(one)
    assert len(watchers) == 0
    assert list(watchers.watchers_of("a")) == []
    assert not watchers.learn("a", online=True)
