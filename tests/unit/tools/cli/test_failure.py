"""What becomes of failures that come in a group: for who gave the command, the first of them is the reason."""

from __future__ import annotations

import pytest

from tools.cli.failure import Failure, first_failure


def test_of_failures_in_groups_the_first_is_raised_as_itself() -> None:
    first, second = Failure("no disk"), Failure("no network")
    with pytest.raises(Failure, match="no disk") as raised, first_failure():
        raise ExceptionGroup("outer", [ExceptionGroup("inner", [first]), second])
    assert raised.value is first
    assert raised.value.__suppress_context__


def test_a_failure_that_is_alone_stays_itself() -> None:
    alone = Failure("no disk")
    with pytest.raises(Failure) as raised, first_failure():
        raise alone
    assert raised.value is alone


def test_a_group_with_a_defect_in_it_stays_a_group() -> None:
    both = ExceptionGroup("both", [Failure("no disk"), ValueError("a defect")])
    with pytest.raises(ExceptionGroup) as raised, first_failure():
        raise both
    assert raised.value is both
