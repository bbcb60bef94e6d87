"""Access nodes: who is connected and in what state, what comes in and goes out, who is slow, abusive or visiting."""

from __future__ import annotations

from tools.make.monitoring.boards.panels import lanes, loop_lag, mean_by, memory, p50_p99, p99_by, rate_by, total_by
from tools.make.monitoring.model import Board, Kind, Panel, Query, Row
from tools.make.monitoring.promql import NODE, quantile, rate, select, total

JOB = 'job="tidings-access"'
HERE = f"{JOB},{NODE}"
NOBODY = "needs a client that behaves so"

BOARD = Board(
    uid="tidings-access",
    title="Tidings / Access",
    description="Connections, frames, deliveries and slow consumers of the access nodes.",
    job="tidings-access",
    by_node=True,
    rows=(
        Row(
            "Connections",
            (
                Panel(
                    "Connections by kind",
                    "Welcomed connections by transport and device kind.",
                    "short",
                    (total_by("tidings_connections", "transport, kind", HERE),),
                    Kind.STACKED,
                ),
                Panel(
                    "Connections by state",
                    "awaiting_hello and opening are on their way in, live get pushes, paused do not read, closing "
                    "are on their way "
                    "out. A sample every few seconds.",
                    "short",
                    (total_by("tidings_connection_states", "state", HERE),),
                    Kind.STACKED,
                ),
                Panel(
                    "Connections by node",
                    "Welcomed connections of each node.",
                    "short",
                    (total_by("tidings_connections", "instance", HERE),),
                ),
                Panel(
                    "Opened and refused",
                    "Connections that were accepted; and those that were not, by reason: full and rate are this "
                    "node's limits, draining "
                    "is a node that leaves, moved is a client that belongs elsewhere.",
                    "ops",
                    (
                        Query(rate("tidings_connections_opened_total", "transport", HERE), "opened {{transport}}"),
                        Query(rate("tidings_connections_refused_total", "reason", HERE), "refused {{reason}}"),
                    ),
                ),
                Panel(
                    "Handshake",
                    "From hello to welcome: token, session record, inbox head.",
                    "s",
                    p50_p99("tidings_handshake_seconds", HERE),
                ),
                Panel(
                    "Goodbyes",
                    "Connections that the server ended, by close code.",
                    "ops",
                    (rate_by("tidings_goodbyes_total", "code", HERE, "nobody was sent away yet"),),
                    Kind.STACKED,
                ),
                Panel(
                    "Heartbeats",
                    "Silent connections that were probed, and those that were closed because nothing answered.",
                    "ops",
                    (
                        Query(rate("tidings_heartbeat_probes_total", where=HERE), "probed"),
                        Query(rate("tidings_heartbeats_lost_total", where=HERE), "lost"),
                    ),
                ),
                Panel(
                    "Limits and bans",
                    "Requests refused by a rate limit, by limit; bans that were given, by reason; bans in force.",
                    "short",
                    (
                        Query(rate("tidings_limited_total", "limit", HERE), "limited {{limit}} /s"),
                        Query(rate("tidings_bans_total", "reason", HERE), "banned {{reason}} /s"),
                        Query(total("tidings_banned", where=HERE), "in force"),
                    ),
                ),
                Panel(
                    "Users, sessions, handshakes",
                    "Different users, their sessions, and connections that have not said hello.",
                    "short",
                    (
                        Query(total("tidings_users_connected", where=HERE), "users"),
                        Query(total("tidings_sessions", where=HERE), "sessions"),
                        Query(total("tidings_sessions_idle", where=HERE), "of them idle"),
                        Query(total("tidings_handshakes", where=HERE), "handshakes"),
                    ),
                ),
            ),
        ),
        Row(
            "Frames",
            (
                Panel(
                    "Frames from clients",
                    "By what they ask.",
                    "ops",
                    (rate_by("tidings_frames_received_total", "body", HERE),),
                    Kind.STACKED,
                ),
                Panel(
                    "Frames to clients",
                    "By what they say. A `deliver` may hold many messages.",
                    "ops",
                    (rate_by("tidings_frames_sent_total", "body", HERE),),
                    Kind.STACKED,
                ),
                Panel(
                    "Bytes",
                    "From and to clients.",
                    "Bps",
                    (
                        Query(rate("tidings_received_bytes_total", where=HERE), "in"),
                        Query(rate("tidings_sent_bytes_total", where=HERE), "out"),
                    ),
                ),
                Panel(
                    "Requests, p99",
                    "From a request's frame to its reply, by what was asked; sends are the acknowledgement.",
                    "s",
                    (
                        p99_by("tidings_request_seconds", "body", HERE, NOBODY),
                        Query(quantile(0.99, "tidings_ack_seconds", where=HERE), "send", exemplars=True),
                    ),
                ),
                Panel(
                    "Errors to clients",
                    "Error frames by code.",
                    "ops",
                    (rate_by("tidings_client_errors_total", "code", HERE, "no client has done anything wrong yet"),),
                    Kind.STACKED,
                ),
                Panel(
                    "Signals",
                    "Signals (typing and the like) by how they ended.",
                    "ops",
                    (rate_by("tidings_signals_total", "outcome", HERE, NOBODY),),
                ),
            ),
        ),
        Row(
            "Delivery",
            (
                Panel(
                    "Messages pushed",
                    "Written to connections: one message to three devices counts three.",
                    "mps",
                    (rate_by("tidings_delivered_total", "instance", HERE),),
                ),
                Panel(
                    "Delivery",
                    "From a send's frame to its push, by quantile.",
                    "s",
                    (
                        Query(quantile(0.5, "tidings_delivery_seconds", where=HERE), "p50"),
                        Query(quantile(0.9, "tidings_delivery_seconds", where=HERE), "p90"),
                        Query(quantile(0.99, "tidings_delivery_seconds", where=HERE), "p99", exemplars=True),
                    ),
                ),
                Panel(
                    "Mailbox",
                    "Records that wait in Kafka for these nodes, and the time from the making of a record to its "
                    "being read. Each node has two consumers open: its mailbox and the broadcast.",
                    "short",
                    (
                        Query(total("tidings_bus_lag", "topic", HERE), "lag {{topic}}"),
                        Query(total("tidings_bus_consumers", "instance", HERE), "consumers {{instance}}"),
                        Query(
                            quantile(0.99, "tidings_bus_transit_seconds", "topic", HERE), "transit p99 {{topic}} (s)"
                        ),
                    ),
                ),
                Panel(
                    "Slow consumers",
                    "Connections whose live delivery is paused because they do not read, and how often that begins.",
                    "short",
                    (
                        Query(total("tidings_slow_consumers", "instance", HERE), "paused {{instance}}"),
                        Query(rate("tidings_slow_consumer_pauses_total", where=HERE), "pauses /s"),
                    ),
                ),
                Panel(
                    "Bytes that wait for slow clients",
                    "At most the outbox limit for each paused connection.",
                    "bytes",
                    (total_by("tidings_outbox_bytes", "instance", HERE),),
                ),
                Panel(
                    "Nudges to sync",
                    "paused: the client does not read; unacknowledged: a push is not acknowledged; ring: the "
                    "owner of the user changed.",
                    "ops",
                    (rate_by("tidings_lagging_total", "reason", HERE),),
                ),
                Panel(
                    "Pages",
                    "Pages of sync and history sent to clients.",
                    "ops",
                    (rate_by("tidings_pages_total", "request", HERE, NOBODY),),
                ),
                Panel(
                    "Sync backlog",
                    "Inbox entries that a device lacked when it was welcomed: how much there is to catch up after "
                    "an outage.",
                    "short",
                    p50_p99("tidings_sync_backlog", HERE, "nobody connected in this window"),
                ),
            ),
        ),
        Row(
            "Ring and visitors",
            (
                Panel(
                    "Slots",
                    "That each node owns. About even; a node that joins gets about its share.",
                    "short",
                    (total_by("tidings_ring_slots_owned", "instance", HERE),),
                    Kind.STACKED,
                ),
                Panel(
                    "Visitors",
                    "visits: users connected here whose owner is another node; visitors: users of this node that "
                    "are connected "
                    "elsewhere. With placement `any` nearly all, with `ring` only those on the move.",
                    "short",
                    (
                        Query(total("tidings_visits", "instance", HERE), "visits {{instance}}"),
                        Query(total("tidings_visitors", "instance", HERE), "visitors {{instance}}"),
                    ),
                ),
                Panel(
                    "Moves",
                    "Sessions asked to move to the owner of their slot; users whose heads were compared after a "
                    "change; pushes that "
                    "reached a former owner, by what became of them; pushes that could not be read; entries of the "
                    "index of large groups that had to be mended.",
                    "ops",
                    (
                        Query(rate("tidings_moves_total", where=HERE), "moves"),
                        Query(rate("tidings_head_checks_total", where=HERE), "head checks"),
                        Query(rate("tidings_mailbox_rerouted_total", "outcome", HERE), "rerouted {{outcome}}"),
                        Query(rate("tidings_pushes_unreadable_total", where=HERE), "unreadable"),
                        Query(rate("tidings_forwards_lost_total", where=HERE), "forwards lost"),
                        Query(rate("tidings_group_index_repaired_total", "reason", HERE), "index {{reason}}"),
                    ),
                ),
            ),
        ),
        Row(
            "Sessions",
            (
                Panel(
                    "Sessions replaced",
                    "The same device logged in again: the older session was told to end.",
                    "ops",
                    (rate_by("tidings_evictions_total", "reason", HERE, NOBODY),),
                ),
                Panel(
                    "Records and connections that did not agree",
                    "closed: a session without a connection; stored: a connection whose record was gone; ended: a "
                    "newer session of its device was there. More than a few: calls to logic are lost.",
                    "ops",
                    (rate_by("tidings_sessions_reconciled_total", "outcome", HERE, NOBODY),),
                ),
            ),
        ),
        Row(
            "Process",
            (
                lanes(HERE),
                Panel(
                    "Batch sizes",
                    "Items of a batch on average: they grow with the load, and that is well.",
                    "short",
                    (mean_by("tidings_lane_batch", "lane", HERE),),
                ),
                Panel(
                    "Refused by a full lane, or not wanted any more",
                    "Work that was answered with OVERLOADED at once, or whose client had gone before it was begun.",
                    "ops",
                    (
                        rate_by("tidings_lane_refused_total", "lane", HERE),
                        Query(rate("tidings_lane_unwanted_total", "lane", HERE), "{{lane}} unwanted"),
                    ),
                ),
                loop_lag(HERE),
                Panel(
                    "Garbage collector",
                    "Share of the time that its pauses take.",
                    "percentunit",
                    (rate_by("tidings_gc_pause_seconds_sum", "instance", HERE),),
                ),
                Panel(
                    "Certificates",
                    "Time until each certificate in use runs out, by what it is for; renewed files that could not be "
                    "used.",
                    "s",
                    (
                        Query(
                            f"min by (use) ({select('tidings_certificate_expiry_seconds', HERE)}) - time()",
                            "{{use}}",
                            "no certificate is configured",
                        ),
                        Query(
                            rate("tidings_certificate_renewals_total", "use, outcome", HERE),
                            "{{outcome}} {{use}} /s",
                            "no certificate is configured",
                        ),
                    ),
                ),
                Panel(
                    "Age of the token keys",
                    "Since the issuer's key set was fetched; 0 where none is to be fetched.",
                    "s",
                    (Query(select("tidings_token_keys_age_seconds", HERE), "{{instance}}"),),
                ),
                memory(HERE),
            ),
        ),
    ),
)
