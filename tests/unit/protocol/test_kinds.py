"""The table of kinds is what client.proto has, and says nothing that contradicts itself."""

from __future__ import annotations

import pytest

from tidings_protocol.client_pb2 import Change, Message
from tidings_protocol.kinds import BY_NUMBER, CHANGE, KINDS, Fold, Kind, Target

each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def test_every_kind_of_message_has_a_row_and_every_row_is_one() -> None:
    assert {kind.number for kind in KINDS.values()} == set(Message.Kind.values()) - {Message.KIND_UNSPECIFIED}
    assert set(BY_NUMBER) == {kind.number for kind in KINDS.values() if kind.shown}


def test_changes_are_the_kinds_that_fold_and_are_told_apart_by_their_act() -> None:
    changes = {kind.name for kind in KINDS.values() if kind.number == CHANGE}
    assert changes == {kind.name for kind in KINDS.values() if kind.folds is not Fold.NONE}
    acts = {act.name for act in Change.DESCRIPTOR.oneofs_by_name["act"].fields}
    assert changes == acts - {"react", "unreact"}  # these are told as `reacted`


@each_kind
def test_what_folds_has_something_to_fold_into_and_is_neither_shown_nor_unread(kind: Kind) -> None:
    if kind.folds is not Fold.NONE:
        assert kind.target is not Target.NONE
        assert not kind.shown
        assert not kind.unread


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        (Target.NONE, []),
        (Target.OWN, [(True, False), (True, True)]),
        (Target.ANY, [(False, False), (False, True), (True, False), (True, True)]),
        (Target.OWN_OR_ADMIN, [(False, True), (True, False), (True, True)]),
    ],
)
def test_a_target_is_whose_the_kind_demands(target: Target, allowed: list[tuple[bool, bool]]) -> None:
    asked = [(own, admin) for own in (False, True) for admin in (False, True)]
    assert [each for each in asked if target.allows(own=each[0], admin=each[1])] == allowed
