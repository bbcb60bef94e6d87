"""Who watches whose profile, and which version they are shown."""

from __future__ import annotations

from services.access.presence.profile_watchers import ProfileWatchers


def test_a_version_is_shown_once_and_none_after_a_later_one() -> None:
    watchers: ProfileWatchers[object] = ProfileWatchers()
    one, two = object(), object()
    assert watchers.changed("bob", 1) == ()
    assert watchers.watch(one, ["bob"])
    assert watchers.watch(two, ["bob", "cid"])
    assert watchers.changed("bob", 2) == [one, two]
    assert watchers.changed("bob", 2) == ()
    assert watchers.changed("bob", 1) == ()
    assert watchers.changed("bob", 3) == [one, two]
    assert watchers.changed("bob", 0) == [one, two]
    assert watchers.changed("bob", 1) == [one, two]
    assert sorted(watchers.users()) == ["bob", "cid"]


def test_the_limit_is_of_one_connection_and_counts_each_user_once() -> None:
    watchers: ProfileWatchers[object] = ProfileWatchers(watched_max=2)
    one, two = object(), object()
    assert watchers.watch(one, ["a", "b", "a"])
    assert watchers.watch(one, ["a"])
    assert not watchers.watch(one, ["c"])
    assert watchers.watch(two, ["c"])
    watchers.unwatch(one, ["a", "z"])
    watchers.unwatch(object(), ["b"])
    assert watchers.watch(one, ["c"])
    assert watchers.changed("c", 1) == [two, one]


def test_nothing_is_left_of_a_connection_that_ended() -> None:
    watchers: ProfileWatchers[object] = ProfileWatchers()
    one = object()
    watchers.watch(one, ["a", "b"])
    watchers.changed("a", 5)
    watchers.forget(one)
    watchers.forget(one)
    assert len(watchers) == 0
    watchers.watch(one, ["a"])
    assert watchers.changed("a", 1) == [one]
    watchers.unwatch(one, ["a"])
    assert len(watchers) == 0
