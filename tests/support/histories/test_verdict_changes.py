"""The verdict on runs in which messages are changed: a good one passes, each kind of harm is counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.support.histories import record
from tests.support.histories.record import (
    UNCHANGED,
    Acknowledged,
    Change,
    Event,
    Inbox,
    Kept,
    Member,
    Posted,
    Read,
    Refused,
    Shown,
    State,
    Stored,
)
from tests.support.histories.verdict import COUNTS, REACTS_MAX, judge

CHAT = "d:ann|bob"
FIRST = State(6, is_edited=True, reactions=(("+1", 1, ("bob",)),))
RECALLED = State(7, recalled_by="ann")


def entry(
    seq: int,
    sender: str,
    body: str = "",
    change: Change | None = None,
    state: State = UNCHANGED,
    key: str | None = None,
) -> Stored:
    client_id = f"c{seq}" if key is None else key
    return Stored(CHAT, seq, f"id-{seq}", sender, client_id, body, change=change, state=state)


FIRST_EDIT, SECOND_EDIT = Change("edit", 1), Change("edit", 1)
REACTED = Change("reacted", 1)
LOG = (
    entry(1, "ann", "better", state=FIRST),
    entry(2, "ann", state=RECALLED),
    entry(3, "ann", "third"),
    entry(4, "ann", change=FIRST_EDIT, state=FIRST),
    entry(5, "bob", change=REACTED, state=FIRST, key=""),
    entry(6, "ann", change=SECOND_EDIT, state=FIRST),
    entry(7, "ann", change=Change("recall", 2), state=RECALLED),
)
# What came live: each with the state of then.
THEN = (
    entry(1, "ann", "first"),
    entry(2, "ann", "second"),
    entry(3, "ann", "third"),
    entry(4, "ann", "good", FIRST_EDIT, State(4, is_edited=True)),
    replace(LOG[4], state=replace(FIRST, revision=5)),
    entry(6, "ann", "better", SECOND_EDIT, FIRST),
    LOG[6],
)
ASKED = {
    1: ("first", None),
    2: ("second", None),
    3: ("third", None),
    4: ("good", FIRST_EDIT),
    6: ("better", SECOND_EDIT),
    7: ("", Change("recall", 2)),
}
REACT = Posted(4.5, "bob", "web", 1, CHAT, "r1", "", Change("react", 1, "+1"))


def shown(user: str, device: str, seq: int) -> Shown:
    return Shown(seq + 0.5, user, device, THEN[seq - 1])


def good() -> list[Event]:
    """Ann sends three messages to Bob, edits the first twice, takes back the second; Bob reacts to the first."""
    events: list[Event] = []
    for order, (seq, (text, change)) in enumerate(ASKED.items(), start=1):
        events.append(Posted(float(seq), "ann", "phone", order, CHAT, f"c{seq}", text, change))
        events.append(
            Acknowledged(seq + 0.1, "ann", "phone", order, CHAT, f"c{seq}", seq, f"id-{seq}", 1, duplicate=False)
        )
    events += [REACT, Acknowledged(4.6, "bob", "web", 1, CHAT, "r1", 0, "id-r", 1, duplicate=False)]
    events += [shown("bob", "web", seq) for seq in range(1, 8)]
    events += [shown("ann", "phone", seq) for seq in range(4, 8)]
    events += [
        Read("ann", CHAT, LOG),
        Inbox("bob", "web", 7, tuple(enumerate(LOG, start=1))),
        Member(CHAT, "ann", ("phone",)),
        Member(CHAT, "bob", ("web",)),
    ]
    return [*events, *(Kept(user, device, CHAT, LOG[:3]) for user, device in (("ann", "phone"), ("bob", "web")))]


Harm = Callable[[list[Event]], list[Event]]


def read(seq: int, other: Stored) -> Harm:
    """A reader sees this at that place in the end."""

    def harm(events: list[Event]) -> list[Event]:
        seen = tuple(other if each.seq == seq else each for each in LOG)
        return [replace(event, messages=seen) if isinstance(event, Read) else event for event in events]

    return harm


def in_all_pages(seq: int, other: Stored) -> Harm:
    def harm(events: list[Event]) -> list[Event]:
        seen = tuple(other if each.seq == seq else each for each in LOG)
        inbox = Inbox("bob", "web", 7, tuple(enumerate(seen, start=1)))
        return [inbox if isinstance(event, Inbox) else event for event in read(seq, other)(events)]

    return harm


def kept(seq: int, other: Stored) -> Harm:
    def harm(events: list[Event]) -> list[Event]:
        seen = tuple(other if each.seq == seq else each for each in LOG[:3])
        return [replace(event, messages=seen) if isinstance(event, Kept) else event for event in events]

    return harm


def refused(change: Change, code: str) -> Harm:
    """One more change was asked for by Ann, and refused."""
    asked = Posted(8.0, "ann", "phone", 9, CHAT, "c9", "too late" if change.what == "edit" else "", change)
    return lambda events: [*events, asked, Refused(8.1, "ann", "phone", "c9", code)]


def without(gone: Event) -> Harm:
    return lambda events: [event for event in events if event != gone]


def shown_again(events: list[Event]) -> list[Event]:
    return [*events, shown("bob", "web", 6)]


def shown_late(events: list[Event]) -> list[Event]:
    first, second = events.index(shown("bob", "web", 5)), events.index(shown("bob", "web", 6))
    events[first], events[second] = events[second], events[first]
    return events


def without_the_recall(events: list[Event]) -> list[Event]:
    """The recall is in no page, and nothing came of it."""
    second = entry(2, "ann", "second")
    log = (LOG[0], second, *LOG[2:6])
    found: list[Event] = []
    for event in events:
        match event:
            case Read():
                found.append(replace(event, messages=log))
            case Inbox():
                found.append(Inbox("bob", "web", 6, tuple(enumerate(log, start=1))))
            case Kept():
                found.append(replace(event, messages=log[:3]))
            case Shown() if event.message.seq == 7:
                pass
            case _:
                found.append(event)
    return found


LOST_EDIT = replace(LOG[0], body="first")
HARMS: dict[str, tuple[str, Harm]] = {
    "an acknowledged change is gone": ("lost", without_the_recall),
    "an edit is lost": ("disagreeing", in_all_pages(1, LOST_EDIT)),
    "two readers see different texts": ("disagreeing", read(1, LOST_EDIT)),
    "two readers see different reactions": (
        "disagreeing",
        read(1, replace(LOG[0], state=replace(FIRST, reactions=()))),
    ),
    "a reaction is lost": ("disagreeing", in_all_pages(1, replace(LOG[0], state=replace(FIRST, reactions=())))),
    "a recalled message has its text": ("disagreeing", in_all_pages(2, replace(LOG[1], body="second"))),
    "a recall is undone": ("disagreeing", in_all_pages(2, entry(2, "ann", "second"))),
    "the overtaken edit has its text": ("disagreeing", in_all_pages(4, replace(LOG[3], body="good"))),
    "a device has the text before the edit": ("disagreeing", kept(1, LOST_EDIT)),
    "a device has a state of before": ("disagreeing", kept(1, replace(LOG[0], state=replace(FIRST, revision=5)))),
    "a device has what was recalled": ("disagreeing", kept(2, entry(2, "ann", "second"))),
    "a change came with a state that never was": (
        "disagreeing",
        lambda events: [
            replace(event, message=replace(event.message, state=replace(FIRST, is_pinned=True)))
            if event == shown("bob", "web", 6)
            else event
            for event in events
        ],
    ),
    "a device was never shown the newest edit": ("missing", without(shown("bob", "web", 6))),
    "a device was never shown a recall": ("missing", without(shown("bob", "web", 7))),
    "a device was never shown what it did itself": ("missing", without(shown("ann", "phone", 7))),
    "a change is shown twice": ("duplicated", shown_again),
    "changes are shown out of order": ("disordered", shown_late),
    "an edit is refused though nobody recalled": ("disagreeing", refused(Change("edit", 3), "FORBIDDEN")),
    "a change is refused though its message is there": ("disagreeing", refused(Change("react", 1, "+1"), "NOT_FOUND")),
    "a recall of an own message is refused": ("disagreeing", refused(Change("recall", 2), "FORBIDDEN")),
    "a pin is refused though few are": ("disagreeing", refused(Change("pin", 3), "BAD_REQUEST")),
}


def test_a_run_with_changes_in_which_all_was_kept_is_clean() -> None:
    verdict = judge(good())
    assert verdict.findings == []
    assert verdict.counts == dict.fromkeys(COUNTS, 0)
    assert (verdict.posted, verdict.changes, verdict.refused) == (7, 4, 0)


@pytest.mark.parametrize("name", HARMS)
def test_every_kind_of_harm_to_changes_is_counted(name: str) -> None:
    kind, harm = HARMS[name]
    assert judge(harm(good())).counts[kind] > 0


def test_an_edit_that_was_overtaken_need_not_be_shown() -> None:
    events = good()
    passed_over = [shown(user, device, 4) for user, device in (("bob", "web"), ("ann", "phone"))]
    assert judge([event for event in events if event not in passed_over]).clean


@pytest.mark.parametrize("change", [Change("edit", 2), Change("react", 2, "+1"), Change("pin", 2)])
def test_what_others_took_back_meanwhile_may_be_refused(change: Change) -> None:
    verdict = judge(refused(change, "FORBIDDEN")(good()))
    assert verdict.clean
    assert verdict.refused == 1


def test_who_reacts_again_and_again_is_refused_at_last() -> None:
    again: list[Event] = [
        Posted(9.0 + number, "bob", "web", 2 + number, CHAT, f"again{number}", "", Change("react", 1, "+1"))
        for number in range(REACTS_MAX)
    ]
    last = Refused(99.0, "bob", "web", f"again{REACTS_MAX - 1}", "BAD_REQUEST")
    assert judge([*good(), *again, last]).clean


def test_who_joined_late_need_not_be_shown_changes_of_what_was_before() -> None:
    late = Member(CHAT, "eve", ("phone",), since=2.5)
    third = Shown(3.4, "eve", "phone", THEN[2])
    assert judge([*good(), late, third]).clean
    assert judge([*good(), late]).counts["missing"] == 1


def test_histories_with_changes_come_back_from_their_file(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    events = [*good(), Refused(1.0, "ann", "phone", "c9", "FORBIDDEN")]
    record.write(file, events)
    assert list(record.read(file)) == events
