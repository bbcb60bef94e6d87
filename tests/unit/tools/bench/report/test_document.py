"""Samples, the report of a run, and the comparison of two."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.tools.bench.test_plan import plan_of
from tools.bench.accounts.ledger import Tally
from tools.bench.accounts.outcome import Outcome
from tools.bench.accounts.samples import Samples, latencies, merged
from tools.bench.report.compare import changes
from tools.bench.report.document import document

MIB = 1024 * 1024


def _took(*seconds: float) -> Samples:
    samples = Samples(0.0, 1e9)
    for took in seconds:
        samples.add(0.0, took)
    return samples


def _tally(**counts: Any) -> dict[str, Any]:
    return {**dict.fromkeys(Tally.__slots__, 0), "errors": {}, **counts}


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


def _report(**changed: Any) -> dict[str, Any]:
    figures = {
        "tally": _tally(acknowledged=10, arrived=10, errors={"OVERLOADED": 2}),
        "acknowledged": {**_took(0.005).told(), "in_time": 100},
        "delivered": {**_took(0.006).told(), "in_time": 90},
        "late": Samples().told(),
        **changed,
    }
    outcome = Outcome(
        [figures, figures],
        cpu_s={"logic-0": 1.8, "bench-0": 0.9},
        window_s=10.0,
        memory_before={"logic-0": MIB, "gone-0": 5},
        memory_after={"logic-0": 3 * MIB},
    )
    return document(plan_of(processes=2), outcome)


def test_the_report_joins_the_processes() -> None:
    report = _report()
    assert report["right"]
    assert (report["acknowledged"]["per_s"], report["delivered"]["per_s"]) == (20.0, 18.0)
    assert report["acknowledged"]["count"] == 2
    assert report["tally"]["errors"] == {"OVERLOADED": 4}
    assert report["cpu_us_per_message"] == {"logic-0": 10_000.0, "bench-0": 5000.0}
    assert report["cpu_s_per_1000"] == {"logic-0": 10.0, "cluster": 10.0, "load generator": 5.0, "all": 15.0}
    assert report["cpu_percent"] == {"logic-0": 18.0, "bench-0": 9.0}
    assert (report["memory_mb"], report["memory_grown_kb"]) == ({"logic-0": 3.0}, {"logic-0": 2048})


@pytest.mark.parametrize(
    "broken",
    ["lost", "duplicates_after_dedupe", "reordered_after_sort", "unanswered", "disagreeing"],
)
def test_one_broken_promise_makes_a_run_wrong(broken: str) -> None:
    assert not _report(tally=_tally(**{broken: 1}))["right"]


def test_an_idle_connection_is_told_in_kilobytes_of_the_access_nodes() -> None:
    outcome = Outcome(
        [{"tally": _tally(), "counts": {"connections": 1024}}],
        cpu_s={"access-0": 0.2, "access-1": 0.1},
        window_s=10.0,
        memory_before={"access-0": MIB, "access-1": MIB, "logic-0": MIB},
        memory_after={"access-0": 5 * MIB, "access-1": 5 * MIB, "logic-0": 9 * MIB},
    )
    report = document(plan_of(workload="idle"), outcome)
    assert report["access_kb_each"] == 8.0
    assert report["access_cpu_percent"] == 3.0


def test_a_comparison_tells_what_got_better_and_what_got_worse() -> None:
    old = {"plan": {"rate": 5}, "delivered": {"per_s": 100.0, "p50_ms": 10.0, "p99_ms": 20.0, "count": 7}}
    new = {"plan": {"rate": 9}, "delivered": {"per_s": 200.0, "p50_ms": 30.0, "p99_ms": 20.5, "count": 9}}
    found = {change.name: (change.ratio, change.better) for change in changes(old, new)}
    assert found == {
        "delivered per_s": (2.0, True),
        "delivered p50_ms": (3.0, False),
        "delivered p99_ms": (1.025, None),
    }


def test_sets_are_compared_run_by_run_and_process_by_process() -> None:
    old = {"runs": {"quiet": {"cpu_s_per_1000": {"logic-0": 0.1}}, "gone": {"x": {"per_s": 1}}}}
    new = {"runs": {"quiet": {"cpu_s_per_1000": {"logic-0": 0.05, "logic-1": 1.0}}}}
    (change,) = changes(old, new)
    assert (change.name, change.ratio, change.better) == ("runs quiet cpu_s_per_1000 logic-0", 0.5, True)


def test_a_figure_that_was_nothing_has_no_ratio() -> None:
    (change,) = changes({"per_s": 0}, {"per_s": 5})
    assert change.ratio is None
