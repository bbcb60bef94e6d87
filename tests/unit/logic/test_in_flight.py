"""Too much at once is refused at once."""

from __future__ import annotations

import pytest

from services.logic.in_flight import InFlightLimit
from tidings_protocol.errors import Overloaded


def test_a_batch_that_does_not_fit_is_told_when_to_come_back() -> None:
    admission = InFlightLimit(10)
    with admission.admit(8), pytest.raises(Overloaded) as refused, admission.admit(3):
        pass
    assert refused.value.retry_after_ms > 0
    assert admission.under_way == 0


def test_what_is_done_makes_room() -> None:
    admission = InFlightLimit(10)
    with admission.admit(8):
        with admission.admit(2):
            assert admission.under_way == 10
        with admission.admit(1):
            pass


def test_a_batch_larger_than_all_gets_in_alone() -> None:
    admission = InFlightLimit(10)
    with admission.admit(50):
        assert admission.under_way == 50
