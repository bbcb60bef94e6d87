"""Records that the bus never takes are left out, and keep no others back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from services.common.bus.sending import without_too_large
from tidings_protocol.errors import TooLarge, Unavailable


class Taking:
    """Takes numbers below a hundred; is away from the `away`th call on."""

    def __init__(self, away: int = 1000) -> None:
        self.calls: list[list[int]] = []
        self.taken: list[int] = []
        self.left_out: list[int] = []
        self._away = away

    async def publish(self, numbers: Sequence[int]) -> None:
        self.calls.append(list(numbers))
        if len(self.calls) >= self._away:
            raise Unavailable("away")
        if any(number >= 100 for number in numbers):
            raise TooLarge("too large")
        self.taken += numbers

    def leave_out(self, number: int, _: TooLarge) -> None:
        self.left_out.append(number)


async def test_all_go_at_once_if_none_is_too_large_and_nothing_goes_for_none() -> None:
    sink = Taking()
    await without_too_large(sink.publish, [1, 2, 3], sink.leave_out)
    await without_too_large(sink.publish, [], sink.leave_out)
    assert (sink.calls, sink.left_out) == ([[1, 2, 3]], [])


async def test_those_that_are_too_large_are_left_out_and_the_others_keep_their_order() -> None:
    sink = Taking()
    await without_too_large(sink.publish, [1, 100, 2, 3, 101], sink.leave_out)
    assert (sink.taken, sink.left_out) == ([1, 2, 3], [100, 101])


async def test_a_bus_that_is_away_ends_it() -> None:
    sink = Taking(away=2)
    with pytest.raises(Unavailable):
        await without_too_large(sink.publish, [1, 100], sink.leave_out)
    assert sink.left_out == []
