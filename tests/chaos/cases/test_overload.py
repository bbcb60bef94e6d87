"""What an overload must not do: each rule fails for its own reason; and the account of a flood."""

from __future__ import annotations

from array import array
from collections import Counter

import pytest

from tests.chaos.cases.overload import check
from tests.chaos.load.flood import Flood, Task
from tests.chaos.load.flood_load import Stretch, quantile
from tests.support.faults.outcome import Broken

CARRIES = 1000.0
GOOD_ACCOUNT = {"acknowledged": 5000, "lost": 0, "doubled": 0, "misordered": 0, "unanswered": 0}


def during(*, sent: int = 30_000, accepted: int = 9000, refused: int = 21_000, ms: float = 400.0) -> Stretch:
    return Stretch(
        seconds=10.0,
        sent=sent,
        refused=Counter({"OVERLOADED": refused}),
        acknowledged_ms=array("d", [ms] * accepted),
        retry_ms=array("d", [50.0] * refused),
    )


def before(ms: float = 200.0) -> Stretch:
    return Stretch(seconds=10.0, sent=3000, acknowledged_ms=array("d", [ms] * 3000))


def after(refused: int = 0) -> Stretch:
    return Stretch(seconds=10.0, sent=7000, refused=Counter({"OVERLOADED": refused}))


def test_an_overload_that_was_refused_in_time_is_right() -> None:
    check(CARRIES, before(), during(), after(), GOOD_ACCOUNT)


@pytest.mark.parametrize(
    ("stretch", "later", "account", "reason"),
    [
        (during(), after(), {**GOOD_ACCOUNT, "lost": 1}, "'lost': 1"),
        (during(sent=9_000), after(), GOOD_ACCOUNT, "no overload"),
        (during(refused=0), after(), GOOD_ACCOUNT, "nothing was refused"),
        (during(accepted=100), after(), GOOD_ACCOUNT, "only 10 a second"),
        (during(ms=5000.0), after(), GOOD_ACCOUNT, "took 5000 ms"),
        (during(), after(refused=700), GOOD_ACCOUNT, "still refused"),
    ],
)
def test_each_rule_fails_for_its_own_reason(
    stretch: Stretch, later: Stretch, account: dict[str, int], reason: str
) -> None:
    with pytest.raises(Broken, match=reason):
        check(CARRIES, before(), stretch, later, account)


def test_on_a_slow_machine_accepted_sends_may_take_a_multiple_of_what_they_took_before() -> None:
    check(CARRIES, before(ms=1700.0), during(ms=5000.0), after(), GOOD_ACCOUNT)
    with pytest.raises(Broken, match="took 5200 ms"):
        check(CARRIES, before(ms=1700.0), during(ms=5200.0), after(), GOOD_ACCOUNT)


def test_a_refusal_must_say_when_to_try_again() -> None:
    silent = during()
    silent.retry_ms[7] = 0.0
    with pytest.raises(Broken, match="did not say when"):
        check(CARRIES, before(), silent, after(), GOOD_ACCOUNT)


def test_quantiles_are_values_that_were_measured() -> None:
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([3.0, 1.0, 2.0], 0.99) == 3.0
    assert quantile([], 0.99) == 0.0


async def test_messages_that_are_stored_in_another_order_count_unless_they_went_out_again() -> None:
    [ann, _] = Flood(Task("run", ["tcp://127.0.0.1:1"], [("ann", ""), ("bob", "")], 64)).peers
    for seq, number in enumerate((0, 2, 1, 3), start=1):
        ann.ledger.arrive(number, seq)
    assert ann.ledger.misordered == 1
    ann.ledger.send_again(1)
    assert ann.ledger.misordered == 0
