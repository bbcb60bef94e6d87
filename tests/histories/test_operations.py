"""Clients' histories become operations on logs; what Porcupine says of them is what a person would say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.histories.__main__ import BREAK_THE_LOG, judged
from tests.simulation.mutations import MUTATIONS
from tests.support.histories import record
from tests.support.histories.history import Acknowledged, Change, Event, Posted, Read, Received, Stored
from tests.support.histories.operations import Operation, encoded, operations
from tests.support.histories.verdict import translated

CHAT = "d:ann|bob"


def posted(frame: int, client_id: str = "a") -> Posted:
    return Posted("ann/1", frame, "ann", CHAT, client_id)


def told(frame: int, seq: int, client_id: str = "a") -> Acknowledged:
    return Acknowledged("ann/1", frame, "ann", CHAT, client_id, seq, f"id-{seq}", 1, duplicate=False)


def message(seq: int, client_id: str = "a", *, act: str = "") -> Stored:
    return Stored(CHAT, seq, f"id-{seq}", "ann", client_id, "hi", act)


def seen(seq: int, client_id: str = "a", who: str = "bob") -> Received:
    return Received(who, "phone", seq, message(seq, client_id))


def read(*messages: Stored) -> Read:
    return Read("bob", CHAT, messages)


def of(*events: Event) -> list[Operation]:
    return list(operations("a test", enumerate(events)))


def is_linearizable(folder: Path, events: Sequence[Event]) -> bool:
    path = folder / "operations.jsonl"
    path.write_bytes(b"".join(encoded("a test", enumerate(events))))
    judgement = judged(path)
    assert judgement.clean or judgement.illegal == 1
    return judgement.clean


def test_a_send_lasts_from_its_posting_to_its_answer() -> None:
    [append] = of(posted(1), told(1, 7))
    assert (append.kind, append.call, append.returned, append.seq, append.key) == ("append", 0, 1, 7, "ann a")


def test_entries_that_tell_of_reactions_are_the_clusters_and_what_has_no_place_is_no_append(tmp_path: Path) -> None:
    react = Posted("ann/1", 2, "ann", CHAT, "r", change=Change("react", 1, reacted=(("ann", "+1", True),)))
    pin = Posted("ann/1", 3, "ann", CHAT, "p", change=Change("pin", 1, pinned=True))
    nothing = Acknowledged("ann/1", 3, "ann", CHAT, "p", 0, "", 1, duplicate=False)
    entries = [Stored(CHAT, seq, f"id-{seq}", "", "", "", change=Change("reacted", 1)) for seq in (2, 3)]
    events = [posted(1), told(1, 1), react, told(2, 3, "r"), pin, nothing, read(message(1), *entries)]
    appends = [(each.key, each.seq) for each in of(*events) if each.kind == "append"]
    assert appends == [("ann a", 1), ("~reacted 2", 2), ("~reacted 3", 3)]
    assert is_linearizable(tmp_path, events)


def test_tries_without_an_answer_are_one_append_until_somebody_sees_it() -> None:
    kinds = [(each.kind, each.call, each.returned) for each in of(posted(1), posted(2), seen(1), read(message(1)))]
    assert kinds == [("append", 0, 2), ("read", 0, 2), ("whole", 3, 3)]


def test_a_send_that_nobody_finds_and_nobody_acknowledged_was_never_stored() -> None:
    assert [each.kind for each in of(posted(1), read())] == ["whole"]


def test_what_the_system_says_is_appended_some_time_before_it_is_seen() -> None:
    notice = message(1, "op", act="create")
    assert [(each.kind, each.call, each.returned) for each in of(read(notice))] == [("append", -1, 0), ("whole", 0, 0)]


@pytest.mark.parametrize(
    "events",
    [
        (posted(1), told(1, 1), read(message(1))),
        (posted(1), posted(2), told(2, 1), told(1, 1), seen(1), read(message(1))),
        (posted(1), seen(1), read(message(1))),
        (posted(1), posted(2, "b"), told(1, 2), told(2, 1, "b"), read(message(1, "b"), message(2))),
        (posted(1), read()),
        (read(message(1, "op", act="create")),),
        (posted(1), Received("bob", "phone", 1, message(1, "op", act="create")), seen(2)),
    ],
    ids=["plain", "repeated", "not answered", "two at once", "never stored", "the system's", "never read whole"],
)
def test_what_a_log_can_do_is_accepted(tmp_path: Path, events: Sequence[Event]) -> None:
    assert is_linearizable(tmp_path, events)


@pytest.mark.parametrize(
    "events",
    [
        (posted(1), told(1, 1), read()),
        (posted(1), told(1, 1), posted(2), told(2, 2), read(message(1), message(2))),
        (posted(1), told(1, 2), posted(2, "b"), told(2, 1, "b"), read(message(1, "b"), message(2))),
        (posted(1), told(1, 1), posted(2, "b"), told(2, 1, "b"), read(message(1, "b"))),
        (posted(1), posted(2), seen(1), seen(2), read(message(1), message(2))),
        (seen(1), posted(1), told(1, 1), read(message(1))),
        (posted(1), seen(1), read()),
        (read(message(1)),),
    ],
    ids=[
        "lost",
        "repeated as another",
        "a later one before",
        "overwritten",
        "doubled",
        "seen before it was sent",
        "seen and gone",
        "from nowhere",
    ],
)
def test_what_no_log_can_do_is_found(tmp_path: Path, events: Sequence[Event]) -> None:
    assert not is_linearizable(tmp_path, events)


def test_the_history_of_a_real_cluster_is_told_in_the_order_of_its_times() -> None:
    stored = record.Stored(CHAT, 1, "id-1", "ann", "a", "hi")
    events: list[record.Event] = [
        record.Read("bob", CHAT, (stored,)),
        record.Shown(3.0, "bob", "phone", stored),
        record.Acknowledged(2.0, "ann", "web", 1, CHAT, "a", 1, "id-1", 1, duplicate=False),
        record.Posted(1.0, "ann", "web", 1, CHAT, "a"),
        record.Back(0.5, "ann", "web"),
    ]
    told_again = list(translated(iter(events)))
    assert [at for at, _ in told_again] == [10**9, 2 * 10**9, 3 * 10**9, 3 * 10**9 + 1]
    kinds = [(each.kind, each.call, each.returned) for each in operations("a test", told_again)]
    assert kinds == [
        ("append", 10**9, 2 * 10**9),
        ("read", 10**9, 3 * 10**9),
        ("whole", 3 * 10**9 + 1, 3 * 10**9 + 1),
    ]


def test_the_defects_that_break_the_log_are_defects_of_the_simulation() -> None:
    assert set(BREAK_THE_LOG) <= set(MUTATIONS)
