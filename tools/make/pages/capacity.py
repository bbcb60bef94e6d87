"""The tables of docs/capacity.md, between its marks: the example, and the ring as measured. Pure."""

from __future__ import annotations

from tools.bench.capacity.model import Needs
from tools.bench.capacity.ring_measure import RingReport


def tables_of(found: Needs, ring: RingReport) -> dict[str, str]:
    return {"example": _example(found), "ring": _ring(ring)}


def _example(found: Needs) -> str:
    rates = found.rates
    busy = f"{rates.messages:,.0f} messages, {rates.deliveries:,.0f} deliveries and {rates.connects:,.0f} connects"
    mongodb = f"{found.mongodb_shards:,} | {found.cores['mongodb']:,.1f} | | {found.bound_by['mongodb']}"
    lines = [
        f"For a million online who send 40 messages a day: {rates.connections:,.0f} connections; when it is busiest",
        f"{busy} a second; {found.stored_tb:,.1f} TB stored in a year, three times.",
        "",
        "| what | how many | cores busy | memory | follows from |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for part, number in found.nodes.items():
        lines.append(
            f"| {part} nodes | {number:,} | {found.cores[part]:,.1f} | {found.memory_gb[part]:,.1f} GB "
            f"| {found.bound_by[part]} |"
        )
    lines += [
        f"| Kafka brokers | {found.kafka_brokers:,} | {found.cores['kafka']:,.1f} | | processors |",
        f"| Kafka partitions | {found.kafka_partitions:,} | | | twice the access nodes |",
        f"| MongoDB shards, of 3 members | {mongodb} |",
        "",
        "| limit, the first first | reached at so many online | why |",
        "| --- | ---: | --- |",
        *(f"| {limit.name} | {limit.at_online:,} | {limit.why} |" for limit in found.limits),
    ]
    return "\n".join(lines) + "\n"


def _ring(told: RingReport) -> str:
    rows = (
        (
            "slots of the fullest and of the emptiest node",
            f"{told.slots_most:.2f} and {told.slots_least:.2f} × the mean",
        ),
        (
            "users of the fullest and of the emptiest node",
            f"{told.users_most:.2f} and {told.users_least:.2f} × the mean",
        ),
        ("moved when a node joins, the most of 20", f"{told.moved_by_join:.2%} (a node's share: {1 / told.nodes:.2%})"),
        ("moved when a node leaves, the most of 20", f"{told.moved_by_leave:.2%}"),
        ("built in", f"{told.build_ms:.0f} ms"),
        ("users laid on slots", f"{told.users_per_s:,.0f} a second"),
    )
    lines = [f"| {told.nodes:,} nodes, {told.users:,} users | |", "| --- | ---: |"]
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in rows)]) + "\n"
