"""The fold of a log, and the checker that compares pages with it: a good history passes, each harm is seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support.histories.checker import check
from tests.support.histories.folding import fold
from tests.support.histories.history import (
    UNCHANGED,
    Acknowledged,
    Change,
    Event,
    History,
    Inbox,
    Posted,
    Read,
    Received,
    State,
    Stored,
)

G = "g:x"
LIKED = State(4, is_edited=True, reactions=(("👍", 2, ("ann", "bob")),))
RECALLED = State(6, recalled_by="ann")


def message(seq: int, body: str, state: State = UNCHANGED) -> Stored:
    return Stored(G, seq, f"id-{seq}", "ann", f"c{seq}", body, state=state)


def change(seq: int, sender: str, what: Change, state: State, body: str = "") -> Stored:
    return Stored(G, seq, f"id-{seq}", sender, f"c{seq}", body, change=what, state=state)


REACTED = Change("reacted", 1, reacted=(("ann", "👍", True), ("bob", "👍", True)))
LOG = (
    message(1, "better", LIKED),
    message(2, "", RECALLED),
    change(3, "ann", Change("edit", 1), LIKED),
    change(4, "bob", REACTED, LIKED),
    change(5, "ann", Change("edit", 2), RECALLED),
    change(6, "ann", Change("recall", 2), RECALLED),
)
POSTED: list[Event] = [
    Posted("a", 1, "ann", G, "c1", "first"),
    Posted("a", 2, "ann", G, "c2", "second"),
    Posted("a", 3, "ann", G, "c3", change=Change("edit", 1, "better")),
    Posted("a", 5, "ann", G, "c5", change=Change("edit", 2, "no")),
    Posted("a", 6, "ann", G, "c6", change=Change("recall", 2)),
    Posted("a", 7, "ann", G, "c7", change=Change("react", 1, reacted=(("ann", "👍", True),))),
    Posted("b", 1, "bob", G, "d1", change=Change("react", 1, reacted=(("bob", "👍", True),))),
    Acknowledged("a", 7, "ann", G, "c7", 0, "", 1, duplicate=False),
    Acknowledged("b", 1, "bob", G, "d1", 4, "id-4", 1, duplicate=False),
]
EDITED = State(3, is_edited=True)
LIVE = [
    Received("bob", "web", 3, change(3, "ann", Change("edit", 1), EDITED, "better")),
    Received("bob", "web", 4, change(4, "bob", REACTED, LIKED)),
]
GOOD: list[Event] = [
    *POSTED,
    *LIVE,
    Read("bob", G, LOG),
    Inbox("bob", "web", 6, tuple(enumerate((*LOG[:2], replace(LOG[2], body="better"), *LOG[3:]), start=1))),
]
Harm = Callable[[list[Event]], None]


def shows(seq: int, **other: object) -> Harm:
    """The reader sees this instead."""

    def harm(events: list[Event]) -> None:
        seen = tuple(replace(each, **other) if each.seq == seq else each for each in LOG)  # type: ignore[arg-type]
        events[events.index(Read("bob", G, LOG))] = Read("bob", G, seen)

    return harm


def both(state: State) -> Harm:
    """All who read see this of the first message."""

    def harm(events: list[Event]) -> None:
        for index, event in enumerate(events):
            if isinstance(event, Read):
                seen = tuple(replace(each, state=state) if each.state == LIKED else each for each in event.messages)
                events[index] = replace(event, messages=seen)
            elif isinstance(event, Inbox):
                entries = ((number, each) for number, each in event.entries)
                inbox = tuple(
                    (number, replace(each, state=state) if each.state == LIKED else each) for number, each in entries
                )
                events[index] = replace(event, entries=inbox)

    return harm


def came(state: State) -> Harm:
    def harm(events: list[Event]) -> None:
        event = LIVE[1]
        events[events.index(event)] = replace(event, message=replace(event.message, state=state))

    return harm


HARMS: dict[str, Harm] = {
    "an edit is lost": shows(1, body="first"),
    "an edit is not in the state": shows(1, state=replace(LIKED, is_edited=False)),
    "a reaction is counted twice": both(replace(LIKED, reactions=(("👍", 3, ("ann", "bob")),))),
    "a reaction is lost": both(replace(LIKED, reactions=(("👍", 1, ("ann",)),))),
    "somebody is said to have reacted who has not": both(replace(LIKED, reactions=(("👍", 2, ("ann", "eve")),))),
    "two readers see different reactions": shows(1, state=replace(LIKED, reactions=())),
    "a change is missing in the revision": shows(1, state=replace(LIKED, revision=3)),
    "an older edit undoes a recall": shows(2, body="no", state=State(5, is_edited=True)),
    "a recalled message has its text": shows(2, body="second"),
    "the edit of a recalled message has its text": shows(5, body="no"),
    "a change shows another state than its target": shows(3, state=EDITED),
    "a change came with a state that never was": came(replace(LIKED, is_pinned=True)),
}


def test_changes_in_the_order_of_the_log_make_the_state() -> None:
    texts = {("ann", "c1"): "first", ("ann", "c3"): "better", ("ann", "c2"): "second"}
    folded = fold(LOG, texts)
    liked = replace(LIKED, reactions=())
    assert (folded[1].body, folded[1].state, folded[2].body, folded[2].state) == ("better", liked, "", RECALLED)
    before = fold(LOG, texts, upto=3)
    assert (before[1].state, before[2].body) == (EDITED, "second")


def test_a_history_of_changes_in_which_all_was_kept_has_no_violation() -> None:
    assert check(History(list(GOOD))) == []


@pytest.mark.parametrize("name", HARMS)
def test_every_kind_of_harm_to_changes_is_seen(name: str) -> None:
    events = list(GOOD)
    HARMS[name](events)
    assert "G11" in {violation.promise for violation in check(History(events))}
