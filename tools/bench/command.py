"""The command line of `tidings bench`: one command a workload, and the standard set of them."""

from __future__ import annotations

import json as json_format
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tools.bench import options
from tools.bench.plan import Plan
from tools.cli.failure import Failure, WrongUse
from tools.cli.options import DATA_DEFAULT, ClusterName, Data, Etcd, Json, SecretFile
from tools.cli.output import notes, put_json, results
from tools.cli.target import Target, find

bench = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Load a cluster and measure it. Use a cluster of its own."
)


@bench.callback()
def _bench() -> None:
    """Load a cluster and measure it. Use a cluster of its own: the load shares its processors otherwise."""


@bench.command()
def direct(
    users: options.Users = 200,
    window: options.Window = 4,
    seconds: options.Seconds = 20.0,
    rate: options.Rate = None,
    warmup: options.Warmup = 3.0,
    size: options.Size = 128,
    processes: options.Processes = 1,
    transport: options.Transport = "ws",
    json_clients: options.JsonClients = 0.0,
    report: options.Report = options.REPORT_DEFAULT,
    compare: options.Compare = None,
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
    plan = _plan("direct", users, window, seconds, rate, warmup, size, processes, transport, json_clients=json_clients)
    _measure(plan, find(data, etcd, cluster, secret_file), report, compare, as_json=json)


@bench.command()
def signals(
    users: options.Users = 200,
    window: options.Window = 4,
    seconds: options.Seconds = 20.0,
    rate: options.Rate = None,
    warmup: options.Warmup = 3.0,
    processes: options.Processes = 1,
    transport: options.Transport = "ws",
    json_clients: options.JsonClients = 0.0,
    report: options.Report = options.REPORT_DEFAULT,
    compare: options.Compare = None,
    data: Data = DATA_DEFAULT,
    etcd: Etcd = None,
    cluster: ClusterName = None,
    secret_file: SecretFile = None,
    json: Json = False,
) -> None:
    """Signals between pairs of users, which are not stored. Each is answered by the next of the other."""
    plan = _plan("signals", users, window, seconds, rate, warmup, 48, processes, transport, json_clients=json_clients)
    _measure(plan, find(data, etcd, cluster, secret_file), report, compare, as_json=json)


@bench.command()
def group(
    groups: Annotated[int, typer.Option("--groups", metavar="N", help="How many.")] = 1,
    members: options.Members = 1000,
    senders: Annotated[int, typer.Option("--senders", metavar="N", help="Members of each that write.")] = 4,
    window: options.Window = 1,
    seconds: options.Seconds = 20.0,
    rate: options.Rate = None,
    warmup: options.Warmup = 3.0,
    size: options.Size = 128,
    processes: options.Processes = 1,
    transport: options.Transport = "ws",
    json_clients: options.JsonClients = 0.0,
    report: options.Report = options.REPORT_DEFAULT,
    compare: options.Compare = None,
    data: Data = DATA_DEFAULT,
    etcd: Etcd = None,
    cluster: ClusterName = None,
    secret_file: SecretFile = None,
    json: Json = False,
) -> None:
    """Groups whose members are all online: every member must get every message. What is counted is deliveries."""
    plan = _plan(
        "group", groups * members, window, seconds, rate, warmup, size, processes, transport,
        json_clients=json_clients, members=members, senders=senders,
    )  # fmt: skip
    _measure(plan, find(data, etcd, cluster, secret_file), report, compare, as_json=json)


@bench.command()
def idle(
    users: options.Users = 10_000,
    seconds: options.Seconds = 30.0,
    warmup: options.Warmup = 5.0,
    processes: options.Processes = 1,
    transport: options.Transport = "ws",
    json_clients: options.JsonClients = 0.0,
    report: options.Report = options.REPORT_DEFAULT,
    compare: options.Compare = None,
    data: Data = DATA_DEFAULT,
    etcd: Etcd = None,
    cluster: ClusterName = None,
    secret_file: SecretFile = None,
    json: Json = False,
) -> None:
    """Connections that only send their heartbeat: memory and processor time of each.

    Memory is what the access nodes grew by since before the first connected, so begin with nodes that just started.
    """
    plan = _plan("idle", users, 1, seconds, None, warmup, 48, processes, transport, json_clients=json_clients)
    _measure(plan, find(data, etcd, cluster, secret_file), report, compare, as_json=json)


@bench.command()
def connect(
    users: options.Users = 2000,
    at_once: Annotated[int, typer.Option("--at-once", metavar="N", help="Users that connect at a time.")] = 20,
    storm: Annotated[bool, typer.Option("--storm", help="All users at once, each once.")] = False,
    seconds: options.Seconds = 10.0,
    warmup: options.Warmup = 2.0,
    processes: options.Processes = 1,
    transport: options.Transport = "ws",
    json_clients: options.JsonClients = 0.0,
    report: options.Report = options.REPORT_DEFAULT,
    compare: options.Compare = None,
    data: Data = DATA_DEFAULT,
    etcd: Etcd = None,
    cluster: ClusterName = None,
    secret_file: SecretFile = None,
    json: Json = False,
) -> None:
    """Connect, authenticate, be welcome, leave, and again."""
    plan = _plan(
        "connect", users, users if storm else at_once, 0 if storm else seconds, None, 0 if storm else warmup, 48,
        processes, transport, json_clients=json_clients,
    )  # fmt: skip
    _measure(plan, find(data, etcd, cluster, secret_file), report, compare, as_json=json)


@bench.command()
def sync(
    groups: Annotated[int, typer.Option("--groups", metavar="N", help="How many.")] = 5,
    members: options.Members = 101,
    missed: Annotated[int, typer.Option("--missed", metavar="N", help="Messages that each has missed.")] = 1000,
    page: Annotated[int, typer.Option("--page", metavar="N", help="Entries of a page.")] = 500,
    size: options.Size = 128,
    processes: options.Processes = 1,
    transport: options.Transport = "ws",
    json_clients: options.JsonClients = 0.0,
    report: options.Report = options.REPORT_DEFAULT,
    compare: options.Compare = None,
    data: Data = DATA_DEFAULT,
    etcd: Etcd = None,
    cluster: ClusterName = None,
    secret_file: SecretFile = None,
    json: Json = False,
) -> None:
    """Everybody was away but one member of each group, who wrote: then all fetch what they missed at once."""
    plan = _plan(
        "sync", groups * members, 1, 0, None, 0, size, processes, transport,
        json_clients=json_clients, members=members, senders=1, messages=missed, page=page,
    )  # fmt: skip
    _measure(plan, find(data, etcd, cluster, secret_file), report, compare, as_json=json)


@bench.command()
def history(
    groups: Annotated[int, typer.Option("--groups", metavar="N", help="How many.")] = 10,
    members: options.Members = 20,
    messages: Annotated[int, typer.Option("--messages", metavar="N", help="Stored in each group.")] = 1000,
    page: Annotated[int, typer.Option("--page", metavar="N", help="Entries of a page.")] = 50,
    seconds: options.Seconds = 10.0,
    warmup: options.Warmup = 2.0,
    size: options.Size = 128,
    processes: options.Processes = 1,
    transport: options.Transport = "ws",
    json_clients: options.JsonClients = 0.0,
    report: options.Report = options.REPORT_DEFAULT,
    compare: options.Compare = None,
    data: Data = DATA_DEFAULT,
    etcd: Etcd = None,
    cluster: ClusterName = None,
    secret_file: SecretFile = None,
    json: Json = False,
) -> None:
    """All members read backwards through their group's history, page by page."""
    plan = _plan(
        "history", groups * members, 1, seconds, None, warmup, size, processes, transport,
        json_clients=json_clients, members=members, senders=1, messages=messages, page=page,
    )  # fmt: skip
    _measure(plan, find(data, etcd, cluster, secret_file), report, compare, as_json=json)


@bench.command()
def mixed(
    users: options.Users = 1000,
    members: options.Members = 20,
    rate: Annotated[float, typer.Option("--rate", metavar="N", help="Messages a second at noon.")] = 200.0,
    direct_share: Annotated[float, typer.Option("--direct", metavar="SHARE", help="Of messages are direct.")] = 0.7,
    typing: Annotated[float, typer.Option("--typing", metavar="N", help="Signals with each message.")] = 0.5,
    read: Annotated[float, typer.Option("--read", metavar="N", help="Receipts with each message.")] = 0.5,
    looks: Annotated[float, typer.Option("--history", metavar="N", help="Looks into a history.")] = 0.05,
    reconnect: Annotated[float, typer.Option("--reconnect", metavar="N", help="Reconnects.")] = 0.02,
    seconds: options.Seconds = 30.0,
    warmup: options.Warmup = 0.0,
    size: options.Size = 128,
    processes: options.Processes = 1,
    transport: options.Transport = "ws",
    json_clients: options.JsonClients = 0.0,
    report: options.Report = options.REPORT_DEFAULT,
    compare: options.Compare = None,
    data: Data = DATA_DEFAULT,
    etcd: Etcd = None,
    cluster: ClusterName = None,
    secret_file: SecretFile = None,
    json: Json = False,
) -> None:
    """A day of a chat product in miniature: quiet at its ends, busiest in its middle. Shares are per message."""
    mix = {"direct": direct_share, "typing": typing, "read": read, "history": looks, "reconnect": reconnect}
    plan = _plan(
        "mixed", users, 1, seconds, rate, warmup, size, processes, transport,
        json_clients=json_clients, members=members, senders=members, mix=mix,
    )  # fmt: skip
    _measure(plan, find(data, etcd, cluster, secret_file), report, compare, as_json=json)


def _plan(
    workload: str, users: int, window: int, seconds: float, rate: float | None, warmup_s: float, size_bytes: int,
    processes: int, transport: str, **own: Any,
) -> Plan:  # fmt: skip
    """Raises WrongUse."""
    try:
        return Plan(workload, users, window, seconds, rate, warmup_s, size_bytes, processes, transport, **own)
    except ValueError as error:
        raise WrongUse(f"{error}.", f"See `tidings bench {workload} --help`.") from error


def _measure(plan: Plan, target: Target, file: Path, compared: Path | None, *, as_json: bool) -> None:
    """Exit 1 if a promise was broken. Raises Failure."""
    from tools.bench.run import run

    old = _earlier(compared) if compared else None
    told = run(plan, target)
    _write(file, told)
    _show(told, old, as_json=as_json, file=file)
    if not told["right"]:
        raise typer.Exit(1)


def _show(told: Mapping[str, Any], old: Mapping[str, Any] | None, *, as_json: bool, file: Path) -> None:
    from tools.bench.report.document import changes_table, table

    if as_json:
        put_json(told)
        return
    results.print(table(told))
    if old is not None:
        results.print(changes_table(old, told))
    notes.print(f"written to {file}")


def _write(file: Path, told: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json_format.dumps(told, indent=1) + "\n")


def _earlier(file: Path) -> dict[str, Any]:
    """Raises WrongUse."""
    try:
        told: dict[str, Any] = json_format.loads(file.read_text())
    except OSError as error:
        raise WrongUse(f"{file} cannot be read: {error.strerror}.", "Give a report that a run wrote.") from error
    except ValueError as error:
        raise WrongUse(f"{file} is no report: {error}.", "Give a report that a run wrote.") from error
    if not isinstance(told, dict):
        raise WrongUse(f"{file} is no report.", "Give a report that a run wrote.")
    return told


PortBase = Annotated[int, typer.Option("--port-base", metavar="N", help="Of the cluster that is started for it.")]
OWN_DATA = Path("build/bench-cluster")
OWN_PORTS = 18_000
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
def standard(
    only: Annotated[str, typer.Option("--only", metavar="RUN,…", help="These runs; the report keeps the others.")] = "",
    page: Annotated[
        Path | None, typer.Option("--page", metavar="FILE.md", help="Write its tables, and the picture beside it.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", metavar="FILE.json", help="Write what `tidings capacity` reckons with.")
    ] = None,
    capacity: Annotated[
        Path | None, typer.Option("--capacity-page", metavar="FILE.md", help="Write its tables, from those costs.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Measure nothing: use the report that is there.")] = False,
    report: options.Report = options.REPORT_DEFAULT,
    compare: options.Compare = None,
    data: OwnData = OWN_DATA,
    port_base: PortBase = OWN_PORTS,
    json: Json = False,
) -> None:
    """The standard set of runs, on a cluster of its own that is removed after it. Exit 1 if a promise was broken."""
    from tools.bench.report.document import changes_table, summary
    from tools.bench.suite import Suite

    old = _earlier(compare) if compare else None
    names = [name for name in only.split(",") if name]
    told = _earlier(report) if again else Suite(data, port_base, report, names).measure()
    _publish(told, page, figures, capacity)
    if json:
        put_json(told)
    else:
        results.print(summary(told))
        if old is not None:
            results.print(changes_table(old, told))
        notes.print(f"written to {report}")
    if not told["right"]:
        raise typer.Exit(1)


def _publish(told: Mapping[str, Any], page: Path | None, figures: Path | None, capacity: Path | None) -> None:
    """Raises Failure."""
    from tools.bench.capacity.figures import figures_of
    from tools.make.pages.performance import load_picture, put, tables_of

    try:
        if page is not None:
            page.write_text(put(page.read_text(), tables_of(told)))
            page.with_suffix(".svg").write_text(load_picture(told))
        if figures is not None:
            figures.write_text(json_format.dumps(figures_of(told), indent=1) + "\n")
        if capacity is not None:
            capacity.write_text(put(capacity.read_text(), _capacity_tables(told)))
    except (OSError, ValueError, KeyError) as error:
        raise Failure(f"The page could not be written: {error}.") from error


def _capacity_tables(told: Mapping[str, Any]) -> dict[str, str]:
    from tools.bench.capacity.figures import figures_of, read
    from tools.bench.capacity.model import Profile, needs
    from tools.bench.capacity.ring_measure import measure
    from tools.make.pages.capacity import tables_of

    return tables_of(needs(Profile(online=1_000_000), read(figures_of(told))), measure(1000, 10_000_000))
