"""Dashboards, rules and alerts as values. Pure: what they become in Grafana's and Prometheus' own files is elsewhere.

Every expression may use `$cluster`, `$node` and `$__rate_interval`, as Grafana fills them in.

Does not know: the names of metrics; a test holds all expressions to services/common/telemetry/metrics.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """How a panel shows its queries."""

    LINES = "lines"
    STACKED = "stacked"
    STAT = "stat"
    BARS = "bars"
    TABLE = "table"
    STATES = "states"
    LOGS = "logs"
    TRACES = "traces"


class Source(StrEnum):
    """Who answers a query."""

    PROMETHEUS = "prometheus"
    LOKI = "loki"
    TEMPO = "tempo"


@dataclass(frozen=True, slots=True)
class Query:
    """`may_be_empty`: why a healthy cluster under load may have no answer; "" if it must have one."""

    expr: str
    legend: str = ""
    may_be_empty: str = ""
    exemplars: bool = False
    source: Source = Source.PROMETHEUS


@dataclass(frozen=True, slots=True)
class Panel:
    """`limits`: (from this value on, colour), for the kinds that are coloured."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = Kind.LINES
    width: int = 8
    height: int = 8
    limits: tuple[tuple[float, str], ...] = ()
    decimals: int | None = None
    top: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """`by_node`: it has a variable for the nodes of `job`; `texts`: (name, label) of variables that are typed in."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    job: str = "tidings-.+"
    by_node: bool = False
    texts: tuple[tuple[str, str], ...] = ()

    def panels(self) -> Iterator[Panel]:
        for row in self.rows:
            yield from row.panels


@dataclass(frozen=True, slots=True)
class Record:
    """A recording rule."""

    name: str
    expr: str
    may_be_empty: str = ""


@dataclass(frozen=True, slots=True)
class Alert:
    """`severity`: `page` wakes somebody, `ticket` waits for the morning. Its page is docs/runbooks/NAME.md.

    `condition` is `measured` with its limit: what has to have an answer in a healthy cluster is `measured`.
    """

    name: str
    severity: str
    measured: str
    limit: str
    hold: str
    summary: str
    description: str
    may_be_empty: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def expr(self) -> str:
        return f"{self.measured} {self.limit}".strip()


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated together."""

    name: str
    rules: tuple[Record | Alert, ...]
    interval: str = "30s"
