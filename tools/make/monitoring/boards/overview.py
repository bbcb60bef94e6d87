"""The overview for the one on call: do users feel it, which promise is in danger, where is it from, what changed."""

from __future__ import annotations

from tools.make.monitoring.boards.panels import rate_by, total_by
from tools.make.monitoring.model import Board, Kind, Panel, Query, Row
from tools.make.monitoring.promql import quantile, rate, select, share, total
from tools.make.monitoring.slo import SLOS, WINDOWS, waited

GREEN_RED = ((0, "green"), (1, "red"))
ANY = 'job=~"tidings-.+"'
CHECKS = 'check!="drain"'
FAILED = 'outcome=~"overloaded|unavailable|internal"'
HEALTHY = "a healthy cluster has none"


def _budget(place: int) -> Query:
    slo = SLOS[place]
    ratio = f'{slo.ratio(WINDOWS[-1])}{{cluster="$cluster"}}'
    return Query(f"1 - {ratio} / {1 - slo.objective:g}", slo.title)


def _burn(place: int) -> Query:
    slo = SLOS[place]
    return Query(f'{slo.ratio("1h")}{{cluster="$cluster"}} / {1 - slo.objective:g}', slo.title)


BOARD = Board(
    uid="tidings-overview",
    title="Tidings / Overview",
    description="Start here when an alert has come: what users feel, which budget burns, where work piles up.",
    rows=(
        Row(
            "Is it working?",
            (
                Panel(
                    "Sends",
                    "Messages that clients send, each second, whatever became of them.",
                    "mps",
                    (Query(rate("tidings_sends_total"), "sends"),),
                    Kind.STAT,
                    width=4,
                    height=4,
                ),
                Panel(
                    "Sends that fail",
                    "Share of the sends that the cluster is to blame for: overloaded, a backend away, a defect. "
                    "Clients retry "
                    "them by themselves.",
                    "percentunit",
                    (
                        Query(
                            share(
                                rate("tidings_sends_total", where=FAILED),
                                rate(
                                    "tidings_sends_total",
                                    where='outcome=~"stored|duplicate|overloaded|unavailable|internal"',
                                ),
                            ),
                            "failing",
                        ),
                    ),
                    Kind.STAT,
                    width=4,
                    height=4,
                    limits=((0, "green"), (0.001, "orange"), (0.01, "red")),
                    decimals=2,
                ),
                Panel(
                    "Acknowledged, p99",
                    "99 of 100 sends are stored and acknowledged within this time.",
                    "s",
                    (Query(quantile(0.99, "tidings_ack_seconds"), "p99"),),
                    Kind.STAT,
                    width=4,
                    height=4,
                    limits=((0, "green"), (0.2, "orange"), (1, "red")),
                ),
                Panel(
                    "Delivered, p99",
                    "99 of 100 messages reach a connected recipient within this time of being sent.",
                    "s",
                    (Query(quantile(0.99, "tidings_delivery_seconds"), "p99"),),
                    Kind.STAT,
                    width=4,
                    height=4,
                    limits=((0, "green"), (0.5, "orange"), (2, "red")),
                ),
                Panel(
                    "Sessions",
                    "Devices that are connected and welcomed.",
                    "short",
                    (Query(total("tidings_sessions", where='job="tidings-access"'), "sessions"),),
                    Kind.STAT,
                    width=4,
                    height=4,
                ),
                Panel(
                    "Nodes that answer",
                    "Processes that Prometheus reaches, by kind.",
                    "short",
                    (total_by("up", "job", ANY),),
                    Kind.STAT,
                    width=4,
                    height=4,
                    limits=((0, "red"), (1, "green")),
                ),
            ),
        ),
        Row(
            "Which promise is in danger?",
            (
                Panel(
                    "Error budget that is left",
                    "Of the budget of three days: 100 % is untouched, 0 % is used up, below it is overdrawn. The "
                    "objectives are in "
                    "docs/monitoring.md.",
                    "percentunit",
                    tuple(_budget(place) for place in range(len(SLOS))),
                    Kind.BARS,
                    width=8,
                    limits=((-1, "red"), (0.25, "orange"), (0.5, "green")),
                    top=1,
                ),
                Panel(
                    "Burn rate, one hour",
                    "How many times faster than allowed the budget is used: 1 uses it up in exactly its time, "
                    "14.4 pages.",
                    "none",
                    tuple(_burn(place) for place in range(len(SLOS))),
                    width=8,
                ),
                Panel(
                    "Alerts",
                    "What fires now. Each has a page in docs/runbooks.",
                    "none",
                    (
                        Query(
                            'sum by (alertname, severity) (ALERTS{cluster="$cluster",alertstate="firing"})',
                            "{{severity}} {{alertname}}",
                            HEALTHY,
                        ),
                    ),
                    Kind.TABLE,
                    width=8,
                ),
            ),
        ),
        Row(
            "What do users feel?",
            (
                Panel(
                    "Sends by how they ended",
                    "stored and duplicate (a retry of what was stored) are well; overloaded, unavailable and "
                    "internal are the cluster's "
                    "fault; the rest are the client's.",
                    "mps",
                    (rate_by("tidings_sends_total", "outcome"),),
                    Kind.STACKED,
                ),
                Panel(
                    "Acknowledgement",
                    "From a send's frame to its `sent`: stored with majority and journal, and published. The "
                    "points are exemplars: they "
                    "lead to the trace.",
                    "s",
                    (
                        Query(quantile(0.5, "tidings_ack_seconds"), "p50"),
                        Query(quantile(0.99, "tidings_ack_seconds"), "p99", exemplars=True),
                    ),
                ),
                Panel(
                    "Delivery",
                    "From a send's frame to its push to a recipient, over Kafka. The points are exemplars: they "
                    "lead to the trace.",
                    "s",
                    (
                        Query(quantile(0.5, "tidings_delivery_seconds"), "p50"),
                        Query(quantile(0.99, "tidings_delivery_seconds"), "p99", exemplars=True),
                    ),
                ),
                Panel(
                    "Pushed, and not pushed in time",
                    "Messages written to connections; and recipients who have to wait for their next heartbeat or "
                    "sync, because a push "
                    "was given up or never acknowledged. They lose nothing.",
                    "mps",
                    (
                        Query(rate("tidings_delivered_total"), "pushed"),
                        Query(waited("$__rate_interval", 'cluster="$cluster"'), "waited"),
                    ),
                ),
                Panel(
                    "Errors to clients",
                    "Error frames by code.",
                    "ops",
                    (
                        rate_by(
                            "tidings_client_errors_total", "code", may_be_empty="no client has done anything wrong yet"
                        ),
                    ),
                    Kind.STACKED,
                ),
                Panel(
                    "Goodbyes",
                    "Connections that the server ended, by close code (docs/protocol.md): 4000 the node left, "
                    "4001 moved to the user's "
                    "node, 4002 no heartbeat, 4006 abuse.",
                    "ops",
                    (rate_by("tidings_goodbyes_total", "code", may_be_empty="nobody was sent away yet"),),
                    Kind.STACKED,
                ),
            ),
        ),
        Row(
            "Where does it come from?",
            (
                Panel(
                    "What is away",
                    "1 while a check of some node says so: etcd (membership is frozen), kafka (messages come by "
                    "heartbeat), mongodb "
                    "(nothing is acknowledged), logic (no node takes requests), hook.",
                    "none",
                    (Query(f"max by (check) ({select('tidings_degraded', CHECKS)})", "{{check}}"),),
                    Kind.STATES,
                    limits=GREEN_RED,
                ),
                Panel(
                    "Fullest lanes",
                    "Share of the places in a lane that are taken, of the fullest node: where it nears 100 %, "
                    "work is refused.",
                    "percentunit",
                    (
                        Query(
                            f"max by (job, lane) ({select('tidings_lane_depth')} / "
                            f"({select('tidings_lane_capacity')} > 0))",
                            "{{job}} {{lane}}",
                        ),
                    ),
                ),
                Panel(
                    "Event loop lag, p99",
                    "How much later than asked the busiest process of each kind wakes: every client waits that on top.",
                    "s",
                    (
                        Query(
                            f"max by (job) ({quantile(0.99, 'tidings_event_loop_lag_seconds', 'job, instance')})",
                            "{{job}}",
                        ),
                    ),
                ),
                Panel(
                    "Processor",
                    "Cores that each process uses. A node is one process: 1 is all that it can have.",
                    "none",
                    (rate_by("process_cpu_seconds_total", "instance", ANY),),
                ),
                Panel(
                    "Calls between nodes that fail",
                    "Share of the calls that ended with unavailable, deadline, overloaded or internal, by method.",
                    "percentunit",
                    (
                        Query(
                            share(
                                rate(
                                    "tidings_rpc_client_seconds_count",
                                    "method",
                                    'code=~"unavailable|deadline|overloaded|internal"',
                                ),
                                rate("tidings_rpc_client_seconds_count", "method"),
                            ),
                            "{{method}}",
                            HEALTHY,
                        ),
                    ),
                ),
                Panel(
                    "Kafka lag",
                    "Records that access nodes have not read yet, by topic.",
                    "short",
                    (Query(f"max by (topic) ({select('tidings_bus_lag')})", "{{topic}}"),),
                ),
            ),
        ),
        Row(
            "What has changed?",
            (
                Panel(
                    "Nodes by state",
                    "As the nodes see each other in etcd: of the node that sees the most.",
                    "short",
                    (Query(f"max by (kind, state) ({select('tidings_nodes')}) > 0", "{{kind}} {{state}}"),),
                ),
                Panel(
                    "Slots that changed their owner",
                    "By ring, as the most eager node counts them: bursts are joins, leaves and deaths.",
                    "short",
                    (
                        Query(
                            f"max by (kind) (increase({select('tidings_ring_slots_moved_total')}[$__rate_interval]))",
                            "{{kind}}",
                        ),
                    ),
                ),
                Panel(
                    "Versions and restarts",
                    "Processes by version; and how often a process has begun anew in the last hour.",
                    "short",
                    (
                        Query(total("tidings_build_info", "version", ANY) + " > 0", "version {{version}}"),
                        Query(
                            f"sum by (job) (changes({select('process_start_time_seconds', ANY)}[1h]))",
                            "restarts {{job}}",
                        ),
                    ),
                ),
            ),
        ),
    ),
)
