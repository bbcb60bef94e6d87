"""Queries and panels that several boards have: each is said once.

`by` names the labels that a query tells apart, "method, code"; its legend is their values, one after the other. `where`
adds matchers. An exemplar or a legend of another kind is a `Query` of its own.
"""

from __future__ import annotations

from tools.make.monitoring.model import Kind, Panel, Query
from tools.make.monitoring.promql import mean, quantile, rate, select, total


def rate_by(metric: str, by: str, where: str = "", may_be_empty: str = "") -> Query:
    """How many a second."""
    return Query(rate(metric, by, where), _legend(by), may_be_empty)


def total_by(metric: str, by: str, where: str = "", may_be_empty: str = "") -> Query:
    """How many there are."""
    return Query(total(metric, by, where), _legend(by), may_be_empty)


def mean_by(histogram: str, by: str, where: str = "", may_be_empty: str = "") -> Query:
    """What was observed, on average."""
    return Query(mean(histogram, by, where), _legend(by), may_be_empty)


def p99_by(histogram: str, by: str, where: str = "", may_be_empty: str = "") -> Query:
    """What 99 of a hundred stay below."""
    return Query(quantile(0.99, histogram, by, where), _legend(by), may_be_empty)


def p50_p99(histogram: str, where: str = "", may_be_empty: str = "") -> tuple[Query, Query]:
    """The middle and the worst of a hundred."""
    return (
        Query(quantile(0.5, histogram, where=where), "p50", may_be_empty),
        Query(quantile(0.99, histogram, where=where), "p99", may_be_empty),
    )


def lanes(where: str) -> Panel:
    return Panel(
        "Lanes", "Items that wait, by lane.", "short", (total_by("tidings_lane_depth", "lane", where),), Kind.STACKED
    )


def batches(where: str) -> Panel:
    return Panel(
        "Batches", "Items of a batch on average, by lane.", "short", (mean_by("tidings_lane_batch", "lane", where),)
    )


def loop_lag(where: str) -> Panel:
    return Panel(
        "Event loop lag",
        "How much later than asked the loop wakes.",
        "s",
        (Query(quantile(0.99, "tidings_event_loop_lag_seconds", "instance", where), "p99 {{instance}}"),),
    )


def processor_and_collector(where: str) -> Panel:
    return Panel(
        "Processor and collector",
        "Cores used, and the share of the time that the garbage collector's pauses take.",
        "none",
        (
            Query(rate("process_cpu_seconds_total", "instance", where), "cores {{instance}}"),
            Query(rate("tidings_gc_pause_seconds_sum", "instance", where), "collector {{instance}}"),
        ),
    )


def memory(where: str) -> Panel:
    return Panel(
        "Memory",
        "Resident memory of each process.",
        "bytes",
        (Query(select("process_resident_memory_bytes", where), "{{instance}}"),),
    )


def _legend(by: str) -> str:
    return " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
