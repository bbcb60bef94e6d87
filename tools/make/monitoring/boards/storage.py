"""Storage nodes and the backends that everything stands on: MongoDB, Kafka, etcd, each as the nodes see it."""

from __future__ import annotations

from tools.make.monitoring.model import Board, Kind, Panel, Query, Row
from tools.make.monitoring.promql import NODE, mean, quantile, rate, select, total

JOB = 'job="tidings-storage"'
HERE = f"{JOB},{NODE}"
ANY = 'job=~"tidings-.+"'
KAFKA = 'check="kafka"'
NO_RETENTION = "retention is off, or had nothing to remove"

BOARD = Board(
    uid="tidings-storage",
    title="Tidings / Storage and backends",
    description="Messages on their way into MongoDB, and the health of MongoDB, Kafka and etcd as the nodes see it.",
    job="tidings-storage",
    by_node=True,
    rows=(
        Row(
            "Storing",
            (
                Panel(
                    "Messages stored",
                    "normal and system messages; duplicates are retries of what was stored.",
                    "mps",
                    (
                        Query(rate("tidings_stored_total", "kind", HERE), "{{kind}}"),
                        Query(rate("tidings_duplicates_total", where=HERE), "duplicates"),
                    ),
                ),
                Panel(
                    "Inbox entries",
                    "Written: one for each member of a direct chat or small group.",
                    "wps",
                    (Query(rate("tidings_inbox_entries_total", where=HERE), "entries"),),
                ),
                Panel(
                    "Calls, p99",
                    "That storage nodes answer, by method.",
                    "s",
                    (Query(quantile(0.99, "tidings_rpc_server_seconds", "method", HERE), "{{method}}"),),
                ),
                Panel(
                    "Numbered again",
                    "Batches that lost against another writer of the conversation: normal while the ring changes, "
                    "never otherwise.",
                    "ops",
                    (Query(rate("tidings_fenced_total", where=HERE), "fenced"),),
                ),
                Panel(
                    "Lanes",
                    "Items that wait, by lane.",
                    "short",
                    (Query(total("tidings_lane_depth", "lane", HERE), "{{lane}}"),),
                    Kind.STACKED,
                ),
                Panel(
                    "Batches",
                    "Items of a batch on average, by lane.",
                    "short",
                    (Query(mean("tidings_lane_batch", "lane", HERE), "{{lane}}"),),
                ),
                Panel(
                    "In memory",
                    "Conversations and users' inbox heads.",
                    "short",
                    (
                        Query(total("tidings_conversations_cached", where=HERE), "conversations"),
                        Query(total("tidings_users_cached", where=HERE), "users"),
                    ),
                ),
                Panel(
                    "Slots",
                    "Of the storage ring, by node.",
                    "short",
                    (Query(total("tidings_ring_slots_owned", "instance", HERE), "{{instance}}"),),
                    Kind.STACKED,
                ),
                Panel(
                    "Removed by retention",
                    "Documents.",
                    "ops",
                    (
                        Query(
                            rate("tidings_retention_removed_total", "collection", HERE), "{{collection}}", NO_RETENTION
                        ),
                        Query(rate("tidings_retention_failed_total", where=HERE), "left out", NO_RETENTION),
                    ),
                ),
                Panel(
                    "Clocks",
                    "How far each node's clock is ahead of MongoDB's; above two minutes, either way, retention waits.",
                    "s",
                    (Query(total("tidings_clock_lead_seconds", "instance", HERE), "{{instance}}"),),
                ),
            ),
        ),
        Row(
            "MongoDB",
            (
                Panel(
                    "Commands",
                    "By what they do.",
                    "ops",
                    (Query(rate("tidings_repository_seconds_count", "command", HERE), "{{command}}"),),
                    Kind.STACKED,
                ),
                Panel(
                    "Commands that fail",
                    "By outcome; a conflict is a writer that came second, and is dealt with.",
                    "ops",
                    (
                        Query(
                            rate("tidings_repository_seconds_count", "outcome", f'{HERE},outcome!="ok"'),
                            "{{outcome}}",
                            "a healthy cluster has none",
                        ),
                    ),
                ),
                Panel(
                    "Time of commands, p99",
                    "By what they do and to which collection.",
                    "s",
                    (
                        Query(
                            quantile(0.99, "tidings_repository_seconds", "command, collection", HERE),
                            "{{command}} {{collection}}",
                        ),
                    ),
                ),
                Panel(
                    "Connections",
                    "Of each node's pool: open, busy, and as many as there may be.",
                    "short",
                    (
                        Query(total("tidings_repository_connections", "state", HERE), "{{state}}"),
                        Query(total("tidings_repository_connections_max", where=HERE), "most"),
                    ),
                ),
                Panel(
                    "Waiting for a connection",
                    "What a command waits for one, and commands that got none.",
                    "s",
                    (
                        Query(quantile(0.99, "tidings_repository_checkout_seconds", where=HERE), "p99"),
                        Query(rate("tidings_repository_checkouts_failed_total", "reason", HERE), "none: {{reason}} /s"),
                    ),
                ),
                Panel(
                    "Documents written",
                    "By collection.",
                    "wps",
                    (Query(rate("tidings_repository_documents_total", "collection", HERE), "{{collection}}"),),
                    Kind.STACKED,
                ),
            ),
        ),
        Row(
            "Kafka",
            (
                Panel(
                    "Lag",
                    "Records of their own partitions that access nodes have not read.",
                    "short",
                    (Query(f"max by (topic, instance) ({select('tidings_bus_lag', ANY)})", "{{topic}} {{instance}}"),),
                ),
                Panel(
                    "Transit, p99",
                    "From the making of a record to its being read. Clocks that disagree show here.",
                    "s",
                    (Query(quantile(0.99, "tidings_bus_transit_seconds", "topic", ANY), "{{topic}}"),),
                ),
                Panel(
                    "Publishing, p99",
                    "Until Kafka acknowledges, by topic.",
                    "s",
                    (Query(quantile(0.99, "tidings_bus_publish_seconds", "topic", ANY), "{{topic}}"),),
                ),
                Panel(
                    "Records read",
                    "By topic.",
                    "recps",
                    (Query(rate("tidings_bus_consumed_total", "topic", ANY), "{{topic}}"),),
                ),
                Panel(
                    "Gaps",
                    "Times that records were gone before they were read: heads are compared then, and nothing is lost.",
                    "short",
                    (
                        Query(
                            f"sum by (topic) (increase({select('tidings_bus_gaps_total', ANY)}[1h]))",
                            "{{topic}}",
                            "no record was lost",
                        ),
                    ),
                ),
                Panel(
                    "Kafka away",
                    "1 while a node says so.",
                    "none",
                    (Query(f"max by (instance) ({select('tidings_degraded', KAFKA)})", "{{instance}}"),),
                    Kind.STATES,
                    limits=((0, "green"), (1, "red")),
                ),
            ),
        ),
        Row(
            "etcd",
            (
                Panel(
                    "Calls",
                    "By operation and outcome.",
                    "ops",
                    (
                        Query(
                            rate("tidings_registry_seconds_count", "operation, outcome", ANY),
                            "{{operation}} {{outcome}}",
                        ),
                    ),
                ),
                Panel(
                    "Time of calls, p99",
                    "By operation.",
                    "s",
                    (Query(quantile(0.99, "tidings_registry_seconds", "operation", ANY), "{{operation}}"),),
                ),
                Panel(
                    "Age of the oldest lease",
                    "Since a node renewed its lease, as a share of how long it lasts: at 100 % the others take over.",
                    "percentunit",
                    (
                        Query(
                            f"max by (instance) ({select('tidings_registry_lease_age_seconds', ANY)}"
                            f" / {select('tidings_registry_lease_ttl_seconds', ANY)})",
                            "{{instance}}",
                        ),
                    ),
                    top=1,
                ),
                Panel(
                    "etcd answers",
                    "0 while a node gets no answer: membership is frozen then.",
                    "none",
                    (Query(f"min by (instance) ({select('tidings_registry_connected', ANY)})", "{{instance}}"),),
                    Kind.STATES,
                    limits=((0, "red"), (1, "green")),
                ),
                Panel(
                    "Leases lost",
                    "In one hour: a process that stood still, or a network that was cut.",
                    "short",
                    (Query(f"sum(increase({select('tidings_registry_leases_lost_total', ANY)}[1h]))", "lost"),),
                ),
                Panel(
                    "Nodes by state",
                    "As the nodes see each other: of the node that sees the most.",
                    "short",
                    (Query(f"max by (kind, state) ({select('tidings_nodes')}) > 0", "{{kind}} {{state}}"),),
                ),
            ),
        ),
        Row(
            "Process",
            (
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
                Panel(
                    "Memory",
                    "Resident memory of each process.",
                    "bytes",
                    (Query(select("process_resident_memory_bytes", HERE), "{{instance}}"),),
                ),
            ),
        ),
    ),
)
