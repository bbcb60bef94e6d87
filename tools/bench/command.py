"""The command line of `tidings bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tools.failure import WrongUse
from tools.options import DATA_DEFAULT, ClusterName, Data, Etcd, Json, SecretFile

REPORT = Path("build/bench.json")

bench = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Load a cluster and measure it. Use a cluster of its own."
)


@bench.callback()
def _bench() -> None:
    """Load a cluster and measure it. Use a cluster of its own: the load shares its processors otherwise."""


@bench.command()
def direct(
    users: Annotated[int, typer.Option("--users", metavar="N", help="Connected users, in pairs.")] = 200,
    window: Annotated[int, typer.Option("--window", metavar="N", help="Unanswered sends of each user.")] = 4,
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", help="How long to measure.")] = 20.0,
    rate: Annotated[
        float | None,
        typer.Option("--rate", metavar="N", help="Open loop: so many messages a second, whatever the answers do."),
    ] = None,
    warmup: Annotated[float, typer.Option("--warmup", metavar="S", help="Load before it counts.")] = 3.0,
    size: Annotated[int, typer.Option("--size", metavar="BYTES", help="Of each text.")] = 128,
    processes: Annotated[int, typer.Option("--processes", metavar="N", help="Of the load generator.")] = 1,
    transport: Annotated[str, typer.Option("--transport", metavar="ws|tcp", help="How the users connect.")] = "ws",
    json_clients: Annotated[
        float, typer.Option("--json-clients", metavar="SHARE", help="Of the users, from 0 to 1, speak JSON.")
    ] = 0.0,
    report: Annotated[Path, typer.Option("--report", metavar="FILE", help="Where the figures go.")] = REPORT,
    data: Data = DATA_DEFAULT,
    etcd: Etcd = None,
    cluster: ClusterName = None,
    secret_file: SecretFile = None,
    json: Json = False,
) -> None:
    """Direct messages: every acknowledged one must arrive. Exit 1 if one is lost, doubled or out of order.

    Without --rate it is a closed loop: each user has --window sends under way, so latencies are those of a system that
    is as busy as it can be. With --rate the load does not wait, and a message counts from when it should have gone out.
    """
    from tools.bench.plan import Plan
    from tools.bench.run import measure

    try:
        plan = Plan(
            workload="direct",
            users=users,
            window=window,
            seconds=seconds,
            rate=rate,
            warmup_s=warmup,
            size_bytes=size,
            processes=processes,
            transport=transport,
            json_clients=json_clients,
        )
    except ValueError as error:
        raise WrongUse(f"{error}.", "See `tidings bench direct --help`.") from error
    if not measure(plan, data, etcd, cluster, secret_file, report, as_json=json):
        raise typer.Exit(1)
