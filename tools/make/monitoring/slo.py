"""The objectives, and the rules that watch them: a ratio of what went wrong for each window, and alerts on how fast the
budget burns.

An alert needs a long window (it is not a blip) and a short one (it is still going on) above the same burn rate, as in
Google's SRE workbook. Budgets are counted over three days: a page at 14.4 or 6 times the allowed rate, a ticket at 3 or
1 times.
"""

from __future__ import annotations

from dataclasses import dataclass

from tools.make.monitoring.model import Alert, Group, Record

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
# (severity, burn rate, long window, short window, for)
BURNS = (
    ("page", 14.4, "1h", "5m", "2m"),
    ("page", 6.0, "6h", "30m", "5m"),
    ("ticket", 3.0, "1d", "2h", "15m"),
    ("ticket", 1.0, "3d", "6h", "1h"),
)
ENDED = 'outcome=~"stored|duplicate|overloaded|unavailable|internal"'


def waited(window: str, matcher: str = "") -> str:
    """Recipients who get a message by heartbeat or sync, because its push was given up or is not acknowledged."""
    parts = (
        ("tidings_pushes_unowned_total", ""),
        ("tidings_mailbox_rerouted_total", 'outcome=~"lost|gave_up"'),
        ("tidings_publish_dropped_total", 'kind="push"'),
        ("tidings_lagging_total", 'reason="unacknowledged"'),
    )
    rates = (
        f"sum by (cluster) (rate({metric}{{{','.join(filter(None, (matcher, where)))}}}[{window}]))"
        for metric, where in parts
    )
    return f"({' + '.join(rates)})"


@dataclass(frozen=True, slots=True)
class Slo:
    """`bad` / `all`: rates by cluster over `$window`; `objective`: the share that shall be well."""

    key: str
    title: str
    alert: str
    objective: float
    bad: str
    all: str
    summary: str
    description: str

    def ratio(self, window: str) -> str:
        """The recorded share of what went wrong."""
        return f"slo:tidings_{self.key}:error_ratio_{window}"

    def records(self) -> list[Record]:
        return [
            Record(
                self.ratio(window),
                f"{self.bad} / ({self.all} > 0) or 0 * {self.all}".replace("$window", window),
            )
            for window in WINDOWS
        ]

    def alerts(self) -> list[Alert]:
        return [
            Alert(
                name=self.alert,
                severity=severity,
                measured=self.ratio(long),
                limit=self._limit(burn, short),
                hold=hold,
                summary=self.summary,
                description=f"{self.description} The error budget burns {burn:g} times faster than it may: "
                f"{{{{ $value | humanizePercentage }}}} went wrong over {long}.",
                labels={"slo": self.key, "burn": f"{burn:g}", "window": long},
            )
            for severity, burn, long, short, hold in BURNS
        ]

    def _limit(self, burn: float, short: str) -> str:
        share = _shown(burn * (1 - self.objective))
        return f"> {share} and {self.ratio(short)} > {share}"


def _slow(histogram: str, limit: str) -> str:
    """Those over the limit: a bucket's bound."""
    return (
        f"(sum by (cluster) (rate({histogram}_count[$window]))"
        f' - sum by (cluster) (rate({histogram}_bucket{{le="{limit}"}}[$window])))'
    )


SLOS = (
    Slo(
        key="ack_success",
        title="sends succeed",
        alert="TidingsSendsFail",
        objective=0.999,
        bad='sum by (cluster) (rate(tidings_sends_total{outcome=~"overloaded|unavailable|internal"}[$window]))',
        all=f"sum by (cluster) (rate(tidings_sends_total{{{ENDED}}}[$window]))",
        summary="Sends fail by the cluster's fault",
        description="Clients are told to try again (overloaded, unavailable) or meet a defect (internal).",
    ),
    Slo(
        key="ack_latency",
        title="acknowledged in 200 ms",
        alert="TidingsAcknowledgementsSlow",
        objective=0.99,
        bad=_slow("tidings_ack_seconds", "0.2"),
        all="sum by (cluster) (rate(tidings_ack_seconds_count[$window]))",
        summary="Acknowledgements are slow",
        description="More sends than promised wait longer than 200 ms for their acknowledgement.",
    ),
    Slo(
        key="delivery_latency",
        title="delivered in 500 ms",
        alert="TidingsDeliveriesSlow",
        objective=0.99,
        bad=_slow("tidings_delivery_seconds", "0.5"),
        all="sum by (cluster) (rate(tidings_delivery_seconds_count[$window]))",
        summary="Messages arrive late",
        description="More messages than promised reach their connected recipients later than 500 ms after they "
        "were sent.",
    ),
    Slo(
        key="push_loss",
        title="pushed live",
        alert="TidingsPushesLost",
        objective=0.999,
        bad=waited("$window"),
        all="sum by (cluster) (rate(tidings_inbox_entries_total[$window]))",
        summary="Recipients wait for their next sync",
        description="Pushes are given up or not acknowledged; those messages are safe, and come with the next "
        "heartbeat or sync.",
    ),
)


def groups() -> list[Group]:
    return [
        Group("tidings-slo-ratios", tuple(record for slo in SLOS for record in slo.records())),
        Group("tidings-slo-alerts", tuple(alert for slo in SLOS for alert in slo.alerts())),
    ]


def _shown(value: float) -> str:
    return f"{value:.6g}"
