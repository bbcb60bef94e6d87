"""Which owners forward for the visitors of a node, and which calls would bring that up to date."""

from __future__ import annotations

from services.access.placement.visits import Visits
from services.common.registry.contract import NodeIncarnation

A, B, A2 = (
    NodeIncarnation("access-0", "boot-a"),
    NodeIncarnation("access-1", "boot-b"),
    NodeIncarnation("access-0", "boot-a2"),
)


def test_a_visitor_is_announced_once_and_withdrawn_when_it_left() -> None:
    visits = Visits()
    wanted: dict[str, NodeIncarnation] = {"ann": A}
    assert visits.arrivals(["ann", "bob"], wanted.get) == {A: ["ann"]}
    visits.confirm(A, ["ann"])
    assert visits.arrivals(["ann"], wanted.get) == {}
    assert visits.departures(["ann"], wanted.get) == {}
    assert visits.due(["ann"], wanted.get) == []
    del wanted["ann"]
    assert visits.due(["ann"], wanted.get) == ["ann"]
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
    assert visits.departures(["ann", "bob"], {"ann": A2}.get) == {A: ["ann", "bob"]}, "it knows both still"
    visits.forget(lambda boot: boot != "boot-a")
    assert (visits.owner_of("ann"), visits.owner_of("bob")) == (A2, None)
    assert visits.departures(["ann"], {"ann": A2}.get) == {}
    visits.clear()
    assert len(visits) == 0


def test_who_came_back_to_an_owner_that_was_not_told_yet_is_not_withdrawn() -> None:
    visits = Visits()
    visits.confirm(A, ["ann"])
    visits.confirm(B, ["ann"])
    visits.confirm(A, ["ann"])
    assert visits.departures(["ann"], {"ann": A}.get) == {B: ["ann"]}
