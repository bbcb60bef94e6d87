"""The results of a run as a JSON document, a table for people, and the same table in Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from tests.chaos.run import Options
from tests.support.faults.outcome import Result
from tests.support.faults.page import machine
from tests.support.histories.verdict import COUNTS

COLUMNS = (
    "case",
    "acknowledged",
    "lost",
    "shown twice",
    "out of order",
    "never shown",
    "disagreeing",
    "misnumbered",
    "ended",
    "sender s",
    "receiver s",
    "healthy s",
)


def document(results: Sequence[Result], options: Options) -> dict[str, Any]:
    return {
        "machine": machine(),
        "seed": options.seed,
        "rate": options.rate,
        "passed": all(result.passed or result.skipped for result in results),
        "cases": [result.to_json() for result in results],
    }


def write(path: Path, results: Sequence[Result], options: Options, *, keep: bool = False) -> None:
    """`keep`: cases of an earlier run that are not in this one stay in the document."""
    told = document(results, options)
    if keep and path.exists():
        new = {case["case"]: case for case in told["cases"]}
        old = {case["case"]: case for case in json.loads(path.read_text())["cases"]}
        told["cases"] = [*(new.pop(name, case) for name, case in old.items()), *new.values()]
        told["passed"] = all(case["passed"] or case["skipped"] for case in told["cases"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=1, default=str) + "\n")


def row(result: Result) -> list[str]:
    verdict = result.verdict
    if result.skipped:
        return [result.case, "skipped", *[""] * (len(COLUMNS) - 2)]
    if result.problem:
        return [result.case, "failed", *[""] * (len(COLUMNS) - 2)]
    times = (verdict.sender_pause_s, verdict.receiver_pause_s, result.healthy_s)
    counts = verdict.counts
    return [
        result.case,
        f"{verdict.acknowledged:,}",
        *(str(counts[kind]) for kind in COUNTS),
        *(f"{seconds:.1f}" for seconds in times),
    ]


def for_people(results: Sequence[Result]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for number, title in enumerate(COLUMNS):
        table.add_column(title, justify="left" if number == 0 else "right")
    for result in results:
        table.add_row(*row(result), style=None if result.passed or result.skipped else "bold red")
    return table
