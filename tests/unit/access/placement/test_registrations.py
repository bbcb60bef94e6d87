"""Which owners forward for the visitors of a node, and which calls would bring that up to date."""

from __future__ import annotations

from services.access.placement.registrations import OwnerRegistrations
from services.common.registry.contract import NodeIncarnation

A, B, A2 = (
    NodeIncarnation("access-0", "boot-a"),
    NodeIncarnation("access-1", "boot-b"),
    NodeIncarnation("access-0", "boot-a2"),
)


def test_a_visitor_is_announced_once_and_withdrawn_when_it_left() -> None:
    registrations = OwnerRegistrations()
    wanted: dict[str, NodeIncarnation] = {"ann": A}
    assert registrations.arrivals(["ann", "bob"], wanted.get) == {A: ["ann"]}
    registrations.confirm(A, ["ann"])
    assert registrations.arrivals(["ann"], wanted.get) == {}
    assert registrations.departures(["ann"], wanted.get) == {}
    assert registrations.due(["ann"], wanted.get) == []
    del wanted["ann"]
    assert registrations.due(["ann"], wanted.get) == ["ann"]
    assert registrations.departures(["ann"], wanted.get) == {A: ["ann"]}
    registrations.released(A, ["ann"])
    assert registrations.departures(["ann"], wanted.get) == {}
    assert len(registrations) == 0


def test_a_new_owner_confirms_before_the_old_one_is_told() -> None:
    registrations = OwnerRegistrations()
    registrations.confirm(A, ["ann"])
    wanted = {"ann": B}
    assert registrations.departures(["ann"], wanted.get) == {}
    assert registrations.arrivals(["ann"], wanted.get) == {B: ["ann"]}
    registrations.confirm(B, ["ann"])
    assert registrations.departures(["ann"], wanted.get) == {A: ["ann"]}
    registrations.released(A, ["ann"])
    assert registrations.owner_of("ann") == B
    assert registrations.departures(["ann"], wanted.get) == {}


def test_an_owner_that_started_again_is_another_one_and_the_dead_boot_is_forgotten() -> None:
    registrations = OwnerRegistrations()
    registrations.confirm(A, ["ann", "bob"])
    assert registrations.arrivals(["ann"], {"ann": A2}.get) == {A2: ["ann"]}
    registrations.confirm(A2, ["ann"])
    assert registrations.departures(["ann", "bob"], {"ann": A2}.get) == {A: ["ann", "bob"]}, "it knows both still"
    registrations.forget(lambda boot: boot != "boot-a")
    assert (registrations.owner_of("ann"), registrations.owner_of("bob")) == (A2, None)
    assert registrations.departures(["ann"], {"ann": A2}.get) == {}
    registrations.clear()
    assert len(registrations) == 0


def test_who_came_back_to_an_owner_that_was_not_told_yet_is_not_withdrawn() -> None:
    registrations = OwnerRegistrations()
    registrations.confirm(A, ["ann"])
    registrations.confirm(B, ["ann"])
    registrations.confirm(A, ["ann"])
    assert registrations.departures(["ann"], {"ann": A}.get) == {B: ["ann"]}
