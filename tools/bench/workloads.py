"""The command line of the workloads: each declares its own options, and makes a plan of them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tools.bench import options
from tools.bench.measuring import measure
from tools.bench.options import Shared, sharing
from tools.bench.plan import SIZE_MIN_BYTES, Plan
from tools.cli.failure import WrongUse

bench = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Load a cluster and measure it. Use a cluster of its own."
)


@bench.callback()
def _bench() -> None:
    """Load a cluster and measure it. Use a cluster of its own: the load shares its processors otherwise."""


@bench.command()
@sharing
def direct(
    shared: Shared,
    users: options.Users = 200,
    window: options.Window = 4,
    seconds: options.Seconds = 20.0,
    rate: options.Rate = None,
    warmup: options.Warmup = 3.0,
    size: options.Size = 128,
) -> None:
    """Direct messages: every acknowledged one must arrive. Exit 1 if one is lost, doubled or out of order.

    Without --rate it is a closed loop: each user has --window sends under way, so latencies are those of a system that
    is as busy as it can be. With --rate the load does not wait, and a message counts from when it should have gone out.
    """
    _run(shared, "direct", users, seconds, warmup, size, window=window, rate=rate)


@bench.command()
@sharing
def signals(
    shared: Shared,
    users: options.Users = 200,
    window: options.Window = 4,
    seconds: options.Seconds = 20.0,
    rate: options.Rate = None,
    warmup: options.Warmup = 3.0,
) -> None:
    """Signals between pairs of users, which are not stored. Each is answered by the next of the other."""
    _run(shared, "signals", users, seconds, warmup, window=window, rate=rate)


@bench.command()
@sharing
def group(
    shared: Shared,
    groups: options.Groups = 1,
    members: options.Members = 1000,
    senders: Annotated[int, typer.Option("--senders", metavar="N", help="Members of each that write.")] = 4,
    window: options.Window = 1,
    seconds: options.Seconds = 20.0,
    rate: options.Rate = None,
    warmup: options.Warmup = 3.0,
    size: options.Size = 128,
) -> None:
    """Groups whose members are all online: every member must get every message. What is counted is deliveries."""
    shape = {"members": members, "senders": senders}
    _run(shared, "group", groups * members, seconds, warmup, size, window=window, rate=rate, **shape)


@bench.command()
@sharing
def idle(
    shared: Shared,
    users: options.Users = 10_000,
    seconds: options.Seconds = 30.0,
    warmup: options.Warmup = 5.0,
) -> None:
    """Connections that only send their heartbeat: memory and processor time of each.

    Memory is what the access nodes grew by since before the first connected, so begin with nodes that just started.
    """
    _run(shared, "idle", users, seconds, warmup)


@bench.command()
@sharing
def connect(
    shared: Shared,
    users: options.Users = 2000,
    at_once: Annotated[int, typer.Option("--at-once", metavar="N", help="Users that connect at a time.")] = 20,
    storm: Annotated[bool, typer.Option("--storm", help="All users at once, each once.")] = False,
    seconds: options.Seconds = 10.0,
    warmup: options.Warmup = 2.0,
) -> None:
    """Connect, authenticate, be welcome, leave, and again."""
    if storm:
        _run(shared, "connect", users, 0, 0, window=users)
    else:
        _run(shared, "connect", users, seconds, warmup, window=at_once)


@bench.command()
@sharing
def sync(
    shared: Shared,
    groups: options.Groups = 5,
    members: options.Members = 101,
    missed: Annotated[int, typer.Option("--missed", metavar="N", help="Messages that each has missed.")] = 1000,
    page: options.Page = 500,
    size: options.Size = 128,
) -> None:
    """Everybody was away but one member of each group, who wrote: then all fetch what they missed at once."""
    shape = {"members": members, "senders": 1, "messages": missed, "page": page}
    _run(shared, "sync", groups * members, 0, 0, size, **shape)


@bench.command()
@sharing
def history(
    shared: Shared,
    groups: options.Groups = 10,
    members: options.Members = 20,
    messages: Annotated[int, typer.Option("--messages", metavar="N", help="Stored in each group.")] = 1000,
    page: options.Page = 50,
    seconds: options.Seconds = 10.0,
    warmup: options.Warmup = 2.0,
    size: options.Size = 128,
) -> None:
    """All members read backwards through their group's history, page by page."""
    shape = {"members": members, "senders": 1, "messages": messages, "page": page}
    _run(shared, "history", groups * members, seconds, warmup, size, **shape)


@bench.command()
@sharing
def mixed(
    shared: Shared,
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
) -> None:
    """A day of a chat product in miniature: quiet at its ends, busiest in its middle. Shares are per message."""
    mix: dict[str, float] = {
        "direct": direct_share,
        "typing": typing,
        "read": read,
        "history": looks,
        "reconnect": reconnect,
    }
    shape: dict[str, Any] = {"members": members, "senders": members, "mix": mix}
    _run(shared, "mixed", users, seconds, warmup, size, rate=rate, **shape)


def _run(
    shared: Shared, workload: str, users: int, seconds: float, warmup_s: float, size_bytes: int = SIZE_MIN_BYTES, *,
    window: int = 1, rate: float | None = None, **shape: Any,
) -> None:  # fmt: skip
    """Plan and measure. Raises WrongUse, Failure; exits with 1 if a promise was broken."""
    generator = (shared.processes, shared.transport, shared.json_clients)
    try:
        plan = Plan(workload, users, window, seconds, rate, warmup_s, size_bytes, *generator, **shape)
    except ValueError as error:
        raise WrongUse(f"{error}.", f"See `tidings bench {workload} --help`.") from error
    measure(plan, shared)
