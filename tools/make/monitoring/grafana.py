"""Dashboards as Grafana's JSON, made with the types of grafana-foundation-sdk: what it does not know cannot be written.

Guarantees: the same boards give the same bytes.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    logs,
    loki,
    prometheus,
    stat,
    statetimeline,
    table,
    tempo,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import prometheus as prometheus_models

from tools.make.monitoring.model import Board, Kind, Panel, Query, Row, Source

COLUMNS = 24
SOURCES = {Source.PROMETHEUS: "metrics", Source.LOKI: "logs", Source.TEMPO: "traces"}
ROOT_FOLDER = "tidings"


def files(boards: Iterable[Board]) -> dict[str, str]:
    """Contents by name."""
    return {f"{board.uid.removeprefix('tidings-')}.json": _json(_dashboard(board)) for board in boards}


def _json(built: dashboard.Dashboard) -> str:
    return json.dumps(json.loads(JSONEncoder(sort_keys=True).encode(built.build())), indent=1, sort_keys=True) + "\n"


def _dashboard(board: Board) -> dashboard.Dashboard:
    built = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([ROOT_FOLDER])
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time("now-1h", "now")
        .refresh("30s")
        .readonly()
        .link(
            dashboard.DashboardLink("Tidings")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([ROOT_FOLDER])
            .include_vars(True)
            .keep_time(True)
        )
        .annotation(
            dashboard.AnnotationQuery()
            .name("Ring changes")
            .datasource(_source(Source.PROMETHEUS))
            .enable(True)
            .hide(False)
            .icon_color("purple")
            .expr('max by (kind) (changes(tidings_ring_changes_total{cluster="$cluster"}[1m])) > 0')
        )
    )
    for variable in _variables(board):
        built = built.with_variable(variable)
    top, numbers = 0, itertools.count(1)
    for row in board.rows:
        top = _place_row(built, row, top, numbers)
    return built


def _variables(board: Board) -> list[Any]:
    sources = {query.source for panel in board.panels() for query in panel.queries} | {Source.PROMETHEUS}
    kinds = {Source.PROMETHEUS: "prometheus", Source.LOKI: "loki", Source.TEMPO: "tempo"}
    found: list[Any] = [
        dashboard.DatasourceVariable(SOURCES[source]).label(SOURCES[source].title()).type(kinds[source])
        for source in Source
        if source in sources
    ]
    found.append(_query_variable("cluster", "Cluster", "label_values(tidings_build_info, cluster)"))
    if board.by_node:
        query = f'label_values(tidings_build_info{{cluster="$cluster",job=~"{board.job}"}}, instance)'
        found.append(_query_variable("node", "Node", query).multi(True).include_all(True).all_value(".+"))
    found.extend(dashboard.TextBoxVariable(name).label(label).default_value("") for name, label in board.texts)
    return found


def _query_variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(_source(Source.PROMETHEUS))
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )


def _place_row(built: dashboard.Dashboard, row: Row, top: int, numbers: Iterator[int]) -> int:
    """Where the next row begins."""
    head = dashboard.Row(row.title).id(next(numbers))
    built.with_row(head.grid_pos(models.GridPos(h=1, w=COLUMNS, x=0, y=top)))
    top, left, lowest = top + 1, 0, top + 1
    for panel in row.panels:
        if left + panel.width > COLUMNS:
            top, left = lowest, 0
        place = models.GridPos(h=panel.height, w=panel.width, x=left, y=top)
        built.with_panel(_panel(panel).id(next(numbers)).grid_pos(place))
        left, lowest = left + panel.width, max(lowest, top + panel.height)
    return lowest


def _panel(panel: Panel) -> Any:
    built = _drawn(panel)
    built.title(panel.title).description(panel.description).datasource(_source(panel.queries[0].source))
    if panel.kind not in (Kind.LOGS, Kind.TRACES):
        built.unit(panel.unit)
    if panel.limits:
        steps = [
            models.Threshold(value=None if place == 0 else value, color=color)
            for place, (value, color) in enumerate(panel.limits)
        ]
        built.thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
    if panel.decimals is not None:
        built.decimals(panel.decimals)
    if panel.top is not None:
        built.max(panel.top)
    for place, query in enumerate(panel.queries):
        built.with_target(_target(query, chr(ord("A") + place), panel.kind))
    return built


def _drawn(panel: Panel) -> Any:
    match panel.kind:
        case Kind.LINES | Kind.STACKED:
            lines = (
                timeseries.Panel()
                .line_width(1)
                .fill_opacity(40 if panel.kind is Kind.STACKED else 8)
                .show_points(common_models.VisibilityMode.NEVER)
                .legend(
                    common.VizLegendOptions()
                    .display_mode(common_models.LegendDisplayMode.LIST)
                    .placement(common_models.LegendPlacement.BOTTOM)
                    .show_legend(True)
                )
                .tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
            )
            # The axis begins at 0, or noise looks like trouble.
            lines.axis_soft_min(0)
            if panel.kind is Kind.STACKED:
                lines.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
            return lines
        case Kind.STAT:
            return stat.Panel().color_mode(common_models.BigValueColorMode.VALUE).reduce_options(_last())
        case Kind.BARS:
            return bargauge.Panel().orientation(common_models.VizOrientation.HORIZONTAL).reduce_options(_last())
        case Kind.STATES:
            return statetimeline.Panel().show_value(common_models.VisibilityMode.NEVER)
        case Kind.LOGS:
            return logs.Panel().show_time(True).wrap_log_message(True).enable_log_details(True)
        case Kind.TABLE | Kind.TRACES:
            return table.Panel()


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"])


def _target(query: Query, ref: str, kind: Kind) -> Any:
    match query.source:
        case Source.LOKI:
            return loki.Dataquery().expr(query.expr).ref_id(ref).max_lines(500)
        case Source.TEMPO:
            return tempo.TempoQuery().query(query.expr).query_type("traceql").ref_id(ref).limit(50)
        case Source.PROMETHEUS:
            built = prometheus.Dataquery().expr(query.expr).ref_id(ref).legend_format(query.legend)
            if kind is Kind.TABLE:
                return built.instant().format(prometheus_models.PromQueryFormat.TABLE)
            return built.range().exemplar(query.exemplars)


def _source(source: Source) -> models.DataSourceRef:
    kind = {Source.PROMETHEUS: "prometheus", Source.LOKI: "loki", Source.TEMPO: "tempo"}[source]
    return models.DataSourceRef(type_val=kind, uid=f"${{{SOURCES[source]}}}")
