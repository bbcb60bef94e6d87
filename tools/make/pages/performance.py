"""The tables of docs/performance.md: written from a report of the standard set, between the page's marks. Pure.

The page says in words what the tables mean; the figures in it come from a run and are never typed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tools.bench.report.targets import TARGETS
from tools.bench.standard import RATES, SENDERS, TWO_NODES, keeps_up, load_curve
from tools.make.pages.picture import Curve, picture

Runs = Mapping[str, Mapping[str, Any]]

DIRECT = ("direct", "direct-tcp", "direct-json", *(f"direct-{rate}" for rate in RATES))
CONCURRENT = tuple(f"senders-{count}" for count in SENDERS)
GROUPS = ("groups-of-5", "groups-of-20", "groups-of-50", "group-100", "group-1000", "group-10000")
OTHERS = ("signals", "connect", "storm", "sync", "history", "mixed", "idle-ws", "idle-tcp")
PROCESSES = ("direct", "direct-500", "group-1000", "groups-of-20", "signals", "mixed")
VERDICTS = {"aim": "aim met", "must": "must met", "no": "**not met**"}


def put(text: str, tables: Mapping[str, str]) -> str:
    """The page with what is between the marks of each name replaced. Raises ValueError if a mark is not there."""
    for name, table in tables.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"the page has no marks <!-- {name} --> and <!-- /{name} -->")
        filled = f"{table.rstrip()}\n"
        text = pattern.sub(lambda found, filled=filled: f"{found[1]}{filled}{found[2]}", text)  # type: ignore[misc]
    return text


def tables_of(report: Mapping[str, Any]) -> dict[str, str]:
    """By the names of their marks."""
    runs: Runs = report["runs"]
    return {
        "machine": _machine(report),
        "figures": _figures(runs),
        "direct": _latencies(runs, (*DIRECT, *CONCURRENT, *_on_two(DIRECT))),
        "groups": _latencies(runs, (*GROUPS, *_on_two(GROUPS))),
        "others": _others(runs),
        "processes": _processes(runs),
        "fate": _fate(runs),
    }


def _on_two(names: Sequence[str]) -> list[str]:
    return [name for name, original in TWO_NODES.items() if original in names]


def load_picture(report: Mapping[str, Any]) -> str:
    """Raises ValueError if there is nothing to draw."""
    found = load_curve(report["runs"])
    curves = [
        Curve(
            f"{name}, {percentile}",
            [(run[name]["per_s"], run[name][f"{percentile}_ms"]) for run in found],
        )
        for name in ("acknowledged", "delivered")
        for percentile in ("p50", "p99")
    ]
    return picture("Direct messages: latency over load", "messages a second (open loop)", "milliseconds", curves)


def _machine(report: Mapping[str, Any]) -> str:
    machine = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items() if version)
    return (
        f"{machine['processors']} processors ({machine['processor']}), {machine['memory_gb']:g} GB, "
        f"{machine['system']}, Python {machine['python']}; {versions}.\n"
    )


def _figures(runs: Runs) -> str:
    rows = []
    for target in TARGETS:
        try:
            value = target.value(runs)
        except KeyError:
            rows.append([target.name, "not measured", target.unit, f"{target.must:,g}", f"{target.aim:,g}", ""])
            continue
        verdict = VERDICTS[target.verdict(value)]
        rows.append([target.name, _short(value), target.unit, f"{target.must:,g}", f"{target.aim:,g}", verdict])
    return table(["figure", "measured", "", "must", "aim", ""], rows)


def _latencies(runs: Runs, names: Sequence[str]) -> str:
    titles = ["run", "asked", "delivered a second", "acknowledged mean", "p50", "p99", "delivered p50", "p99"]
    titles += ["CPU-s per 1,000", "of it load generator"]
    rows = []
    for name, run in _there(runs, names):
        asked = f"{run['plan']['rate']:,g} a second" if run["loop"] == "open" else _closed(run)
        if run["loop"] == "open" and not keeps_up(run):
            asked += " (not kept up with)"
        acknowledged, delivered = run["acknowledged"], run["delivered"]
        cost = run["cpu_s_per_1000"]
        rows.append(
            [
                name,
                asked,
                f"{delivered['per_s']:,.0f}",
                *(_ms(acknowledged, key) for key in ("mean_ms", "p50_ms", "p99_ms")),
                *(_ms(delivered, key) for key in ("p50_ms", "p99_ms")),
                f"{cost['all']:.3g}",
                f"{cost['load generator']:.2g}",
            ]
        )
    return table(titles, rows, left=2)


def _closed(run: Mapping[str, Any]) -> str:
    plan = run["plan"]
    if plan["members"]:
        groups = plan["users"] // plan["members"]
        return f"{groups} × {plan['members']:,} members, {plan['senders'] * plan['window']} in flight each"
    return f"{plan['users']:,} users, {plan['window']} in flight each"


def _others(runs: Runs) -> str:
    rows = []
    for name, run in _there(runs, OTHERS):
        sample = next((run[key] for key in ("connected", "page", "delivered") if key in run), None)
        if run["workload"] == "idle":
            speed = f"{run['counts']['connections']:,} connections"
        else:
            speed = f"{run['units_per_s']:,.0f} {_plural(run['unit'])} a second"
        each = f"{run['access_kb_each']:g} KB each" if "access_kb_each" in run else ""
        rows.append(
            [
                name,
                speed,
                *(_ms(sample, key) if sample else "" for key in ("p50_ms", "p99_ms")),
                f"{run['cpu_s_per_1000']['cluster']:.3g}" if run["workload"] != "idle" else "",
                each,
            ]
        )
    titles = ["run", "speed", "p50", "p99", "CPU-s of the cluster per 1,000", "access memory"]
    return table(titles, rows, left=2)


def _plural(unit: str) -> str:
    return f"{unit[:-1]}ies" if unit.endswith("y") else f"{unit}s"


def _processes(runs: Runs) -> str:
    """CPU seconds per 1,000 and memory of each process."""
    found = list(_there(runs, PROCESSES))
    names = sorted({process for _, run in found for process in run["cpu_s_per_1000"]} - {"all"})
    names.sort(key=lambda name: (name == "cluster", name == "load generator"))
    titles = ["process", *(f"{name} (per {run['unit']})" for name, run in found), "memory after the last"]
    rows = []
    for process in names:
        memory = next((run["memory_mb"][process] for _, run in reversed(found) if process in run["memory_mb"]), None)
        costs = [
            f"{run['cpu_s_per_1000'][process]:.4f}" if process in run["cpu_s_per_1000"] else "" for _, run in found
        ]
        rows.append([process, *costs, f"{memory:,.0f} MB" if memory is not None else ""])
    return table(titles, rows)


def _fate(runs: Runs) -> str:
    """What became of all messages of the set."""
    tallies = [run["tally"] for run in runs.values() if "tally" in run]
    names = [name for name in tallies[0] if name != "errors"] if tallies else []
    rows = [[name.replace("_", " "), f"{sum(tally[name] for tally in tallies):,}"] for name in names]
    codes = sorted({code for tally in tallies for code in tally["errors"]})
    rows += [[f"answered {code}", f"{sum(tally['errors'].get(code, 0) for tally in tallies):,}"] for code in codes]
    return table(["of all runs", "count"], rows)


def _there(runs: Runs, names: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((name, runs[name]) for name in names if name in runs)


def _ms(sample: Mapping[str, Any], key: str) -> str:
    return f"{_short(sample[key])} ms" if sample["count"] else ""


def _short(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    rule = ["---"] * left + ["---:"] * (len(titles) - left)
    return "".join(f"| {' | '.join(line)} |\n" for line in (titles, rule, *rows))
