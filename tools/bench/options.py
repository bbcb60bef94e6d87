"""The options that the workloads share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

REPORT_DEFAULT = Path("build/bench.json")

Users = Annotated[int, typer.Option("--users", metavar="N", help="Connected users.")]
Window = Annotated[int, typer.Option("--window", metavar="N", help="Unanswered sends of each sender.")]
Seconds = Annotated[float, typer.Option("--seconds", metavar="S", help="How long to measure.")]
Rate = Annotated[
    float | None,
    typer.Option("--rate", metavar="N", help="Open loop: so many messages a second, whatever the answers do."),
]
Warmup = Annotated[float, typer.Option("--warmup", metavar="S", help="Load before it counts.")]
Size = Annotated[int, typer.Option("--size", metavar="BYTES", help="Of each text.")]
Processes = Annotated[int, typer.Option("--processes", metavar="N", help="Of the load generator.")]
Transport = Annotated[str, typer.Option("--transport", metavar="ws|tcp", help="How the users connect.")]
JsonClients = Annotated[
    float, typer.Option("--json-clients", metavar="SHARE", help="Of the users, from 0 to 1, speak JSON.")
]
Members = Annotated[int, typer.Option("--members", metavar="N", help="Of each group.")]
Report = Annotated[Path, typer.Option("--report", metavar="FILE", help="Where the figures go.")]
Compare = Annotated[
    Path | None,
    typer.Option("--compare", metavar="OLD.json", help="Show the ratios to an earlier report."),
]
