"""One run from its plan to what people see of it: measured, written, shown beside an earlier one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from tools.bench.options import Shared
from tools.bench.plan import Plan
from tools.cli.failure import WrongUse
from tools.cli.output import notes, put_json, results


def measure(plan: Plan, shared: Shared) -> None:
    """Exit 1 if a promise was broken. Raises Failure."""
    from tools.bench.run import run

    target = shared.target()
    old = earlier(shared.compare) if shared.compare else None
    written(run(plan, target), shared.report, old, as_json=shared.json)


def written(told: Mapping[str, Any], report: Path, old: Mapping[str, Any] | None = None, *, as_json: bool) -> None:
    """Writes the report of a run and shows it. Exit 1 if a promise was broken."""
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps(told, indent=1) + "\n")
    if as_json:
        put_json(told)
    else:
        _show(told, old)
        notes.print(f"written to {report}")
    if not told["right"]:
        raise typer.Exit(1)


def earlier(file: Path) -> dict[str, Any]:
    """The report that a run wrote there. Raises WrongUse."""
    try:
        told: dict[str, Any] = json.loads(file.read_text())
    except OSError as error:
        raise WrongUse(f"{file} cannot be read: {error.strerror}.", "Give a report that a run wrote.") from error
    except ValueError as error:
        raise WrongUse(f"{file} is no report: {error}.", "Give a report that a run wrote.") from error
    if not isinstance(told, dict):
        raise WrongUse(f"{file} is no report.", "Give a report that a run wrote.")
    return told


def _show(told: Mapping[str, Any], old: Mapping[str, Any] | None) -> None:
    from tools.bench.report.tables import changes_table, table

    results.print(table(told))
    if old is not None:
        results.print(changes_table(old, told))
