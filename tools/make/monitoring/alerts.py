"""Alerts on causes. What users feel is watched by the objectives (slo.py): those page for it, whatever the cause.

A cause pages only where it is an outage by itself, or will be one within the hour; the rest are tickets.
"""

from __future__ import annotations

from tools.make.monitoring.model import Alert, Group

ANY = 'job=~"tidings-.+"'
ACCESS = 'job="tidings-access"'
SLOTS = 4096
BAD = "unavailable|deadline|overloaded|internal"

NODES = (
    Alert(
        "TidingsNodesGone",
        "page",
        f"sum by (cluster, job) (up{{{ANY}}})",
        "== 0",
        "1m",
        "No {{ $labels.job }} node answers",
        "Every node of this kind is away: without access nobody is connected, without logic or storage nothing is "
        "sent.",
    ),
    Alert(
        "TidingsNodeDown",
        "ticket",
        f"up{{{ANY}}}",
        "== 0",
        "5m",
        "{{ $labels.instance }} does not answer",
        "Prometheus cannot reach the node's ops address. Others do its work.",
    ),
    Alert(
        "TidingsNodeRestarts",
        "ticket",
        f"changes(process_start_time_seconds{{{ANY}}}[30m])",
        "> 3",
        "0m",
        "{{ $labels.instance }} starts again and again",
        "The process has begun anew {{ $value }} times in half an hour.",
    ),
    Alert(
        "TidingsVersionsMixed",
        "ticket",
        f"count by (cluster) (count by (cluster, version) (tidings_build_info{{{ANY}}}))",
        "> 1",
        "2h",
        "Two versions run side by side",
        "An upgrade was begun and not ended.",
    ),
    Alert(
        "TidingsCertificateExpires",
        "ticket",
        f"min by (cluster, use) (tidings_certificate_expiry_seconds{{{ANY}}}) - time()",
        f"< {14 * 86_400}",
        "10m",
        "The certificate for {{ $labels.use }} runs out in {{ $value | humanizeDuration }}",
        "It was not renewed, or the renewed one cannot be used.",
        may_be_empty="no certificate is configured",
    ),
    Alert(
        "TidingsEventLoopSlow",
        "ticket",
        "histogram_quantile(0.99, sum by (cluster, job, instance, le)"
        f" (rate(tidings_event_loop_lag_seconds_bucket{{{ANY}}}[5m])))",
        "> 0.25",
        "5m",
        "The event loop of {{ $labels.instance }} is late",
        "It wakes {{ $value | humanizeDuration }} later than asked: everything that this node does waits so long "
        "on top.",
    ),
    Alert(
        "TidingsProcessorFull",
        "ticket",
        f"rate(process_cpu_seconds_total{{{ANY}}}[10m])",
        "> 0.9",
        "15m",
        "{{ $labels.instance }} uses a whole core",
        "A node is one process with one event loop: it has no more to give, and its latencies grow.",
    ),
    Alert(
        "TidingsFileDescriptorsLow",
        "ticket",
        f"process_open_fds{{{ANY}}} / process_max_fds{{{ANY}}}",
        "> 0.8",
        "10m",
        "{{ $labels.instance }} runs out of file descriptors",
        "{{ $value | humanizePercentage }} are open; every connection is one.",
    ),
)
BACKENDS = (
    Alert(
        "TidingsMongoDBAway",
        "page",
        'max by (cluster) (tidings_degraded{check="mongodb"})',
        "== 1",
        "1m",
        "MongoDB does not answer",
        "Nothing is acknowledged until it is back; connections stay, clients try again by themselves.",
    ),
    Alert(
        "TidingsKafkaAway",
        "page",
        'max by (cluster) (tidings_degraded{check="kafka"})',
        "== 1",
        "2m",
        "Kafka does not answer",
        "Sends are acknowledged and messages go to access nodes by call; events wait in storage nodes and the log.",
    ),
    Alert(
        "TidingsEtcdAway",
        "page",
        f"min by (cluster) (tidings_registry_connected{{{ANY}}})",
        "== 0",
        "2m",
        "etcd does not answer",
        "Users feel nothing yet, but membership is frozen: a node that dies now is not replaced.",
    ),
    Alert(
        "TidingsLogicAway",
        "page",
        'max by (cluster) (tidings_degraded{check="logic"})',
        "== 1",
        "1m",
        "Access nodes see no logic node",
        "Every request is refused.",
    ),
    Alert(
        "TidingsMongoDBSlow",
        "ticket",
        "histogram_quantile(0.99, sum by (cluster, command, le) (rate(tidings_repository_seconds_bucket[10m])))",
        "> 0.5",
        "10m",
        "MongoDB is slow: {{ $labels.command }}",
        "1 of 100 such commands takes longer than {{ $value | humanizeDuration }}.",
    ),
    Alert(
        "TidingsMongoDBPoolFull",
        "ticket",
        'sum by (cluster, instance) (tidings_repository_connections{state="busy",job="tidings-storage"})'
        ' / sum by (cluster, instance) (tidings_repository_connections_max{job="tidings-storage"})',
        "> 0.9",
        "10m",
        "{{ $labels.instance }} uses all its connections to MongoDB",
        "Commands wait for one another.",
    ),
    Alert(
        "TidingsClocksDiffer",
        "ticket",
        "abs(tidings_clock_lead_seconds)",
        "> 60",
        "5m",
        "The clocks of {{ $labels.instance }} and MongoDB differ",
        "They are {{ $value | humanizeDuration }} apart. Messages have MongoDB's time; above two minutes retention "
        "waits.",
    ),
    Alert(
        "TidingsMailboxBehind",
        "ticket",
        "max by (cluster, instance, topic) (tidings_bus_lag)",
        "> 1000",
        "5m",
        "{{ $labels.instance }} reads {{ $labels.topic }} too slowly",
        "{{ $value }} records wait: messages arrive late there.",
    ),
    Alert(
        "TidingsEventsLost",
        "page",
        'sum by (cluster) (increase(tidings_publish_dropped_total{kind="lasting"}[15m]))',
        "> 0",
        "0m",
        "The public stream lacks events",
        "Kafka was away for longer than the backlog holds: other systems have to be told what they missed.",
    ),
    Alert(
        "TidingsTokenKeysOld",
        "ticket",
        'max by (cluster) (tidings_degraded{check="keys"})',
        "== 1",
        "10m",
        "The keys of the tokens' issuer cannot be fetched",
        "The last ones count: who has a token of a new key is told to come later, and a withdrawn key is still good.",
        may_be_empty="no key set is fetched",
    ),
    Alert(
        "TidingsHookFails",
        "ticket",
        'max by (cluster) (tidings_degraded{check="hook"})',
        "== 1",
        "5m",
        "The hook does not answer",
        "Messages pass unseen or are refused, as `hook_when_away` says.",
        may_be_empty="no hook is configured",
    ),
)
RING = (
    Alert(
        "TidingsSlotsWithoutOwner",
        "page",
        f'sum by (cluster) (tidings_ring_slots_owned{{kind="access",{ACCESS}}})',
        f"!= {SLOTS}",
        "5m",
        "The access ring does not add up",
        f"{{{{ $value }}}} of {SLOTS} slots have an owner that says so: users of the others get no pushes, or two "
        "nodes "
        "disagree.",
    ),
    Alert(
        "TidingsRingUnsteady",
        "ticket",
        "max by (cluster, kind) (increase(tidings_ring_changes_total[15m]))",
        "> 10",
        "0m",
        "The {{ $labels.kind }} ring changes all the time",
        "{{ $value | humanize }} changes in a quarter of an hour: nodes come and go.",
    ),
    Alert(
        "TidingsLeaseNearlyLost",
        "ticket",
        f"tidings_registry_lease_age_seconds{{{ANY}}} / tidings_registry_lease_ttl_seconds{{{ANY}}}",
        "> 0.8",
        "15s",
        "{{ $labels.instance }} hardly renews its lease",
        "At 100 % the others take over what it owns.",
    ),
    Alert(
        "TidingsLeaseLost",
        "ticket",
        f"increase(tidings_registry_leases_lost_total{{{ANY}}}[15m])",
        "> 0",
        "0m",
        "{{ $labels.instance }} lost its lease while it ran",
        "It stood still for seconds, or was cut off from etcd; it has begun anew with another boot id.",
    ),
)
LOAD = (
    Alert(
        "TidingsLaneFull",
        "ticket",
        "sum by (cluster, job, lane) (rate(tidings_lane_refused_total[5m]))",
        "> 0",
        "5m",
        "The lane {{ $labels.lane }} of {{ $labels.job }} refuses work",
        "{{ $value | humanize }} items a second are answered with OVERLOADED.",
    ),
    Alert(
        "TidingsLaneFilling",
        "ticket",
        "max by (cluster, job, instance, lane) (tidings_lane_depth / (tidings_lane_capacity > 0))",
        "> 0.5",
        "5m",
        "The lane {{ $labels.lane }} of {{ $labels.instance }} fills up",
        "{{ $value | humanizePercentage }} of its places are taken: soon it refuses work.",
    ),
    Alert(
        "TidingsCallsFail",
        "ticket",
        f'sum by (cluster, method) (rate(tidings_rpc_client_seconds_count{{code=~"{BAD}"}}[10m]))'
        " / sum by (cluster, method) (rate(tidings_rpc_client_seconds_count[10m]))",
        "> 0.05",
        "10m",
        "Calls of {{ $labels.method }} fail",
        "{{ $value | humanizePercentage }} of them, for ten minutes: more than a node that died would explain.",
        may_be_empty="no call has failed",
    ),
    Alert(
        "TidingsConnectionsNearLimit",
        "ticket",
        f"sum by (cluster) (tidings_connections{{{ACCESS}}}) / sum by (cluster) (tidings_connections_max{{{ACCESS}}})",
        "> 0.8",
        "15m",
        "Access nodes are nearly full",
        "{{ $value | humanizePercentage }} of the connections that they take are there; if one node dies the "
        "others must have "
        "room for its clients.",
    ),
    Alert(
        "TidingsConnectionsRefused",
        "ticket",
        "sum by (cluster, reason) (rate(tidings_connections_refused_total"
        '{reason=~"full|rate|handshakes|handshake_bytes|address|slow"}[5m]))',
        "> 5",
        "5m",
        "Connections are refused: {{ $labels.reason }}",
        "{{ $value | humanize }} a second. A storm after an outage passes by itself; see whether it does.",
    ),
    Alert(
        "TidingsSlowConsumersMany",
        "ticket",
        f"sum by (cluster) (tidings_slow_consumers{{{ACCESS}}}) / (sum by (cluster) (tidings_sessions{{{ACCESS}}}) "
        "> 100)",
        "> 0.05",
        "10m",
        "Many clients do not read",
        "{{ $value | humanizePercentage }} of the sessions are paused: rather a network than the clients.",
        may_be_empty="there are fewer than 100 sessions",
    ),
    Alert(
        "TidingsClientsBanned",
        "ticket",
        "sum by (cluster, reason) (increase(tidings_bans_total[10m]))",
        "> 50",
        "10m",
        "Many clients are banned: {{ $labels.reason }}",
        "An attack, or a release of the client with a defect.",
    ),
)


def groups() -> list[Group]:
    return [
        Group("tidings-nodes", NODES),
        Group("tidings-backends", BACKENDS),
        Group("tidings-ring", RING, interval="15s"),
        Group("tidings-load", LOAD),
    ]
