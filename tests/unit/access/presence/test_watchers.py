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


def settled(watchers: PresenceWatchers[object], *users: str, hiding: tuple[str, ...] = ()) -> object:
    """A watcher who was answered about these users."""
    watcher = object()
    assert watchers.watch(watcher, users)
    assert watchers.answered(watcher, users, hiding) == []
    return watcher


def test_who_is_hidden_from_a_watcher_is_shown_to_the_others_alone() -> None:
    watchers: PresenceWatchers[object] = PresenceWatchers()
    one, two = settled(watchers, "bob", "cid", hiding=("bob",)), settled(watchers, "bob")
    assert watchers.shown_to("bob") == [two]
    assert watchers.shown_to("cid") == [one]
    assert list(watchers.watchers_of("bob")) == [one, two]
    assert (watchers.is_hidden(one, "bob"), watchers.is_hidden(two, "bob")) == (True, False)
    assert watchers.answered(one, ["bob"], []) == []
    assert watchers.shown_to("bob") == [one, two]


def test_nobody_is_shown_anything_before_the_first_answer() -> None:
    watchers: PresenceWatchers[object] = PresenceWatchers()
    watcher = object()
    watchers.watch(watcher, ["bob"])
    assert (watchers.shown_to("bob"), watchers.has_unsure("bob"), watchers.has_unsure("cid")) == ([], True, False)
    watchers.watch(watcher, ["bob"])
    watchers.answered(watcher, ["bob", "cid"], [])
    assert (watchers.shown_to("bob"), watchers.has_unsure("bob")) == ([watcher], False)
    watchers.watch(watcher, ["bob"])
    assert watchers.shown_to("bob") == [watcher]


def test_a_block_is_of_those_whom_it_concerns_and_told_once() -> None:
    watchers: PresenceWatchers[object] = PresenceWatchers()
    one, two = settled(watchers, "bob"), settled(watchers, "bob")
    assert watchers.block_changed("bob", lambda each: each is one, blocked=True) == [one]
    assert watchers.block_changed("bob", lambda each: each is one, blocked=True) == []
    assert watchers.shown_to("bob") == [two]
    assert watchers.block_changed("bob", lambda _: True, blocked=False) == [one]
    assert watchers.shown_to("bob") == [one, two]
    assert watchers.block_changed("cid", lambda _: True, blocked=True) == []


def test_news_that_overtake_the_answer_count_instead_of_it() -> None:
    watchers: PresenceWatchers[object] = PresenceWatchers()
    watcher = object()
    watchers.watch(watcher, ["bob", "cid", "dan"])
    assert watchers.block_changed("bob", lambda _: True, blocked=True) == []
    assert watchers.block_changed("cid", lambda _: True, blocked=False) == []
    assert watchers.block_changed("dan", lambda _: True, blocked=True) == []
    assert watchers.answered(watcher, ["bob", "cid", "dan"], ["cid", "dan"]) == ["bob", "cid"]
    assert [watchers.is_hidden(watcher, user) for user in ("bob", "cid", "dan")] == [True, False, True]


def test_what_is_hidden_is_forgotten_with_the_watch() -> None:
    watchers: PresenceWatchers[object] = PresenceWatchers()
    one, two = settled(watchers, "bob", hiding=("bob",)), settled(watchers, "bob", hiding=("bob",))
    assert sorted(users for _, users in watchers.watches()) == [["bob"], ["bob"]]
    watchers.unwatch(one, ["bob"])
    watchers.forget(two)
    assert watchers.watches() == []
    for watcher in (one, two):
        assert not watchers.is_hidden(watcher, "bob")
    three = object()
    watchers.watch(three, ["bob"])
    watchers.unwatch(three, ["bob"])
    assert not watchers.has_unsure("bob")
