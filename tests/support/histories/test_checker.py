"""The checker: a good history passes, and each kind of harm is seen as a breach of its promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support.histories.checker import check
from tests.support.histories.history import (
    Acknowledged,
    Changed,
    Dismissed,
    Event,
    History,
    Inbox,
    Member,
    Posted,
    Read,
    Received,
    Stored,
    Told,
)

CHAT = "d:ann|bob"


def message(seq: int) -> Stored:
    return Stored(CHAT, seq, f"id-{seq}", "ann", f"c{seq}", f"text {seq}")


def acknowledged(seq: int) -> Acknowledged:
    return Acknowledged("ann/1", seq, "ann", CHAT, f"c{seq}", seq, f"id-{seq}", 1, duplicate=False)


MESSAGES = tuple(message(seq) for seq in (1, 2, 3))
ENTRIES = tuple((seq, message(seq)) for seq in (1, 2, 3))
GOOD: list[Event] = [
    *(Posted("ann/1", seq, "ann", CHAT, f"c{seq}", f"text {seq}") for seq in (1, 2, 3)),
    *(acknowledged(seq) for seq in (1, 2, 3)),
    *(Received("bob", device, seq, message(seq)) for device in ("phone", "web") for seq in (1, 2, 3)),
    Read("ann", CHAT, MESSAGES),
    Read("bob", CHAT, MESSAGES),
    Inbox("bob", "phone", 3, ENTRIES),
    Inbox("bob", "web", 3, ENTRIES),
    Member(CHAT, "ann", ("phone",)),
    Member(CHAT, "bob", ("phone", "web")),
    *(Told(CHAT, seq=seq) for seq in (1, 2, 3)),
    *(Changed("g:x", "add", "ann", ("bob",)) for _ in range(2)),
    *(Told("g:x", act="add", by="ann", users=("bob",)) for _ in range(3)),
]
Harm = Callable[[list[Event]], None]


def swap(old: Event, new: Event) -> Harm:
    def harm(events: list[Event]) -> None:
        events[events.index(old)] = new

    return harm


def drop(event: Event) -> Harm:
    return lambda events: events.remove(event)


def lose_the_last(events: list[Event]) -> None:
    for event in list(events):
        if isinstance(event, Read):
            swap(event, replace(event, messages=MESSAGES[:2]))(events)


def doubled(events: list[Event]) -> None:
    again = replace(message(3), client_id="c1")
    for event in list(events):
        if isinstance(event, Read):
            swap(event, replace(event, messages=(*MESSAGES[:2], again)))(events)


HARMS: dict[str, tuple[str, Harm]] = {
    "an acknowledged message is gone": ("G1", lose_the_last),
    "another message is at the acknowledged number": ("G1", swap(acknowledged(2), replace(acknowledged(2), seq=1))),
    "an acknowledgement has no id": ("G2", swap(acknowledged(2), replace(acknowledged(2), message_id=""))),
    "an acknowledgement has no time": ("G2", swap(acknowledged(2), replace(acknowledged(2), time_ms=0))),
    "a retry is acknowledged with another number": (
        "G3",
        lambda events: events.append(replace(acknowledged(1), seq=2, duplicate=True)),
    ),
    "a message is stored twice": ("G3", doubled),
    "a number is missing": (
        "G4",
        swap(Read("bob", CHAT, MESSAGES), Read("bob", CHAT, (MESSAGES[0], MESSAGES[2]))),
    ),
    "two readers see different messages at one number": (
        "G4",
        swap(Read("bob", CHAT, MESSAGES), Read("bob", CHAT, (*MESSAGES[:2], replace(MESSAGES[2], sender="bob")))),
    ),
    "two readers see different texts at one number": (
        "G11",
        swap(Read("bob", CHAT, MESSAGES), Read("bob", CHAT, (*MESSAGES[:2], replace(MESSAGES[2], body="other")))),
    ),
    "another text came live": (
        "G11",
        swap(Received("bob", "web", 2, message(2)), Received("bob", "web", 2, replace(message(2), body="other"))),
    ),
    "what came live was another message": (
        "G4",
        swap(Received("bob", "web", 2, message(2)), Received("bob", "web", 2, replace(message(2), message_id="id-9"))),
    ),
    "a connection's sends are stored out of order": (
        "G4",
        lambda events: events.insert(0, events.pop(events.index(Posted("ann/1", 3, "ann", CHAT, "c3", "text 3")))),
    ),
    "a device never got a message": ("G5", drop(Received("bob", "web", 2, message(2)))),
    "a device is told on its only connection that another is newer": (
        "newest wins",
        lambda events: events.append(Dismissed("bob", "web", "bob/web/1")),
    ),
    "an inbox has a hole": (
        "G5",
        swap(Inbox("bob", "web", 3, ENTRIES), Inbox("bob", "web", 3, (ENTRIES[0], ENTRIES[2]))),
    ),
    "an inbox has a message twice": (
        "G5",
        swap(Inbox("bob", "web", 3, ENTRIES), Inbox("bob", "web", 4, (*ENTRIES, (4, message(1))))),
    ),
    "no event tells of an acknowledged message": ("EV", drop(Told(CHAT, seq=2))),
    "a change is told less often than it was answered": (
        "EV",
        lambda events: events.append(Changed("g:x", "remove", "ann", ("bob",))),
    ),
    "a delivered number is of another message": (
        "G5",
        swap(Received("bob", "web", 2, message(2)), Received("bob", "web", 3, message(2))),
    ),
}


def test_a_history_in_which_all_was_kept_has_no_violation() -> None:
    assert check(History(list(GOOD)), hears_events=True) == []


@pytest.mark.parametrize("name", HARMS)
def test_every_kind_of_harm_is_seen(name: str) -> None:
    promise, harm = HARMS[name]
    events = list(GOOD)
    harm(events)
    assert promise in {violation.promise for violation in check(History(events), hears_events=True)}
