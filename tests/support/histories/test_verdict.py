"""The verdict: a good run passes, and each kind of harm is seen and counted under its own name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.histories import record
from tests.support.histories.record import (
    Acknowledged,
    Back,
    Ended,
    Event,
    GaveUp,
    Inbox,
    Member,
    Posted,
    Read,
    Shown,
    Stored,
)
from tests.support.histories.verdict import COUNTS, judge

CHAT = "d:ann|bob"


def message(seq: int, *, client_id: str = "", body: str = "hi") -> Stored:
    return Stored(CHAT, seq, f"id-{seq}", "ann", client_id or f"c{seq}", body)


def posted(seq: int) -> Posted:
    return Posted(float(seq), "ann", "phone", seq, CHAT, f"c{seq}")


def acknowledged(seq: int, *, at: float | None = None, place: int | None = None) -> Acknowledged:
    place = place or seq
    return Acknowledged(at or seq + 0.1, "ann", "phone", seq, CHAT, f"c{seq}", place, f"id-{place}", 1, duplicate=False)


def shown(seq: int, device: str, *, at: float | None = None) -> Shown:
    return Shown(at or seq + 0.2, "bob", device, message(seq))


def good() -> list[Event]:
    """Ann sends three messages to Bob, who has two devices."""
    everything = tuple(message(seq) for seq in (1, 2, 3))
    entries = tuple((seq, message(seq)) for seq in (1, 2, 3))
    return [
        Back(0.0, "bob", "phone"),
        *(event for seq in (1, 2, 3) for event in (posted(seq), acknowledged(seq))),
        *(shown(seq, device) for seq in (1, 2, 3) for device in ("phone", "web")),
        Read("ann", CHAT, everything),
        Read("bob", CHAT, everything),
        Inbox("bob", "phone", 3, entries),
        Member(CHAT, "ann", ("phone",)),
        Member(CHAT, "bob", ("phone", "web")),
    ]


Harm = Callable[[list[Event]], list[Event]]


@dataclass(frozen=True, slots=True)
class Swap:
    """This event became another."""

    old: Event
    new: Event

    def __call__(self, events: list[Event]) -> list[Event]:
        return [self.new if event == self.old else event for event in events]


def without(gone: Event) -> Harm:
    return lambda events: [event for event in events if event != gone]


def reads(*messages: Stored) -> Harm:
    """Every reader finds these instead."""

    def harm(events: list[Event]) -> list[Event]:
        kept = [event for event in events if not isinstance(event, Read | Inbox)]
        return [*kept, Read("ann", CHAT, messages), Read("bob", CHAT, messages)]

    return harm


def inbox(*entries: tuple[int, Stored]) -> Harm:
    def harm(events: list[Event]) -> list[Event]:
        kept = [event for event in events if not isinstance(event, Inbox)]
        return [*kept, Inbox("bob", "phone", entries[-1][0], entries)]

    return harm


def swapped_on_screen(events: list[Event]) -> list[Event]:
    """The web device shows the third before the second."""
    second, third = events.index(shown(2, "web")), events.index(shown(3, "web"))
    events[second], events[third] = events[third], events[second]
    return events


HARMS: dict[str, tuple[str, Harm]] = {
    "an acknowledged message is gone": ("lost", reads(message(1), message(2))),
    "another message is at the acknowledged place": ("lost", Swap(acknowledged(2), acknowledged(2, place=1))),
    "a message is shown twice": ("duplicated", lambda events: [*events, shown(2, "web")]),
    "messages are shown out of order": ("disordered", swapped_on_screen),
    "a device was never shown a message": ("missing", without(shown(2, "phone"))),
    "nobody could read a conversation": ("missing", lambda events: [e for e in events if not isinstance(e, Read)]),
    "a retry was acknowledged elsewhere": (
        "disagreeing",
        lambda events: [*events, acknowledged(1, place=2)],
    ),
    "one client id is stored twice": (
        "disagreeing",
        reads(message(1), message(2), message(3, client_id="c1")),
    ),
    "an acknowledgement has no id": (
        "disagreeing",
        lambda events: [
            Acknowledged(2.1, "ann", "phone", 2, CHAT, "c2", 2, "", 1, duplicate=False) if e == acknowledged(2) else e
            for e in events
        ],
    ),
    "two messages have one number": (
        "disagreeing",
        Swap(shown(2, "web"), Shown(2.2, "bob", "web", message(2, body="x"))),
    ),
    "numbers are not dense": ("misnumbered", reads(message(1), message(3))),
    "two readers see different messages": (
        "disagreeing",
        lambda events: [*events, Read("bob", CHAT, (message(1), message(2, body="x"), message(3)))],
    ),
    "sends are stored in another order": (
        "misnumbered",
        lambda events: [
            Swap(acknowledged(1), acknowledged(1, place=2))(Swap(acknowledged(2), acknowledged(2, place=1))([e]))[0]
            for e in events
        ],
    ),
    "an inbox has a hole": ("misnumbered", inbox((1, message(1)), (3, message(3)))),
    "an inbox has a message twice": (
        "misnumbered",
        inbox((1, message(1)), (2, message(2)), (3, message(3)), (4, message(1))),
    ),
    "a session was ended": ("ended", lambda events: [*events, Ended(4.0, "bob", "web", "REPLACED")]),
}


def test_a_run_in_which_all_was_kept_is_clean() -> None:
    verdict = judge(good())
    assert verdict.clean
    assert verdict.counts == dict.fromkeys(COUNTS, 0)
    assert (verdict.posted, verdict.acknowledged, verdict.shown) == (3, 3, 6)


@pytest.mark.parametrize("name", HARMS)
def test_every_kind_of_harm_is_counted(name: str) -> None:
    kind, harm = HARMS[name]
    assert judge(harm(good())).counts[kind] > 0


def test_every_count_has_a_harm_that_raises_it() -> None:
    assert {kind for kind, _ in HARMS.values()} == set(COUNTS)


def test_a_send_without_an_outcome_may_be_stored_or_not() -> None:
    gave_up = GaveUp(3.1, "ann", "phone", "c3", "NoAnswer")
    events = Swap(acknowledged(3), gave_up)(good())
    assert judge(events).clean
    unstored = [e for e in reads(message(1), message(2))(events) if not (isinstance(e, Shown) and e.message.seq == 3)]
    assert judge(unstored).clean
    assert judge(unstored).given_up == 1


def test_what_a_device_sent_itself_need_not_be_shown_to_it_but_to_the_users_other_ones() -> None:
    other = Member(CHAT, "ann", ("phone", "web"))
    events = Swap(Member(CHAT, "ann", ("phone",)), other)(good())
    assert judge(events).counts["missing"] == 3


def test_who_joined_late_must_be_shown_what_was_posted_from_then_on() -> None:
    late = Member(CHAT, "eve", ("phone",), since=1.5)
    third = Shown(3.2, "eve", "phone", message(3))
    assert judge([*good(), late, Shown(2.2, "eve", "phone", message(2)), third]).clean
    assert judge([*good(), late, third]).counts["missing"] == 1


def test_pauses_are_the_longest_waits_of_senders_and_receivers() -> None:
    slow = Swap(acknowledged(3), acknowledged(3, at=7.5))(Swap(shown(3, "web"), shown(3, "web", at=9.0))(good()))
    verdict = judge(slow)
    assert verdict.sender_pause_s == pytest.approx(4.5)
    assert verdict.receiver_pause_s == pytest.approx(6.0)


def test_the_time_that_a_device_was_away_on_purpose_is_no_pause() -> None:
    late = [Swap(shown(3, "phone"), shown(3, "phone", at=20.0))([event])[0] for event in good()]
    back = [event for event in late if event != shown(3, "phone", at=20.0)]
    verdict = judge([*back, Back(19.5, "bob", "phone"), shown(3, "phone", at=20.0)])
    assert verdict.receiver_pause_s == pytest.approx(0.5)


def test_histories_come_back_from_their_file_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    events = [*good(), GaveUp(1.0, "ann", "phone", "c9", "no"), Ended(1.0, "ann", "phone", "why")]
    record.write(file, events)
    assert list(record.read(file)) == events
