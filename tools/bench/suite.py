"""Runs the standard set on a cluster of its own: started for it, and removed after it, whatever happens.

Every run's report is written as soon as it is there, so that what was measured is not lost with what fails.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.bench.accounts.processor import MIB, memory_of, processes_of
from tools.bench.own_cluster import OwnCluster
from tools.bench.plan import Plan
from tools.bench.run import progress, run
from tools.bench.standard import FRESH, START, TWO_NODES, standard_set
from tools.cli.failure import WrongUse
from tools.cli.output import notes
from tools.cli.target import find


@dataclass(frozen=True, slots=True)
class Suite:
    """`only` names runs; empty: all. What an earlier report has of the others is kept then."""

    data: Path
    port_base: int
    file: Path
    only: Sequence[str] = ()

    def measure(self) -> dict[str, Any]:
        """The whole report. Raises Failure."""
        from tools.bench.report.document import surroundings

        runs = self._chosen()
        report = {**self._kept(), "workload": "standard", "right": True, **surroundings()}
        report.setdefault("runs", {})
        began = time.monotonic()
        nodes = 1
        with self.cluster(report["runs"]):
            processes = processes_of(find(self.data).snapshot)
            report["memory_at_start_mb"] = {name: round(size / MIB, 1) for name, size in memory_of(processes).items()}
            for number, (name, plan) in enumerate(runs.items(), 1):
                notes.print(f"[{number}/{len(runs)}] {name}, {time.monotonic() - began:.0f} s so far")
                if name in FRESH:
                    self._own.command("restart", "access")
                if name in TWO_NODES and nodes == 1:
                    nodes = 2
                    self._own.command("scale", "access=2")
                report["runs"][name] = run(plan, find(self.data))
                self._write(report)
        report["took_s"] = round(time.monotonic() - began)
        self._write(report)
        return report

    def _chosen(self) -> dict[str, Plan]:
        every = standard_set()
        unknown = [name for name in self.only if name not in every and name != START]
        if unknown:
            raise WrongUse(f"There is no run {unknown[0]!r}.", f"There are {', '.join([START, *every])}.")
        return {name: plan for name, plan in every.items() if not self.only or name in self.only}

    def _kept(self) -> dict[str, Any]:
        if not self.only or not self.file.exists():
            return {}
        try:
            kept = json.loads(self.file.read_text())
        except ValueError:
            return {}
        return kept if isinstance(kept, dict) and kept.get("workload") == "standard" else {}

    def _write(self, report: dict[str, Any]) -> None:
        report["right"] = all(each.get("right", True) for each in report["runs"].values())
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(report, indent=1) + "\n")

    @contextmanager
    def cluster(self, runs: dict[str, Any]) -> Iterator[None]:
        """Set up; and measured how long it takes to start again, if that is asked for."""
        notes.print("a cluster of its own starts …")
        own = self._own
        with own.removed_after():
            first_s = own.up()
            if not self.only or START in self.only:
                own.command("down")
                runs[START] = {"workload": START, "first_s": round(first_s, 1), "ready_s": round(own.up(), 2)}
            yield

    @property
    def _own(self) -> OwnCluster:
        return OwnCluster(self.data, self.port_base)


def start_alone(data: Path, port_base: int) -> Mapping[str, Any]:
    """How long a cluster takes to start, the first time and again. Raises Failure."""
    runs: dict[str, Any] = {}
    suite = Suite(data, port_base, Path("build/bench.json"), (START,))
    with progress(START) as show:
        show("a cluster starts, stops, and starts again", 0, 0)
        with suite.cluster(runs):
            show("it is ready", 0, 0)
    started: Mapping[str, Any] = runs[START]
    return started
