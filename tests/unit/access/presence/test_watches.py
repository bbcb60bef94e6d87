"""Which connections watch which users."""

from __future__ import annotations

from services.access.presence.watches import Watches


def test_watches_begin_and_end_and_nothing_is_left_of_them() -> None:
    watches: Watches[str] = Watches(watched_max=3)
    assert watches.begin("one", ["a", "b", "a"]) == {"a", "b"}
    assert watches.begin("one", ["b", "c"]) == {"c"}
    assert watches.begin("two", ["a"]) == {"a"}
    assert (len(watches), "a" in watches, "z" in watches) == (3, True, False)
    assert list(watches.watchers_of("a")) == ["one", "two"]
    assert list(watches.watchers_of("z")) == []
    assert sorted(watches.of("one")) == ["a", "b", "c"]
    assert {connection: sorted(users) for connection, users in watches.all()} == {"one": ["a", "b", "c"], "two": ["a"]}
    assert watches.end("one", ["a", "z"]) == {"a"}
    assert watches.end("one", ["a"]) == set()
    assert watches.end("three", ["a"]) == set()
    assert list(watches.watchers_of("a")) == ["two"]
    assert watches.end_all("one") == {"b", "c"}
    assert watches.end_all("one") == set()
    assert watches.users() == ["a"]
    assert watches.end_all("two") == {"a"}
    assert (len(watches), watches.all(), list(watches.of("two"))) == (0, [], [])


def test_too_many_are_refused_and_change_nothing() -> None:
    watches: Watches[str] = Watches(watched_max=2)
    assert watches.begin("one", ["a", "b"]) is not None
    assert watches.begin("one", ["c"]) is None
    assert watches.begin("one", ["a"]) == set()
    assert sorted(watches.users()) == ["a", "b"]
    assert watches.begin("two", []) == set()
    assert [(connection, sorted(users)) for connection, users in watches.all()] == [("one", ["a", "b"])]
