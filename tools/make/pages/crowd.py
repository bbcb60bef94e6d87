"""What docs/performance.md says of a crowd: a section with a table, and a picture of the run. Pure.

The section stands between the page's marks as a whole, since its words have figures of the run in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tools.make.pages.panels import Line, Panel, panels
from tools.make.pages.performance import table

PICTURE = "crowd.svg"
KINDS = {
    "access": "access nodes", "logic": "logic", "storage": "storage", "kafka": "Kafka", "mongodb": "MongoDB",
    "etcd": "etcd", "bench": "load generator",
}  # fmt: skip
DRAWN = ("access", "logic", "storage", "kafka", "mongodb", "bench")
GIB = 1024


def tables_of(report: Mapping[str, Any]) -> dict[str, str]:
    """By the name of its mark."""
    parts = (f"## {_held(report):,} connections", _words(report), _row(report), _processes(report), _seen())
    return {"crowd": "\n".join(f"{part.rstrip()}\n" for part in parts)}


def crowd_picture(report: Mapping[str, Any]) -> str:
    """Raises ValueError if there is nothing to draw."""
    points: Sequence[Mapping[str, Any]] = report["timeline"]
    held = [(point["at_s"], point["connections"]) for point in points]
    return panels(
        f"{_held(report):,} connections, second by second",
        [
            Panel("connections", [Line("held", held)]),
            Panel("% of a core", [Line(KINDS[kind], _series(points, "cpu_percent", kind, 1)) for kind in DRAWN]),
            Panel("GB", [Line(KINDS[kind], _series(points, "memory_mb", kind, GIB)) for kind in DRAWN]),
        ],
    )


def _held(report: Mapping[str, Any]) -> int:
    return int(report["counts"]["connections"])


def _words(report: Mapping[str, Any]) -> str:
    plan, machine, ramp = report["plan"], report["machine"], report["ramp"]
    return (
        f"`tidings bench crowd` held {_held(report):,} WebSockets of mobile clients in pockets (idle heartbeats) "
        f"for {plan['seconds']:,g} s on the "
        f"{machine['processors']} processors and {machine['memory_gb']:g} GB of one machine, with "
        f"{report['access_nodes']} access nodes, one logic and one storage node, the backends and "
        f"{report['generator_processes']} processes of the load generator on it. They came within "
        f"{ramp['took_s']:,.0f} s; then they sent their heartbeats alone for {plan['warmup_s']:,g} s; then "
        f"{plan['rate']:,g} messages a second went to and fro among them."
    )


def _row(report: Mapping[str, Any]) -> str:
    titles = ["connections", "came, a second", "access memory each", "with messages", "messages"]
    titles += ["acknowledged p50", "p99", "delivered p50", "p99", "lost", "reconnects"]
    acknowledged, delivered, tally = report["acknowledged"], report["delivered"], report["tally"]
    row = [
        f"{_held(report):,}",
        f"{report['ramp']['connects_per_s']:,.0f}",
        f"{report['access_idle_kb_each']:.2f} KB",
        f"{report['access_busy_kb_each']:.2f} KB",
        f"{tally['acknowledged']:,}",
        *(f"{sample[key]:,.1f} ms" for sample in (acknowledged, delivered) for key in ("p50_ms", "p99_ms")),
        f"{tally['lost']:,}",
        f"{tally['reconnects']:,}",
    ]
    return table(titles, [row], left=0)


def _processes(report: Mapping[str, Any]) -> str:
    rows = [
        [
            shown,
            *(f"{report[phase].get(kind, 0.0):,.1f}" for phase in ("idle_percent", "busy_percent")),
            *(f"{report[memory].get(kind, 0):,} MB" for memory in ("memory_before_by_kind_mb", "memory_by_kind_mb")),
        ]
        for kind, shown in KINDS.items()
    ]
    titles = ["process", "% of a core, heartbeats alone", "with messages", "memory before anybody came", "at the end"]
    return table(titles, rows)


def _seen() -> str:
    return f"![The crowd from second to second]({PICTURE})"


def _series(points: Sequence[Mapping[str, Any]], what: str, kind: str, divided_by: float) -> list[tuple[float, float]]:
    return [(point["at_s"], point[what].get(kind, 0) / divided_by) for point in points]
