"""Logic nodes and the router: what they decide and how fast, what they publish and to whom, what they call."""

from __future__ import annotations

from tools.make.monitoring.boards.panels import (
    batches,
    lanes,
    loop_lag,
    p50_p99,
    p99_by,
    processor_and_collector,
    rate_by,
    total_by,
)
from tools.make.monitoring.model import Board, Kind, Panel, Query, Row
from tools.make.monitoring.promql import NODE, mean, quantile, rate, select, share, total

JOB = 'job="tidings-logic"'
HERE = f"{JOB},{NODE}"
ANY = 'job=~"tidings-.+"'
BAD = 'code=~"unavailable|deadline|overloaded|internal"'
NO_HOOK = "no hook is configured"
NOBODY = "needs a client that behaves so"

BOARD = Board(
    uid="tidings-logic",
    title="Tidings / Logic and routing",
    description="Decisions, publishing, the rings and the calls between nodes.",
    job="tidings-logic",
    by_node=True,
    rows=(
        Row(
            "Calls that logic answers",
            (
                Panel(
                    "Calls",
                    "From access nodes and operators, by method. One call holds a batch.",
                    "reqps",
                    (rate_by("tidings_rpc_server_seconds_count", "method", HERE),),
                    Kind.STACKED,
                ),
                Panel(
                    "Calls that fail",
                    "By method and code, those that the cluster is to blame for.",
                    "reqps",
                    (
                        rate_by(
                            "tidings_rpc_server_seconds_count",
                            "method, code",
                            f"{HERE},{BAD}",
                            "a healthy cluster has none",
                        ),
                    ),
                ),
                Panel(
                    "Time of calls, p99",
                    "By method.",
                    "s",
                    (p99_by("tidings_rpc_server_seconds", "method", HERE),),
                ),
            ),
        ),
        Row(
            "Deciding",
            (
                Panel(
                    "Fan-out",
                    "Inbox entries of a message on average: 2 in a direct chat, the members in a small group, 0 "
                    "in a large one.",
                    "short",
                    (Query(mean("tidings_fanout", where=HERE), "entries"),),
                ),
                Panel(
                    "Decided again",
                    "Sends and changes of groups that met a group that had changed since it was remembered.",
                    "ops",
                    (rate_by("tidings_stale_decisions_total", "request", HERE),),
                ),
                Panel(
                    "Groups in memory",
                    "Of each node.",
                    "short",
                    (total_by("tidings_groups_cached", "instance", HERE),),
                ),
                Panel(
                    "Hook, p99 and outcomes",
                    "Calls of the hook before a send.",
                    "s",
                    (
                        Query(quantile(0.99, "tidings_hook_seconds", where=HERE), "p99", NO_HOOK),
                        Query(rate("tidings_hook_seconds_count", "outcome", HERE), "{{outcome}} /s", NO_HOOK),
                        Query(rate("tidings_hook_unseen_total", where=HERE), "passed unseen /s", NO_HOOK),
                    ),
                ),
                Panel(
                    "Sessions told to end",
                    "By the operator. Those that a newer login replaces are on the access nodes' board.",
                    "ops",
                    (rate_by("tidings_evictions_total", "reason", HERE, NOBODY),),
                ),
                Panel(
                    "Receipts",
                    "Pushed, after coalescing.",
                    "ops",
                    (Query(rate("tidings_receipts_total", where=HERE), "receipts"),),
                ),
            ),
        ),
        Row(
            "Publishing",
            (
                Panel(
                    "Records",
                    "Acknowledged by Kafka, by topic: deliver is one for each owner and batch.",
                    "recps",
                    (rate_by("tidings_bus_published_total", "topic", HERE),),
                ),
                Panel(
                    "Bytes",
                    "Of records that Kafka acknowledged.",
                    "Bps",
                    (rate_by("tidings_bus_published_bytes_total", "topic", HERE),),
                ),
                Panel(
                    "Time of publishing",
                    "Until Kafka acknowledges.",
                    "s",
                    p50_p99("tidings_bus_publish_seconds", HERE),
                ),
                Panel(
                    "Publishing that goes wrong",
                    "failed: not acknowledged in time; late: sends acknowledged without Kafka; dropped: given up "
                    "while Kafka was away "
                    "(push: devices find them by heartbeat; lasting: events that the public stream lacks); "
                    "unowned: recipients whose "
                    "slot nobody owned; by call: what went straight to access nodes because Kafka was away.",
                    "ops",
                    (
                        Query(
                            rate("tidings_bus_publish_failed_total", "topic", HERE),
                            "failed {{topic}}",
                            "Kafka has acknowledged everything",
                        ),
                        Query(rate("tidings_bus_late_total", where=HERE), "late"),
                        Query(rate("tidings_publish_dropped_total", "kind", HERE), "dropped {{kind}}"),
                        Query(rate("tidings_pushes_unowned_total", where=HERE), "unowned"),
                        Query(rate("tidings_parcels_direct_total", "outcome", HERE), "by call {{outcome}}"),
                    ),
                ),
                Panel(
                    "Backlog while Kafka is away",
                    "Bytes that wait to be published.",
                    "bytes",
                    (total_by("tidings_publish_backlog_bytes", "instance", HERE),),
                ),
                batches(HERE),
            ),
        ),
        Row(
            "Rings and routes",
            (
                Panel(
                    "Slots by node",
                    "Of the rings of access and storage nodes.",
                    "short",
                    (
                        Query(
                            total("tidings_ring_slots_owned", "kind, instance", 'kind=~".+",job=~"tidings-.+"')
                            + " > 0",
                            "{{kind}} {{instance}}",
                        ),
                    ),
                    Kind.STACKED,
                ),
                Panel(
                    "Changes of the rings",
                    "In five minutes, as the most eager node counts them.",
                    "short",
                    (Query(f"max by (kind) (increase({select('tidings_ring_changes_total', ANY)}[5m]))", "{{kind}}"),),
                ),
                Panel(
                    "Calls to other nodes, p99",
                    "As the callers see them, by method.",
                    "s",
                    (p99_by("tidings_rpc_client_seconds", "method", ANY),),
                ),
                Panel(
                    "Calls that fail, as callers see it",
                    "Share of the calls by method.",
                    "percentunit",
                    (
                        Query(
                            share(
                                rate("tidings_rpc_client_seconds_count", "method", f"{ANY},{BAD}"),
                                rate("tidings_rpc_client_seconds_count", "method", ANY),
                            ),
                            "{{method}}",
                            "a healthy cluster has none",
                        ),
                    ),
                ),
                Panel(
                    "Calls that went on to the next node",
                    "Because the first did not answer.",
                    "ops",
                    (rate_by("tidings_rpc_retries_total", "method", ANY, "no node has failed"),),
                ),
                Panel(
                    "Channels",
                    "Open channels to other nodes.",
                    "short",
                    (total_by("tidings_rpc_channels", "instance", ANY),),
                ),
            ),
        ),
        Row(
            "Process",
            (
                lanes(HERE),
                loop_lag(HERE),
                processor_and_collector(HERE),
            ),
        ),
    ),
)
