"""Pieces of PromQL that panels are made of, and what is read back from expressions.

    rate("tidings_sends_total", "outcome")      how many a second, by outcome, in this cluster
    quantile(0.99, "tidings_ack_seconds")       of a histogram

`where` adds matchers; NODE those of the board's nodes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

NODE = 'instance=~"$node"'
WINDOW = "$__rate_interval"


def select(metric: str, where: str = "") -> str:
    return f'{metric}{{cluster="$cluster"{f",{where}" if where else ""}}}'


def rate(metric: str, by: str = "", where: str = "") -> str:
    return _sum(f"rate({select(metric, where)}[{WINDOW}])", by)


def total(metric: str, by: str = "", where: str = "") -> str:
    return _sum(select(metric, where), by)


def quantile(of: float, histogram: str, by: str = "", where: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({of:g}, sum by ({labels}) (rate({select(f'{histogram}_bucket', where)}[{WINDOW}])))"


def mean(histogram: str, by: str = "", where: str = "") -> str:
    return f"{rate(f'{histogram}_sum', by, where)} / {rate(f'{histogram}_count', by, where)}"


def share(part: str, whole: str) -> str:
    """0 where the whole is 0."""
    return f"{part} / ({whole} > 0)"


_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_NAME = re.compile(r"\b[a-zA-Z_][a-zA-Z0-9_:]*\b")
_METRIC = re.compile(r"^(tidings|process|scrape|slo)[_:]|^(up|ALERTS)$")


def metrics_in(expr: str) -> set[str]:
    """Names of the series that an expression reads, recorded ones too."""
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", _STRING.sub('""', expr))
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", " ", bare)
    return {name for name in _NAME.findall(bare) if _METRIC.match(name)}


def filled(expr: str, variables: Mapping[str, str]) -> str:
    """The expression as Grafana sends it."""
    for name in sorted(variables, key=len, reverse=True):
        expr = expr.replace(f"${name}", variables[name])
    return expr


def _sum(expr: str, by: str) -> str:
    return f"sum by ({by}) ({expr})" if by else f"sum({expr})"
