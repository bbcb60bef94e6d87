"""Storage nodes and the backends that everything stands on: MongoDB, Kafka, etcd, each as the nodes see it."""

from __future__ import annotations

from tools.make.monitoring.boards.panels import (
    batches,
    lanes,
    loop_lag,
    memory,
    p99_by,
    processor_and_collector,
    rate_by,
    total_by,
)
from tools.make.monitoring.model import Board, Kind, Panel, Query, Row
from tools.make.monitoring.promql import NODE, quantile, rate, select, total

JOB = 'job="tidings-storage"'
HERE = f"{JOB},{NODE}"
ACCESS = 'job="tidings-access"'
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
                        rate_by("tidings_stored_total", "kind", HERE),
                        Query(rate("tidings_duplicates_total", where=HERE), "duplicates"),
                    ),
                ),
                Panel(
                    "Ways of rows",
                    "plain: in one insert with their inbox entries. general: all others, which cost several times as "
                    "much: first messages, repeats, what is not in memory, and what is done again after an insert "
                    "that failed.",
                    "mps",
                    (rate_by("tidings_store_rows_total", "way", HERE),),
                    Kind.STACKED,
                ),
                Panel(
                    "Inbox entries",
                    "Written: one for each member of a direct chat or small group.",
                    "wps",
                    (Query(rate("tidings_inbox_entries_total", where=HERE), "entries"),),
                ),
                Panel(
                    "Events told",
                    "Messages and changes of groups that went on the stream for other systems; too large: left out.",
                    "ops",
                    (
                        Query(rate("tidings_events_told_total", where=HERE), "told"),
                        Query(rate("tidings_events_dropped_total", where=HERE), "too large"),
                    ),
                ),
                Panel(
                    "Events behind",
                    "What waits for Kafka in the storage nodes, and for how long they have told nothing.",
                    "short",
                    (
                        Query(total("tidings_events_behind", where=HERE), "waiting"),
                        Query(total("tidings_events_behind_seconds", where=HERE), "seconds"),
                    ),
                ),
                Panel(
                    "Calls, p99",
                    "That storage nodes answer, by method.",
                    "s",
                    (p99_by("tidings_rpc_server_seconds", "method", HERE),),
                ),
                Panel(
                    "Numbered again",
                    "Batches that lost against another writer of the conversation: normal while the ring changes, "
                    "never otherwise.",
                    "ops",
                    (Query(rate("tidings_fenced_total", where=HERE), "fenced"),),
                ),
                Panel(
                    "Reactions",
                    "added and removed ones are in their set; unchanged are repeats. Announced: the entries that tell "
                    "of them, at most one a second for a message; of these, what no logic node took was lost until "
                    "the next heartbeat of whoever it was for.",
                    "ops",
                    (
                        rate_by("tidings_reactions_total", "outcome", HERE, "nobody reacts"),
                        Query(
                            rate("tidings_announcements_total", "way", where=HERE), "announced {{way}}", "nobody reacts"
                        ),
                        Query(
                            rate("tidings_tells_total", "outcome", where=HERE),
                            "handed on, {{outcome}}",
                            "nobody reacts",
                        ),
                    ),
                ),
                Panel(
                    "Streams",
                    "Messages whose text grows: open ones, and those that storage ended since nothing came any more.",
                    "short",
                    (
                        Query(total("tidings_streams_open", where=HERE), "open"),
                        Query(rate("tidings_streams_silent_total", where=HERE), "ended, silent /s"),
                    ),
                ),
                Panel(
                    "Parts of streams",
                    "As access nodes answer them: taken, or the code of the refusal.",
                    "ops",
                    (rate_by("tidings_stream_parts_total", "outcome", ACCESS, "no bot writes a stream"),),
                ),
                lanes(HERE),
                batches(HERE),
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
                    (total_by("tidings_ring_slots_owned", "instance", HERE),),
                    Kind.STACKED,
                ),
                Panel(
                    "Removed by retention",
                    "Documents.",
                    "ops",
                    (
                        rate_by("tidings_retention_removed_total", "collection", HERE, NO_RETENTION),
                        Query(rate("tidings_retention_failed_total", where=HERE), "left out", NO_RETENTION),
                    ),
                ),
                Panel(
                    "Expired",
                    "Messages whose content was erased because their time was over.",
                    "ops",
                    (Query(rate("tidings_expired_total", where=HERE), "erased"),),
                ),
                Panel(
                    "Clocks",
                    "How far each node's clock is ahead of MongoDB's; above two minutes, either way, retention waits.",
                    "s",
                    (total_by("tidings_clock_lead_seconds", "instance", HERE),),
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
                    (rate_by("tidings_repository_seconds_count", "command", HERE),),
                    Kind.STACKED,
                ),
                Panel(
                    "Commands that fail",
                    "By outcome; a conflict is a writer that came second, and is dealt with.",
                    "ops",
                    (
                        rate_by(
                            "tidings_repository_seconds_count",
                            "outcome",
                            f'{HERE},outcome!="ok"',
                            "a healthy cluster has none",
                        ),
                    ),
                ),
                Panel(
                    "Time of commands, p99",
                    "By what they do and to which collection.",
                    "s",
                    (p99_by("tidings_repository_seconds", "command, collection", HERE),),
                ),
                Panel(
                    "Connections",
                    "Of each node's pool: open, busy, and as many as there may be.",
                    "short",
                    (
                        total_by("tidings_repository_connections", "state", HERE),
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
                    (rate_by("tidings_repository_documents_total", "collection", HERE),),
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
                    (p99_by("tidings_bus_transit_seconds", "topic", ANY),),
                ),
                Panel(
                    "Publishing, p99",
                    "Until Kafka acknowledges, by topic.",
                    "s",
                    (p99_by("tidings_bus_publish_seconds", "topic", ANY),),
                ),
                Panel(
                    "Records read",
                    "By topic.",
                    "recps",
                    (rate_by("tidings_bus_consumed_total", "topic", ANY),),
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
                    (rate_by("tidings_registry_seconds_count", "operation, outcome", ANY),),
                ),
                Panel(
                    "Time of calls, p99",
                    "By operation.",
                    "s",
                    (p99_by("tidings_registry_seconds", "operation", ANY),),
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
                loop_lag(HERE),
                processor_and_collector(HERE),
                memory(HERE),
            ),
        ),
    ),
)
