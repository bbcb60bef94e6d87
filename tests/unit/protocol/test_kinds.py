"""The table of kinds is what client.proto has, and says nothing that contradicts itself."""

from __future__ import annotations

import pytest

from tidings_protocol.client_pb2 import Message
from tidings_protocol.kinds import BY_NUMBER, KINDS, Fold, Kind, Target

each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def test_every_kind_of_message_has_a_row_and_every_row_is_one() -> None:
    assert set(BY_NUMBER) == set(Message.Kind.values()) - {Message.KIND_UNSPECIFIED}


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
