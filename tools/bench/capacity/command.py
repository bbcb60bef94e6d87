"""The command line of `tidings capacity`."""

from __future__ import annotations

import dataclasses
import json as json_format
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from tools.bench.capacity.model import Needs, Profile
from tools.cli.failure import WrongUse
from tools.cli.options import Json
from tools.cli.output import put_json, results

FIGURES = Path(__file__).with_name("figures.json")

capacity = typer.Typer(add_completion=False, invoke_without_command=True)


def _option(name: str, help: str, metavar: str = "N") -> Any:
    return typer.Option(name, metavar=metavar, help=help)


DEFAULTS = Profile(online=1)


@capacity.callback()
def _capacity(
    context: typer.Context,
    online: Annotated[int, _option("--online", "Users connected at the busiest time.")] = 1_000_000,
    messages_per_user_day: Annotated[
        float, _option("--messages-per-user-day", "That a user who is online sends.")
    ] = DEFAULTS.messages_per_user_day,
    peak: Annotated[float, _option("--peak", "The busiest hour, to the mean of the day.")] = DEFAULTS.peak,
    direct_share: Annotated[
        float, _option("--direct", "Of messages, from one to one; the others go to groups.", "SHARE")
    ] = DEFAULTS.direct_share,
    large_share: Annotated[
        float, _option("--large", "Of messages, to groups of more than 200 members.", "SHARE")
    ] = DEFAULTS.large_share,
    group_size: Annotated[float, _option("--group-size", "Members of a group.")] = DEFAULTS.group_size,
    large_group_size: Annotated[
        float, _option("--large-group-size", "Members of a large group.")
    ] = DEFAULTS.large_group_size,
    online_share: Annotated[
        float, _option("--online-share", "Of the recipients of a message are online.", "SHARE")
    ] = DEFAULTS.online_share,
    devices: Annotated[float, _option("--devices", "Connected, of a user who is online.")] = DEFAULTS.devices,
    websocket_share: Annotated[
        float, _option("--websocket", "Of connections; the others are TCP.", "SHARE")
    ] = DEFAULTS.websocket_share,
    tls_share: Annotated[
        float,
        _option("--tls", "Of connections, with TLS that ends at the node, not at a balancer.", "SHARE"),
    ] = DEFAULTS.tls_share,
    large_frames_share: Annotated[
        float, _option("--large-frames", "Of connections, bring a frame of 128 KB once; its buffers stay.", "SHARE")
    ] = DEFAULTS.large_frames_share,
    signals_per_message: Annotated[
        float, _option("--signals", "Typing and the like, for each message.")
    ] = DEFAULTS.signals_per_message,
    connects_per_user_day: Annotated[
        float, _option("--connects-per-user-day", "How often a user comes back.")
    ] = DEFAULTS.connects_per_user_day,
    text_bytes: Annotated[float, _option("--text-bytes", "Of a message.")] = DEFAULTS.text_bytes,
    retention_days: Annotated[float, _option("--retention-days", "How long it is kept.")] = DEFAULTS.retention_days,
    utilisation: Annotated[
        float, _option("--utilisation", "Of processors, memory and discs, at the busiest time.", "SHARE")
    ] = DEFAULTS.utilisation,
    node_memory_gb: Annotated[float, _option("--node-memory", "Of an access node.", "GB")] = DEFAULTS.node_memory_gb,
    broker_cores: Annotated[float, _option("--broker-cores", "Of a Kafka broker.")] = DEFAULTS.broker_cores,
    shard_cores: Annotated[float, _option("--shard-cores", "Of a MongoDB member.")] = DEFAULTS.shard_cores,
    shard_disk_tb: Annotated[float, _option("--shard-disk", "Of a MongoDB member.", "TB")] = DEFAULTS.shard_disk_tb,
    figures: Annotated[
        Path, typer.Option("--figures", metavar="FILE", help="Measured costs; `make bench` writes them.")
    ] = FIGURES,
    json: Json = False,
) -> None:
    """What a cluster for so many users needs, and where its first limit is. docs/capacity.md explains the model."""
    if context.invoked_subcommand is not None:
        return
    from tools.bench.capacity.model import needs

    try:
        profile = Profile(
            online=online,
            messages_per_user_day=messages_per_user_day,
            peak=peak,
            direct_share=direct_share,
            large_share=large_share,
            group_size=group_size,
            large_group_size=large_group_size,
            online_share=online_share,
            devices=devices,
            websocket_share=websocket_share,
            tls_share=tls_share,
            large_frames_share=large_frames_share,
            signals_per_message=signals_per_message,
            connects_per_user_day=connects_per_user_day,
            text_bytes=text_bytes,
            retention_days=retention_days,
            utilisation=utilisation,
            node_memory_gb=node_memory_gb,
            broker_cores=broker_cores,
            shard_cores=shard_cores,
            shard_disk_tb=shard_disk_tb,
        )
    except ValueError as error:
        raise WrongUse(f"{error}.", "See `tidings capacity --help`.") from error
    found = needs(profile, _figures(figures))
    if json:
        put_json({"profile": dataclasses.asdict(profile), **found.document()})
    else:
        _show(found)


