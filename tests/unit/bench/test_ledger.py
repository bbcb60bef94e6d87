"""The account of every message that the load generator keeps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.bench.ledger import Ledger, Tally
from tools.bench.plan import Plan, shares
from tools.bench.report import document
from tools.bench.samples import Samples, latencies, merged


def _plan(**changes: object) -> Plan:
    usual = {
        "workload": "direct",
        "users": 8,
        "window": 4,
        "seconds": 10.0,
        "rate": None,
        "warmup_s": 1.0,
        "size_bytes": 128,
        "processes": 1,
        "transport": "ws",
    }
    return Plan(**(usual | changes))  # type: ignore[arg-type]


def test_what_was_acknowledged_and_never_arrived_is_missing() -> None:
    ledger = Ledger()
    ledger.acknowledge(0, 1)
    ledger.acknowledge(1, 2)
    ledger.arrive(0, 1)
    assert ledger.missing == 1


def test_a_push_that_came_twice_is_not_a_message_that_was_stored_twice() -> None:
    ledger = Ledger()
    assert ledger.arrive(0, 1)
    assert not ledger.arrive(0, 1)
    assert (ledger.duplicates_seen, ledger.doubled) == (1, 0)
    ledger.arrive(0, 2)
    assert ledger.doubled == 1


def test_a_push_out_of_order_is_not_a_message_out_of_order() -> None:
    ledger = Ledger()
    ledger.arrive(1, 2)
    ledger.arrive(0, 1)
    assert (ledger.reordered_seen, ledger.misordered) == (1, 0)
    ledger.arrive(5, 3)
    ledger.arrive(4, 4)
    assert ledger.misordered == 1


def test_what_was_refused_and_sent_again_may_stand_behind_later_ones() -> None:
    ledger = Ledger()
    ledger.send_again(0)
    ledger.arrive(1, 1)
    ledger.arrive(2, 2)
    ledger.arrive(0, 3)
    assert ledger.misordered == 0


def test_what_arrives_under_another_seq_than_was_acknowledged_is_wrong() -> None:
    ledger = Ledger()
    ledger.acknowledge(0, 2)
    ledger.arrive(0, 1)
    ledger.acknowledge(1, 1)
    assert ledger.disagreeing == 1


def test_those_without_an_answer_are_known() -> None:
    ledger = Ledger()
    ledger.acknowledge(1, 7)
    assert ledger.unanswered(3) == [0, 2]


@given(st.permutations(range(20)), st.sets(st.integers(0, 19)))
def test_any_order_of_arrival_of_all_is_right_and_any_loss_is_seen(order: list[int], lost: set[int]) -> None:
    ledger = Ledger()
    for number in range(20):
        ledger.acknowledge(number, number + 1)
    for number in order:
        if number not in lost:
            ledger.arrive(number, number + 1)
    tally = Tally()
    tally.add(ledger)
    assert tally.lost == len(lost)
    assert tally.right is not bool(lost)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"users": 3}, "--users"),
        ({"window": 0}, "--window"),
        ({"seconds": 0}, "--seconds"),
        ({"rate": 0}, "--rate"),
        ({"size_bytes": 10}, "--size"),
        ({"processes": 5}, "--processes"),
        ({"transport": "udp"}, "--transport"),
        ({"json_clients": 2}, "--json-clients"),
        ({"transport": "tcp", "json_clients": 0.5}, "--json-clients"),
    ],
)
def test_a_plan_that_cannot_be_names_its_option(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        _plan(**changes)


@given(st.integers(1, 4))
def test_pairs_stay_together_and_the_rate_is_shared(processes: int) -> None:
    plan = _plan(rate=100.0, processes=processes)
    tokens = [(f"u{number}", "t") for number in range(8)]
    parts = shares(plan, ["ws://a"], tokens)
    for part in parts:
        numbers = [int(user[1:]) for user, _ in part.tokens]
        assert [number ^ 1 for number in numbers[::2]] == numbers[1::2]
    assert sum(part.rate or 0 for part in parts) == pytest.approx(100.0)
    assert sorted(user for part in parts for user, _ in part.tokens) == sorted(user for user, _ in tokens)


def _took(*seconds: float, begin: float = 0.0, end: float = 1e9) -> Samples:
    samples = Samples(begin, end)
    for took in seconds:
        samples.add(begin, begin + took)
    return samples


def test_latencies_are_percentiles_in_milliseconds() -> None:
    told = latencies(merged([_took(*(number / 1000 for number in range(1, 101))).told()]))
    assert told["count"] == 100
    assert told["mean_ms"] == pytest.approx(50.5, rel=0.01)
    assert told["p50_ms"] == pytest.approx(50, rel=0.01)
    assert told["p99_ms"] == pytest.approx(99, rel=0.01)
    assert latencies(merged([Samples().told()])) == {"count": 0}


def test_what_was_due_in_the_warm_up_is_no_sample_but_may_be_finished_in_time() -> None:
    samples = Samples(10.0, 20.0)
    samples.add(9.0, 11.0)
    samples.add(19.0, 21.0)
    samples.add(12.0, 13.0)
    assert samples.in_time == 2
    assert list(samples.took_s) == [2.0, 1.0]


def test_the_report_joins_the_processes() -> None:
    tally = {**dict.fromkeys(Tally.__slots__, 0), "acknowledged": 10, "arrived": 10, "errors": {"OVERLOADED": 2}}
    figures = {
        "tally": tally,
        "acknowledged": {**_took(0.005).told(), "in_time": 100},
        "delivered": {**_took(0.006).told(), "in_time": 90},
        "late": Samples().told(),
    }
    report = document(_plan(processes=2), [figures, figures], {"logic-0": 1.8})
    assert report["right"]
    assert (report["acknowledged"]["per_s"], report["delivered"]["per_s"]) == (20.0, 18.0)
    assert report["acknowledged"]["count"] == 2
    assert report["tally"]["errors"] == {"OVERLOADED": 4}
    assert report["cpu_us_per_message"] == {"logic-0": 10_000.0}
