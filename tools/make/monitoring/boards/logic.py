"""Logic nodes and the router: what they decide and how fast, what they publish and to whom, what they call."""

from __future__ import annotations

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
                    (Query(rate("tidings_rpc_server_seconds_count", "method", HERE), "{{method}}"),),
                    Kind.STACKED,
                ),
                Panel(
                    "Calls that fail",
                    "By method and code, those that the cluster is to blame for.",
                    "reqps",
                    (
                        Query(
                            rate("tidings_rpc_server_seconds_count", "method, code", f"{HERE},{BAD}"),
                            "{{method}} {{code}}",
                            "a healthy cluster has none",
                        ),
                    ),
                ),
                Panel(
                    "Time of calls, p99",
                    "By method.",
                    "s",
                    (Query(quantile(0.99, "tidings_rpc_server_seconds", "method", HERE), "{{method}}"),),
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
                    (Query(rate("tidings_stale_decisions_total", "request", HERE), "{{request}}"),),
                ),
                Panel(
                    "Groups in memory",
                    "Of each node.",
                    "short",
                    (Query(total("tidings_groups_cached", "instance", HERE), "{{instance}}"),),
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
                    (Query(rate("tidings_evictions_total", "reason", HERE), "{{reason}}", NOBODY),),
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
                    (Query(rate("tidings_bus_published_total", "topic", HERE), "{{topic}}"),),
                ),
                Panel(
                    "Bytes",
                    "Of records that Kafka acknowledged.",
                    "Bps",
                    (Query(rate("tidings_bus_published_bytes_total", "topic", HERE), "{{topic}}"),),
                ),
                Panel(
                    "Time of publishing",
                    "Until Kafka acknowledges.",
                    "s",
                    (
                        Query(quantile(0.5, "tidings_bus_publish_seconds", where=HERE), "p50"),
                        Query(quantile(0.99, "tidings_bus_publish_seconds", where=HERE), "p99"),
                    ),
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
                    (Query(total("tidings_publish_backlog_bytes", "instance", HERE), "{{instance}}"),),
                ),
                Panel(
                    "Batches",
                    "Items of a batch on average, by lane.",
                    "short",
                    (Query(mean("tidings_lane_batch", "lane", HERE), "{{lane}}"),),
                ),
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
                    (Query(quantile(0.99, "tidings_rpc_client_seconds", "method", ANY), "{{method}}"),),
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
                    (Query(rate("tidings_rpc_retries_total", "method", ANY), "{{method}}", "no node has failed"),),
                ),
                Panel(
                    "Channels",
                    "Open channels to other nodes.",
                    "short",
                    (Query(total("tidings_rpc_channels", "instance", ANY), "{{instance}}"),),
                ),
            ),
        ),
        Row(
            "Process",
            (
                Panel(
                    "Lanes",
                    "Items that wait, by lane.",
                    "short",
                    (Query(total("tidings_lane_depth", "lane", HERE), "{{lane}}"),),
                    Kind.STACKED,
                ),
                Panel(
                    "Event loop lag",
                    "How much later than asked the loop wakes.",
                    "s",
                    (Query(quantile(0.99, "tidings_event_loop_lag_seconds", "instance", HERE), "p99 {{instance}}"),),
                ),
                Panel(
                    "Processor and collector",
                    "Cores used, and the share of the time that the garbage collector's pauses take.",
                    "none",
                    (
                        Query(rate("process_cpu_seconds_total", "instance", HERE), "cores {{instance}}"),
                        Query(rate("tidings_gc_pause_seconds_sum", "instance", HERE), "collector {{instance}}"),
                    ),
                ),
            ),
        ),
    ),
)