@capacity.command()
def ring(
    nodes: Annotated[int, typer.Option("--nodes", metavar="N", min=1, max=4096, help="Access nodes.")] = 1000,
    users: Annotated[int, typer.Option("--users", metavar="N", min=1, help="Laid on the slots.")] = 10_000_000,
    json: Json = False,
) -> None:
    """Measure the ring of a large cluster: balance, what a join or leave moves, and the time it takes."""
    from tools.bench.capacity.ring_measure import measure

    told = measure(nodes, users)
    if json:
        put_json(dataclasses.asdict(told))
        return
    shown = Table("the ring", f"{told.nodes:,} nodes, {told.users:,} users")
    for name, value in (
        ("slots of the fullest node", f"{told.slots_most:.2f} × the mean"),
        ("slots of the emptiest node", f"{told.slots_least:.2f} × the mean"),
        ("users of the fullest node", f"{told.users_most:.2f} × the mean"),
        ("users of the emptiest node", f"{told.users_least:.2f} × the mean"),
        (
            "moved when a node joins, at most",
            f"{told.moved_by_join:.2%} of the slots (1 / nodes: {1 / told.nodes:.2%})",
        ),
        ("moved when a node leaves, at most", f"{told.moved_by_leave:.2%} of the slots"),
        ("built in", f"{told.build_ms:.0f} ms"),
        ("users laid on slots", f"{told.users_per_s:,.0f} a second"),
    ):
        shown.add_row(name, value)
    results.print(shown)


def _figures(file: Path) -> Any:
    from tools.bench.capacity.figures import read

    try:
        return read(json_format.loads(file.read_text()))
    except OSError as error:
        raise WrongUse(f"{file} cannot be read: {error.strerror}.", "`make bench` writes it.") from error
    except (ValueError, TypeError) as error:
        raise WrongUse(f"{file} has no measured costs: {error}.", "`make bench` writes them.") from error


def _show(found: Needs) -> None:
    rates = found.rates
    nodes = Table("what", "how many", "cores busy", "memory", "follows from")
    for part, number in found.nodes.items():
        nodes.add_row(
            f"{part} nodes", f"{number:,}", f"{found.cores[part]:,.1f}", f"{found.memory_gb[part]:,.1f} GB",
            found.bound_by[part],
        )  # fmt: skip
    nodes.add_row("Kafka brokers", f"{found.kafka_brokers:,}", f"{found.cores['kafka']:,.1f}", "", "processors")
    nodes.add_row("Kafka partitions (mailboxes)", f"{found.kafka_partitions:,}", "", "", "twice the access nodes")
    nodes.add_row(
        "MongoDB shards", f"{found.mongodb_shards:,}", f"{found.cores['mongodb']:,.1f}", "", found.bound_by["mongodb"]
    )
    nodes.add_row("MongoDB members", f"{found.mongodb_members:,}", "", "", "three to a shard")
    results.print(nodes)
    results.print(
        f"At the busiest time: {rates.connections:,.0f} connections, {rates.messages:,.0f} messages, "
        f"{rates.deliveries:,.0f} deliveries, {rates.signals:,.0f} signals and {rates.connects:,.0f} connects a "
        f"second; Kafka {found.kafka_mb_per_s:,.1f} MB a second; stored {found.stored_tb:,.2f} TB, three times."
    )
    limits = Table("limit", "reached at so many online", "why")
    for limit in found.limits:
        limits.add_row(limit.name, f"{limit.at_online:,}", limit.why)
    results.print(limits)
