"""The tables of docs/reliability.md: made from results, put between their marks, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chaos import table, tables
from tests.chaos.page import PAGE, does, in_order
from tests.chaos.run import Options
from tests.support.faults.outcome import Result
from tests.support.faults.page import put
from tests.support.histories.ledger import Ran
from tests.support.histories.record import Acknowledged, Posted, Shown, Stored
from tests.support.histories.verdict import Finding, Verdict, latency

MOVEMENT = {
    "nodes": {"access-1": 5000},
    "welcomes": 5000,
    "peak_per_s": 480,
    "goodbyes": {"4003": 12},
    "lost": 5000,
    "back_p50_s": 3.0,
    "back_max_s": 9.0,
    "hello_p50_s": 0.02,
}


SPAN = {
    "seconds": 300.0,
    "sent_per_s": 6000,
    "accepted_per_s": 1500,
    "refused": {"OVERLOADED": 1_350_000},
    "acknowledged_p50_ms": 400,
    "acknowledged_p99_ms": 600,
    "arrived_p50_ms": 400,
    "arrived_p99_ms": 600,
    "refused_p50_ms": 2,
    "refused_p99_ms": 20,
    "retry_after_ms": [50, 300],
}
OVERLOAD = {
    "carries_per_s": 2000,
    "before": {**SPAN, "retry_after_ms": []},
    "during": SPAN,
    "after": SPAN,
    "recovered_s": 0.2,
    "account": {"acknowledged": 500_000, "lost": 0, "doubled": 0, "misordered": 0, "unanswered": 0},
    "memory_mib": {"logic-0": {"first": 100, "last": 101, "peak": 102}},
}
SLOW = {
    "readers": 500,
    "paused": 500,
    "setting_kib": 256,
    "kib_each": {"access-0": 290},
    "before_ms": {"p50": 10, "p99": 30},
    "during_ms": {"p50": 9, "p99": 28},
    "history_pages": 500,
    "recovered_s": 3.0,
}
SOAK = {
    "seconds": 600,
    "rounds": 60,
    "clients": 12_000,
    "counts": {"access-0": {"tasks": [31, 30], "waiting in lanes": [0, 0]}},
    "memory_mib": {"access-0": {"first": 100, "last": 101}},
}


def results() -> list[Result]:
    good = Result("kill-logic", "kill -9 of logic-0", 1, Verdict(posted=10, acknowledged=9, sender_pause_s=0.5))
    storm = Result("storm-5000", "a storm", 1, details={"crowd": MOVEMENT, "back_s": 9.0})
    bad = Result("kill-etcd", "kill -9 of etcd", 1, Verdict(findings=[Finding("lost", "a message is gone")]))
    broken = Result("mixed", "kills and stops", 1, problem="Broken: it does not heal")
    skipped = Result("full-disk", "no space", 1, skipped="no right to mount")
    more = Result("overload", "too much", 1, details={"overload": OVERLOAD, "slow_readers": SLOW, "soak": SOAK})
    return [good, storm, bad, skipped, broken, more]


def told(folder: Path) -> dict[str, object]:
    table.write(folder / "chaos.json", results(), Options(folder=folder))
    written: dict[str, object] = json.loads((folder / "chaos.json").read_text())
    return written


def test_the_tables_show_each_case_with_its_counts(tmp_path: Path) -> None:
    made = tables.of_chaos(told(tmp_path))
    assert "| kill-logic | kill -9 of logic-0 | 9 | 0 | 0 |" in made["chaos"]
    assert "| kill-etcd | kill -9 of etcd | 0 | 1 | 0 |" in made["chaos"]
    assert "skipped: no right to mount" in made["chaos"]
    assert "| mixed | kills and stops. FAILED: Broken: it does not heal |" in made["chaos"]
    assert "| storm-5000 | 5,000 | 9.0 s | 5,000 | 480 | 12 |" in made["storms"]


def test_the_document_says_whether_all_passed_and_keeps_other_cases_when_asked(tmp_path: Path) -> None:
    assert told(tmp_path)["passed"] is False
    again = [Result("kill-etcd", "kill -9 of etcd", 1), Result("mixed", "kills and stops", 1)]
    table.write(tmp_path / "chaos.json", again, Options(folder=tmp_path), keep=True)
    kept = json.loads((tmp_path / "chaos.json").read_text())
    assert [case["case"] for case in kept["cases"]] == [result.case for result in results()]
    assert kept["passed"] is True


def test_the_cases_are_in_the_order_of_their_list_whenever_they_were_run() -> None:
    cases = [{"case": name} for name in ("soak", "kill-access", "mixed", "of another version")]
    told = in_order({"cases": cases})
    assert [case["case"] for case in told["cases"]] == ["kill-access", "mixed", "soak", "of another version"]


def test_overload_slow_readers_and_soak_have_tables_of_their_own(tmp_path: Path) -> None:
    made = tables.of_chaos(told(tmp_path))
    assert "carried 2,000 messages a second" in made["overload"]
    assert "| during, 300 s | 6,000 | 1,500 | 1,350,000 | 400 ms |" in made["overload"]
    assert "| logic-0 | 100 MiB | 101 MiB | 102 MiB |" in made["overload"]
    assert "| of them told that they are paused | 500 |" in made["slow-readers"]
    assert "| access-0 | 31 → 30 |" in made["soak"]
    assert "Nowhere anything at the start or at the end: waiting in lanes." in made["soak"]


def test_the_tables_of_the_simulation_count_seeds_and_show_what_found_each_mutation() -> None:
    ran = [
        Ran(1, "abc", 10, 2.0),
        Ran(2, "abc", 10, 2.0),
        Ran(3, "def", 10, 2.0, broke=("G1",)),
        Ran(0, "abc", 10, 2.0, "no_unique_number"),
        Ran(1, "abc", 10, 2.0, "no_unique_number", ("G1", "G4")),
        Ran(0, "abc", 10, 2.0, "never_found"),
    ]
    made = tables.of_simulation(ran, does())
    assert "| abc | 2 | 20 | 0 |" in made["simulation"]
    assert "| all | 3 | 30 | 1 |" in made["simulation"]
    assert "of two writers the later one wins. | G1, G4 | 1 | 2 |" in made["mutations"]
    assert "| `never_found` |  | not found | - | 1 |" in made["mutations"]


def test_only_what_is_between_the_marks_is_replaced() -> None:
    page = "before\n<!-- chaos -->\nold\n<!-- /chaos -->\nafter\n"
    assert put(page, "chaos", "new\n") == "before\n<!-- chaos -->\nnew\n<!-- /chaos -->\nafter\n"
    with pytest.raises(ValueError, match="no marks"):
        put(page, "storms", "new\n")


def test_the_page_has_marks_for_every_table(tmp_path: Path) -> None:
    text = PAGE.read_text()
    for name, made in {**tables.of_chaos(told(tmp_path)), **tables.of_simulation([], {})}.items():
        assert put(text, name, made)


def test_latencies_are_those_of_what_was_posted_within_the_window() -> None:
    def acknowledged(order: int, at: float) -> Acknowledged:
        return Acknowledged(at, "ann", "phone", order, "d:ann|bob", f"c{order}", order, "id", 1, duplicate=False)

    events = [Posted(float(order), "ann", "phone", order, "d:ann|bob", f"c{order}") for order in (1, 2, 3)]
    message = Stored("d:ann|bob", 2, "id", "ann", "c2", "hi")
    told = latency(
        [*events, acknowledged(1, 9.0), acknowledged(2, 2.5), Shown(2.75, "bob", "phone", message)], 1.5, 2.5
    )
    assert (told.posted, told.acknowledged_p50_s, told.shown_p99_s) == (1, 0.5, 0.75)
