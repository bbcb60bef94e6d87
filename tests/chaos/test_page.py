"""The tables of docs/reliability.md: made from results, put between their marks, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chaos import table
from tests.chaos.page import PAGE, put, tables_of
from tests.chaos.record import Acknowledged, Posted, Shown, Stored
from tests.chaos.run import Options, Result
from tests.chaos.verdict import Finding, Verdict, latency

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


def results() -> list[Result]:
    good = Result("kill-logic", "kill -9 of logic-0", 1, Verdict(posted=10, acknowledged=9, sender_pause_s=0.5))
    storm = Result("storm-5000", "a storm", 1, details={"crowd": MOVEMENT, "back_s": 9.0})
    bad = Result("kill-etcd", "kill -9 of etcd", 1, Verdict(findings=[Finding("lost", "a message is gone")]))
    return [good, storm, bad, Result("full-disk", "no space", 1, skipped="no right to mount")]


def told(folder: Path) -> dict[str, object]:
    table.write(folder / "chaos.json", results(), Options(folder=folder))
    written: dict[str, object] = json.loads((folder / "chaos.json").read_text())
    return written


def test_the_tables_show_each_case_with_its_counts(tmp_path: Path) -> None:
    tables = tables_of(told(tmp_path))
    assert "| kill-logic | kill -9 of logic-0 | 9 | 0 | 0 |" in tables["chaos"]
    assert "| kill-etcd | kill -9 of etcd | 0 | 1 | 0 |" in tables["chaos"]
    assert "skipped: no right to mount" in tables["chaos"]
    assert "| storm-5000 | 5,000 | 9.0 s | 5,000 | 480 | 12 |" in tables["storms"]


def test_the_document_says_whether_all_passed_and_keeps_other_cases_when_asked(tmp_path: Path) -> None:
    assert told(tmp_path)["passed"] is False
    again = [Result("kill-etcd", "kill -9 of etcd", 1)]
    table.write(tmp_path / "chaos.json", again, Options(folder=tmp_path), keep=True)
    kept = json.loads((tmp_path / "chaos.json").read_text())
    assert [case["case"] for case in kept["cases"]] == ["kill-logic", "storm-5000", "kill-etcd", "full-disk"]
    assert kept["passed"] is True


def test_only_what_is_between_the_marks_is_replaced() -> None:
    page = "before\n<!-- chaos -->\nold\n<!-- /chaos -->\nafter\n"
    assert put(page, "chaos", "new\n") == "before\n<!-- chaos -->\nnew\n<!-- /chaos -->\nafter\n"
    with pytest.raises(ValueError, match="no marks"):
        put(page, "storms", "new\n")


def test_the_page_has_marks_for_every_table(tmp_path: Path) -> None:
    text = PAGE.read_text()
    for name, made in tables_of(told(tmp_path)).items():
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
