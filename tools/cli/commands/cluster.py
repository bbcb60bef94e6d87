"""The commands that look at a cluster: nodes, ring, slot, and the token that a user shows to it."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import typer
from rich.table import Table

from tidings_protocol.ids import SLOTS, slot_of
from tools.cli.failure import Failure
from tools.cli.options import DATA_DEFAULT, ClusterName, Data, Etcd, Json, SecretFile
from tools.cli.output import put_json, results
from tools.cli.target import TTL_DEFAULT_S, Target, check_user, find


def token(
    user: Annotated[str, typer.Argument(metavar="USER")],
    ttl: Annotated[float, typer.Option("--ttl", metavar="S", help="How many seconds it is good for.")] = TTL_DEFAULT_S,
    data: Data = DATA_DEFAULT,
    etcd: Etcd = None,
    cluster: ClusterName = None,
    secret_file: SecretFile = None,
    json: Json = False,
) -> None:
    """Print a signed token for a user."""
    check_user(user)
    if secret_file is not None and not etcd:
        target = Target(cluster or "local", "", secret_file, None, None)
    else:
        target = find(data, etcd, cluster, secret_file, running=False)
    signed = target.token(user, ttl)
    if json:
        put_json({"token": signed})
    else:
        results.print(signed, markup=False)


def nodes(data: Data = DATA_DEFAULT, etcd: Etcd = None, cluster: ClusterName = None, json: Json = False) -> None:
    """Who is alive."""
    from services.common.registry.contract import NodeRecord
    from tools.cli.cluster_view import run, view

    async def records() -> list[NodeRecord]:
        async with view(find(data, etcd, cluster)) as seen:
            return list(seen.membership.nodes)

    found = [
        {
            "name": node.name,
            "kind": node.kind,
            "boot_id": node.boot_id,
            "address": node.rpc,
            "weight": node.weight,
            "state": node.state,
            **{name: value for name in ("ws", "tcp", "ops") if (value := getattr(node, name))},
        }
        for node in run(records())
    ]
    if json:
        put_json({"nodes": found})
        return
    _print_table(found, ("name", "state", "address", "ws", "tcp", "ops", "weight", "boot_id"))


def ring(data: Data = DATA_DEFAULT, etcd: Etcd = None, cluster: ClusterName = None, json: Json = False) -> None:
    """Who owns which users, and how evenly."""
    from tools.cli.cluster_view import run, view

    async def owners_now() -> tuple[str | None, ...]:
        async with view(find(data, etcd, cluster)) as seen:
            return seen.ring("access").owners

    owners = run(owners_now())
    counts = Counter(owner for owner in owners if owner is not None)
    shares = [
        {"name": name, "slots": count, "share": round(count / SLOTS, 4)} for name, count in sorted(counts.items())
    ]
    if json:
        put_json({"slots": SLOTS, "nodes": shares, "owners": list(owners)})
        return
    if not shares:
        raise Failure("The ring is empty: no access node is ready.", "Look at `tidings nodes`.")
    _print_table(shares, ("name", "slots", "share"))
    most, mean = max(counts.values()), SLOTS / len(counts)
    results.print(f"The fullest node has {most / mean:.2f} times the mean.")


def slot(
    user: Annotated[str, typer.Argument(metavar="USER")],
    data: Data = DATA_DEFAULT,
    etcd: Etcd = None,
    cluster: ClusterName = None,
    json: Json = False,
) -> None:
    """Where a user belongs."""
    from tools.cli.cluster_view import run, view

    number = slot_of(check_user(user))

    async def owner() -> dict[str, Any]:
        async with view(find(data, etcd, cluster)) as seen:
            name = seen.ring("access").owner(number)
            node = seen.node(name) if name else None
            if node is None:
                raise Failure("No access node is ready.", "Look at `tidings nodes`.")
            return {"user": user, "slot": number, "node": node.name, "ws": node.ws, "tcp": node.tcp}

    found = run(owner())
    if json:
        put_json(found)
    else:
        results.print(f"{user}: slot {number}, node {found['node']}, {found['ws']}, tcp {found['tcp']}")


def _print_table(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(str(row.get(column, "")) for column in columns))
    results.print(table)
