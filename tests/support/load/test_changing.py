"""What the clients of a load keep, and what they do to it."""

from __future__ import annotations

import random
from dataclasses import replace

from tests.support.load.changing import drawn
from tests.support.load.keeping import Keeping
from tidings import ChangeAct, Content, Message, MessageChanged, Reaction, State

CHAT = "d:ann|bob"


def message(seq: int, sender: str = "ann", state: State | None = None) -> Message:
    return Message(f"id-{seq}", CHAT, seq, sender, 1, f"text {seq}", state=state or State())


def edit(seq: int, change_seq: int, text: str, *, at_hand: Message | None = None) -> MessageChanged:
    state = State(change_seq, edited_ms=1)
    return MessageChanged(CHAT, seq, change_seq, ChangeAct.EDIT, "ann", 1, state, Content(text), message=at_hand)


def test_what_was_shown_is_kept_as_its_changes_leave_it() -> None:
    keeping = Keeping("bob")
    keeping.shown(message(1))
    keeping.shown(message(2))
    keeping.changed(edit(1, 3, "better"))
    keeping.changed(edit(2, 4, "at hand", at_hand=replace(message(2), text="later", state=State(6, edited_ms=1))))
    keeping.changed(edit(2, 5, "overtaken"))
    assert [each.text for each in keeping.everything()[CHAT]] == ["better", "later"]


def test_a_change_of_an_own_message_may_come_before_its_place_is_known() -> None:
    keeping = Keeping("ann")
    keeping.changed(edit(1, 2, "better"))
    assert keeping.everything() == {}
    keeping.own(message(1))
    assert [each.text for each in keeping.latest(CHAT, 5)] == ["better"]


def test_only_what_is_allowed_is_drawn() -> None:
    mine = State(5, reactions=(Reaction("+1", 1, ("bob",), mine=True),))
    latest = [
        message(1),
        message(2, "bob"),
        message(3, state=State(4, recalled_by="ann")),
        message(4, state=mine),
        message(6, state=State(7, pinned=True)),
    ]
    of = {each.seq: each for each in latest}
    rng = random.Random(1)
    seen = set()
    for _ in range(2000):
        change = drawn(rng, "bob", latest, pins=True)
        if change is None:
            continue
        seen.add(change.what)
        target = of[change.target]
        assert not target.recalled
        assert target.sender == "bob" or change.what not in ("edit", "recall")
        assert change.what != "pin" or not target.state.pinned
        assert change.what != "unpin" or target.state.pinned
        assert change.what != "unreact" or (change.target, change.reaction) == (4, "+1")
    assert seen == {"edit", "recall", "react", "unreact", "pin", "unpin"}
    without = {drawn(rng, "bob", latest, pins=False) for _ in range(500)}
    assert not any(change is not None and change.what in ("pin", "unpin") for change in without)
    assert drawn(rng, "bob", [], pins=True) is None
