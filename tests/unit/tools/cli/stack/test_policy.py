"""What becomes of a process that ended, and how numbers of nodes change."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.cli.failure import WrongUse
from tools.cli.stack.policy import (
    RESTART_MAX_S,
    Again,
    Change,
    Ended,
    GivenUp,
    Stay,
    after_end,
    hopeless,
    parse_scale,
    plan_scale,
)
from tools.cli.stack.ports import NodeKind

ACCESS, LOGIC, STORAGE = NodeKind
KILLED = Ended(code=-signal.SIGKILL, backend=False, draining=False, stop_asked=False, restart_allowed=True, failures=0)


def test_a_node_that_is_killed_comes_back_after_a_second() -> None:
    assert after_end(KILLED) == Again(1.0)


def test_one_that_never_gets_ready_comes_back_more_and_more_slowly() -> None:
    delays = [after_end(replace(KILLED, code=1, failures=failures)) for failures in range(1, 7)]
    assert delays == [Again(s) for s in (1.0, 2.0, 4.0, 8.0, RESTART_MAX_S, RESTART_MAX_S)]


@pytest.mark.parametrize("code", [0, -signal.SIGTERM, 143])
def test_a_node_that_was_asked_to_leave_stays_away(code: int) -> None:
    assert after_end(replace(KILLED, code=code)) == Stay()


def test_a_node_whose_drain_took_too_long_stays_away_too() -> None:
    assert after_end(replace(KILLED, code=1, draining=True)) == Stay()


@pytest.mark.parametrize("code", [0, 1, -signal.SIGTERM, -signal.SIGKILL])
def test_a_backend_always_comes_back_but_when_the_stack_stops(code: int) -> None:
    ended = replace(KILLED, code=code, backend=True, restart_allowed=False)
    assert after_end(ended) == Again(1.0)
    assert after_end(replace(ended, stop_asked=True)) == Stay()


def test_without_restarts_a_node_that_dies_is_given_up() -> None:
    assert after_end(replace(KILLED, restart_allowed=False)) == GivenUp()


def test_a_first_start_is_tried_a_few_times_but_not_with_wrong_settings() -> None:
    assert not hopeless(replace(KILLED, code=1, failures=1))
    assert not hopeless(replace(KILLED, code=1, failures=2))
    assert hopeless(replace(KILLED, code=1, failures=3))
    assert hopeless(replace(KILLED, code=2, failures=1))
    assert hopeless(replace(KILLED, code=1, failures=1, backend=True))


def test_scaling_fills_the_lowest_numbers_and_takes_the_highest() -> None:
    present = {ACCESS: [1, 3], LOGIC: [0], STORAGE: [0, 1, 2]}
    change = plan_scale(present, {ACCESS: 3, STORAGE: 1})
    assert change == Change(add=((ACCESS, 0), (ACCESS, 2)), remove=((ACCESS, 3), (STORAGE, 2), (STORAGE, 1)))


@given(present=st.sets(st.integers(0, 9)), wanted=st.integers(1, 10))
def test_after_scaling_there_are_just_the_lowest_numbers(present: set[int], wanted: int) -> None:
    change = plan_scale({ACCESS: sorted(present)}, {ACCESS: wanted})
    after = (present | {index for _, index in change.add}) - {index for _, index in change.remove}
    assert after == set(range(wanted))


def test_numbers_are_read_as_they_are_written() -> None:
    assert parse_scale(["access=3", "logic=2"]) == {ACCESS: 3, LOGIC: 2}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["access"],
        ["access="],
        ["access=0"],
        ["access=-1"],
        ["access=65"],
        ["logic=101"],
        ["gateway=2"],
        ["access=2", "access=3"],
        ["access=٣"],
        ["access=1.5"],
        ["=3"],
    ],
)
def test_what_is_not_a_number_of_nodes_is_refused(arguments: list[str]) -> None:
    with pytest.raises(WrongUse):
        parse_scale(arguments)
