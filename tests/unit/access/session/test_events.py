"""Events and effects are values."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, is_dataclass
from typing import get_args

import pytest

from services.access.session import events
from services.access.session.events import Effect, EndRequested, Event, Refuse
from tidings_protocol import close


@pytest.mark.parametrize("kind", [*get_args(Event), *get_args(Effect)], ids=lambda kind: kind.__name__)
def test_every_event_and_effect_is_a_small_value(kind: type) -> None:
    assert is_dataclass(kind)
    assert not hasattr(kind, "__dict__") or "__dict__" not in kind.__slots__  # type: ignore[attr-defined]


def test_none_is_left_out_of_the_two_unions() -> None:
    declared = {each for each in vars(events).values() if isinstance(each, type) and each.__module__ == events.__name__}
    assert declared == {*get_args(Event), *get_args(Effect)}


def test_they_are_equal_by_what_they_say_and_cannot_be_changed() -> None:
    assert EndRequested(close.REPLACED) == EndRequested(close.REPLACED) != EndRequested(close.DRAINING)
    refusal = Refuse("BAD_REQUEST", "no")
    with pytest.raises(FrozenInstanceError):
        refusal.code = "FORBIDDEN"  # type: ignore[misc]
