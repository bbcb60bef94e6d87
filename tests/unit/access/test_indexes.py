"""Who is connected, who visits whom, who watches whom."""

from __future__ import annotations

from services.access.connection.hub import Hub
from services.access.placement.registrations import Guests, Host, Visits
from services.access.presence.watchers import Verdict, Watches

A, B, A2 = Host("access-0", "boot-a"), Host("access-1", "boot-b"), Host("access-0", "boot-a2")


# ---- the hub


def test_the_first_and_the_last_connection_of_a_user_are_told() -> None:
    hub: Hub[object] = Hub()
    one, two = object(), object()
    assert hub.add("ann", one)
    assert not hub.add("ann", two)
    assert hub.connections_of("ann") == (one, two)
    assert not hub.remove("ann", one)
    assert hub.remove("ann", two)
    assert not hub.remove("ann", two)
    assert "ann" not in hub
    assert len(hub) == 0


def test_readers_of_a_large_group_are_users_that_are_here() -> None:
    hub: Hub[object] = Hub()
    connection = object()
    hub.join("g:1", "ann")
    assert list(hub.readers("g:1")) == []
    hub.add("ann", connection)
    hub.join("g:1", "ann")
    hub.join("g:2", "ann")
    assert list(hub.readers("g:1")) == ["ann"]
    hub.leave("g:1", "ann")
    hub.leave("g:1", "ann")
    assert list(hub.readers("g:1")) == []
    assert list(hub.groups_of("ann")) == ["g:2"]
    hub.remove("ann", connection)
    assert hub.group_count == 0
    assert list(hub.groups_of("ann")) == []


# ---- the host's side


def test_a_visitor_is_announced_once_and_withdrawn_when_it_left() -> None:
    visits = Visits()
    wanted: dict[str, Host] = {"ann": A}
    assert visits.arrivals(["ann", "bob"], wanted.get) == {A: ["ann"]}
    visits.confirm(A, ["ann"])
    assert visits.arrivals(["ann"], wanted.get) == {}
    assert visits.departures(["ann"], wanted.get) == {}
    assert visits.unsettled(["ann"], wanted.get) == []
    del wanted["ann"]
    assert visits.unsettled(["ann"], wanted.get) == ["ann"]
    assert visits.departures(["ann"], wanted.get) == {A: ["ann"]}
    visits.released(A, ["ann"])
    assert visits.departures(["ann"], wanted.get) == {}
    assert len(visits) == 0


def test_a_new_owner_confirms_before_the_old_one_is_told() -> None:
    visits = Visits()
    visits.confirm(A, ["ann"])
    wanted = {"ann": B}
    assert visits.departures(["ann"], wanted.get) == {}
    assert visits.arrivals(["ann"], wanted.get) == {B: ["ann"]}
    visits.confirm(B, ["ann"])
    assert visits.departures(["ann"], wanted.get) == {A: ["ann"]}
    visits.released(A, ["ann"])
    assert visits.owner_of("ann") == B
    assert visits.departures(["ann"], wanted.get) == {}


def test_an_owner_that_started_again_is_another_one_and_the_dead_boot_is_forgotten() -> None:
    visits = Visits()
    visits.confirm(A, ["ann", "bob"])
    assert visits.arrivals(["ann"], {"ann": A2}.get) == {A2: ["ann"]}
    visits.confirm(A2, ["ann"])
    assert sorted(visits.known()) == ["ann", "bob"]
    assert visits.forget(lambda boot: boot != "boot-a") == ["bob"]
    assert visits.departures(["ann"], {"ann": A2}.get) == {}
    visits.clear()
    assert len(visits) == 0


def test_who_came_back_to_an_owner_that_was_not_told_yet_is_not_withdrawn() -> None:
    visits = Visits()
    visits.confirm(A, ["ann"])
    visits.confirm(B, ["ann"])
    visits.confirm(A, ["ann"])
    assert visits.departures(["ann"], {"ann": A}.get) == {B: ["ann"]}


# ---- the owner's side


def test_an_owner_forwards_to_every_host_of_a_user() -> None:
    guests = Guests()
    guests.arrive(A, ["ann"])
    guests.arrive(A, ["ann"])
    guests.arrive(B, ["ann", "bob"])
    assert guests.hosts_of("ann") == (A, B)
    guests.leave(A, ["ann", "cid"])
    assert guests.hosts_of("ann") == (B,)
    guests.keep(lambda boot: boot != "boot-b")
    assert guests.hosts_of("ann") == ()
    assert len(guests) == 0


# ---- presence


def test_a_session_that_begins_is_told_and_one_that_ends_is_asked_about() -> None:
    watches: Watches[object] = Watches()
    watcher = object()
    assert watches.session_changed("bob", up=True) is Verdict.NOTHING
    assert watches.watch(watcher, ["bob"])
    assert not watches.learn("bob", online=False)
    assert watches.session_changed("bob", up=True) is Verdict.TELL
    assert watches.session_changed("bob", up=True) is Verdict.NOTHING
    assert watches.session_changed("bob", up=False) is Verdict.ASK
    assert not watches.learn("bob", online=True)
    assert watches.learn("bob", online=False)
    assert watches.online() == []


def test_the_limit_of_watches_is_of_one_connection_and_counts_each_user_once() -> None:
    watches: Watches[object] = Watches(watched_max=2)
    one, two = object(), object()
    assert watches.watch(one, ["a", "b", "a"])
    assert watches.watch(one, ["a"])
    assert not watches.watch(one, ["c"])
    assert watches.watch(two, ["c"])
    watches.unwatch(one, ["a", "z"])
    watches.unwatch(two, ["z"])
    assert watches.watch(one, ["c"])
    assert list(watches.watchers("c")) == [two, one]


def test_nothing_is_left_of_a_connection_that_ended() -> None:
    watches: Watches[object] = Watches()
    one = object()
    watches.watch(one, ["a", "b"])
    watches.forget(one)
    watches.forget(one)
    assert len(watches) == 0
    assert list(watches.watchers("a")) == []
    assert not watches.learn("a", online=True)
