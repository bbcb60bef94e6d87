"""The rest of `tidings bench`, beside the workloads: the standard set of them, and the start of a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tools.bench import options
from tools.bench.measuring import earlier, written
from tools.bench.own_cluster import OwnCluster
from tools.bench.workloads import bench
from tools.cli.options import Json
from tools.cli.output import notes, put_json, results

__all__ = ["bench"]

PortBase = Annotated[int, typer.Option("--port-base", metavar="N", help="Of the cluster that is started for it.")]
OWN_DATA = Path("build/bench-cluster")
OWN_PORTS = 18_000
CROWD_REPORT = Path("build/crowd.json")
OwnData = Annotated[Path, typer.Option("--data", metavar="DIR", help="Of the cluster that is started for it.")]


@bench.command()
def start(data: OwnData = OWN_DATA, port_base: PortBase = OWN_PORTS, json: Json = False) -> None:
    """How long a cluster takes to start: the first time, and again. It is removed after that."""
    from tools.bench.suite import start_alone

    told = start_alone(data, port_base)
    if json:
        put_json(told)
    else:
        results.print(f"ready after {told['ready_s']:g} s; the first time {told['first_s']:g} s")


@bench.command()
def crowd(
    connections: Annotated[int, typer.Option("--connections", metavar="N", help="That are held.")] = 200_000,
    seconds: options.Seconds = 600.0,
    idle: Annotated[float, typer.Option("--idle", metavar="S", help="Heartbeats alone, before the messages.")] = 60.0,
    per_second: Annotated[float, typer.Option("--per-second", metavar="N", help="Messages among them.")] = 200.0,
    access: Annotated[int, typer.Option("--access", metavar="N", help="Access nodes; 0: as many as it takes.")] = 0,
    at_once: Annotated[int, typer.Option("--at-once", metavar="N", help="That connect at a time.")] = 200,
    report: Annotated[Path, typer.Option("--report", metavar="FILE", help="Where the figures go.")] = CROWD_REPORT,
    data: OwnData = OWN_DATA,
    port_base: PortBase = OWN_PORTS,
    json: Json = False,
) -> None:
    """A great many mobile connections, on a cluster of its own that is removed after it; a few talk at any time.

    Each comes once, sends its heartbeats, and stays. Every message is accounted for: exit 1 if one is lost, doubled or
    out of order. Nodes and the processes of the load generator are as many as the system's limit of open files asks.
    """
    from tools.bench.crowd import crowd_plan, measured

    plan = crowd_plan(connections, seconds, idle, per_second, at_once)
    told = measured(plan, OwnCluster(data, port_base), access)
    written(told, report, as_json=json)


@bench.command()
def standard(
    only: Annotated[str, typer.Option("--only", metavar="RUN,…", help="These runs; the report keeps the others.")] = "",
    again: Annotated[bool, typer.Option("--again", help="Measure nothing: use the report that is there.")] = False,
    report: options.Report = options.REPORT_DEFAULT,
    compare: options.Compare = None,
    data: OwnData = OWN_DATA,
    port_base: PortBase = OWN_PORTS,
    json: Json = False,
) -> None:
    """The standard set of runs, on a cluster of its own that is removed after it. Exit 1 if a promise was broken."""
    from tools.bench.report.tables import changes_table, summary
    from tools.bench.suite import Suite

    old = earlier(compare) if compare else None
    names = [name for name in only.split(",") if name]
    told = earlier(report) if again else Suite(data, port_base, report, names).measure()
    if json:
        put_json(told)
    else:
        results.print(summary(told))
        if old is not None:
            results.print(changes_table(old, told))
        notes.print(f"written to {report}")
    if not told["right"]:
        raise typer.Exit(1)
