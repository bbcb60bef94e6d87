"""Dashboards: complete, made of metrics that exist, and the same as the files that are committed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from services.common.telemetry import metrics
from tools.make.monitoring.__main__ import GRAFANA, drift
from tools.make.monitoring.boards import BOARDS
from tools.make.monitoring.model import Board, Kind, Panel, Query, Record, Source
from tools.make.monitoring.promql import filled, metrics_in
from tools.make.monitoring.rules import rules

UNITS = {"s", "short", "none", "bytes", "Bps", "percentunit", "ops", "reqps", "mps", "wps", "recps"}
# Those that prometheus_client and Prometheus itself give.
OTHERS = {
    "up",
    "ALERTS",
    "scrape_samples_scraped",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_open_fds",
    "process_max_fds",
}
ENDINGS = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


def known() -> set[str]:
    """Every series that an expression may name."""
    own = {f"{each.name}{ending}" for each in metrics.described() for ending in ENDINGS[each.kind]}
    return own | OTHERS | {rule.name for rule in rules() if isinstance(rule, Record)}


PANELS = [(board, panel) for board in BOARDS for panel in board.panels()]


def test_the_committed_files_are_what_the_code_says() -> None:
    assert drift() == []


def test_there_is_a_board_for_each_question() -> None:
    assert [board.uid for board in BOARDS] == [
        "tidings-overview",
        "tidings-access",
        "tidings-logic",
        "tidings-storage",
        "tidings-path",
        "tidings-capacity",
    ]


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=lambda each: each.title)
def test_a_panel_has_a_title_a_description_a_unit_and_legends(board: Board, panel: Panel) -> None:
    assert panel.title
    assert len(panel.description) > 5
    assert panel.description.endswith(".")
    assert panel.unit in UNITS
    assert panel.queries
    assert len({query.source for query in panel.queries}) == 1
    for query in panel.queries:
        assert query.legend or query.source is not Source.PROMETHEUS


def test_panels_of_a_board_have_titles_of_their_own() -> None:
    for board in BOARDS:
        titles = [panel.title for panel in board.panels()]
        assert len(titles) == len(set(titles)), board.title


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=lambda each: each.title)
def test_a_panel_asks_only_for_metrics_that_there_are(board: Board, panel: Panel) -> None:
    for query in panel.queries:
        if query.source is Source.PROMETHEUS:
            named = metrics_in(query.expr)
            assert named
            assert named <= known()


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=lambda each: each.title)
def test_a_panel_looks_at_one_cluster_and_uses_only_variables_of_its_board(board: Board, panel: Panel) -> None:
    variables = (
        {"cluster", "__rate_interval"} | {name for name, _ in board.texts} | ({"node"} if board.by_node else set())
    )
    for query in panel.queries:
        assert set(re.findall(r"\$(\w+)", query.expr)) <= variables
        if query.source is not Source.TEMPO:
            assert 'cluster="$cluster"' in query.expr


def test_every_label_of_a_query_is_one_of_its_metric() -> None:
    """A misspelt label gives no error and no data."""
    labels = set(metrics.LABELS) | {"cluster", "instance", "job", "le", "alertname", "alertstate", "severity", "app"}
    for _, panel in PANELS:
        for query in panel.queries:
            if query.source is Source.PROMETHEUS:
                assert set(_labels_in(query)) <= labels, query.expr


def test_every_metric_is_on_a_board_or_in_an_alert() -> None:
    shown = {name for _, panel in PANELS for query in panel.queries for name in metrics_in(query.expr)}
    watched = {name for rule in rules() for name in metrics_in(rule.expr)}
    unseen = [
        each.name
        for each in metrics.described()
        if not {f"{each.name}{ending}" for ending in ENDINGS[each.kind]} & (shown | watched)
    ]
    # What a panel shows better by another metric.
    assert set(unseen) == {
        "tidings_page_entries",
        "tidings_event_loop_lag_last_seconds",
        "tidings_lane_wait_seconds",
        "tidings_lane_handle_seconds",
    }


def test_names_are_read_out_of_expressions() -> None:
    expr = 'sum by (le, up) (rate(tidings_x_bucket{up="process_y"}[5m])) / ignoring(job) slo:tidings_a:b_1h > up'
    assert metrics_in(expr) == {"tidings_x_bucket", "slo:tidings_a:b_1h", "up"}


def test_variables_are_filled_in_the_longer_names_first() -> None:
    assert filled("$node $nodes $__rate_interval", {"node": "a", "nodes": "b", "__rate_interval": "1m"}) == "a b 1m"


def test_the_json_is_one_that_grafana_can_place() -> None:
    for board in BOARDS:
        made = json.loads((GRAFANA / f"{board.uid.removeprefix('tidings-')}.json").read_text())
        assert made["uid"] == board.uid
        ids = [panel["id"] for panel in made["panels"]]
        assert len(ids) == len(set(ids))
        places = [_cells(panel["gridPos"]) for panel in made["panels"]]
        assert sum(map(len, places)) == len(set().union(*places)), "panels overlap"
        assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in made["panels"])


def test_exemplars_are_asked_for_where_latencies_are_shown() -> None:
    asked = {
        name for _, panel in PANELS for query in panel.queries if query.exemplars for name in metrics_in(query.expr)
    }
    assert asked == {"tidings_ack_seconds_bucket", "tidings_delivery_seconds_bucket"}


def test_a_panel_that_may_be_empty_says_why() -> None:
    for _, panel in PANELS:
        for query in panel.queries:
            assert not query.may_be_empty or len(query.may_be_empty) > 10


def test_limits_rise() -> None:
    for _, panel in PANELS:
        assert list(panel.limits) == sorted(panel.limits)
        assert not panel.limits or panel.kind in {Kind.STAT, Kind.BARS, Kind.STATES}


def _labels_in(query: Query) -> Iterator[str]:
    for matchers in re.findall(r"\{([^}]*)\}", query.expr):
        yield from re.findall(r"(\w+)\s*(?:=|!=|=~|!~)\"", matchers)
    for names in re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", query.expr):
        yield from (name.strip() for name in names.split(","))


def _cells(place: dict[str, int]) -> set[tuple[int, int]]:
    columns = range(place["x"], place["x"] + place["w"])
    return {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}
