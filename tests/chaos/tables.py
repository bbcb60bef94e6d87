"""The tables of docs/reliability.md as Markdown, from what build/chaos.json and build/simulation.jsonl hold. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.support.histories.ledger import Ran, caught, whole
from tests.support.histories.verdict import COUNTS

Case = Mapping[str, Any]

TITLES = {
    "lost": "lost",
    "duplicated": "shown twice",
    "disordered": "out of order",
    "missing": "never shown",
    "disagreeing": "disagreeing",
    "misnumbered": "misnumbered",
    "ended": "sessions ended",
}


def of_chaos(told: Mapping[str, Any]) -> dict[str, str]:
    """By the names of their marks."""
    cases = told["cases"]
    return {
        "chaos": f"{_machine(told)}\n{_chaos(cases)}",
        "storms": _storms([case for case in cases if "crowd" in case]),
        "latency": _latency([case for case in cases if "latency" in case]),
        "sessions": _sessions(cases),
        "overload": "".join(_overload(case["overload"]) for case in cases if "overload" in case),
        "slow-readers": "".join(_slow_readers(case["slow_readers"]) for case in cases if "slow_readers" in case),
        "soak": "".join(_soak(case["soak"]) for case in cases if "soak" in case),
    }


def of_simulation(ran: Sequence[Ran], does: Mapping[str, str]) -> dict[str, str]:
    """By the names of their marks. `does`: what each mutation is."""
    return {"simulation": _simulation(whole(ran)), "mutations": _mutations(ran, does)}


def _machine(told: Mapping[str, Any]) -> str:
    loads = sorted(case["others_load"] for case in told["cases"])
    busy = f"; other work on it when the runs began: a load of {loads[0]:g} to {loads[-1]:g}" if loads else ""
    return f"{told['machine']}{busy}. Seed {told['seed']}, {told['rate']:g} messages a second where no other is said.\n"


def _chaos(cases: Sequence[Mapping[str, Any]]) -> str:
    titles = [
        "case",
        "what happens",
        "acknowledged",
        *TITLES.values(),
        "sender waits",
        "receiver waits",
        "healthy after",
    ]
    rows = []
    for case in cases:
        if case["skipped"]:
            rows.append([case["case"], f"skipped: {case['skipped']}", *[""] * (len(titles) - 2)])
            continue
        rows.append(
            [
                case["case"],
                f"{case['does']}. FAILED: {case['problem']}" if case["problem"] else case["does"],
                f"{case['acknowledged']:,}",
                *(str(case[kind]) for kind in COUNTS),
                *(f"{case[name]:.1f} s" for name in ("sender_pause_s", "receiver_pause_s", "healthy_s")),
            ]
        )
    return _table(titles, rows, left=2)


def _storms(cases: Sequence[Mapping[str, Any]]) -> str:
    titles = [
        "case",
        "clients",
        "all back",
        "sessions begun",
        "most in a second on a node",
        "turned away",
        "lost without a goodbye",
    ]
    titles += ["away, median", "away, longest", "hello to welcome, median"]
    rows = [
        [
            case["case"],
            f"{sum(case['crowd']['nodes'].values()):,}",
            f"{case.get('back_s', case.get('moved_s')):.1f} s",
            f"{case['crowd']['welcomes']:,}",
            str(case["crowd"]["peak_per_s"]),
            str(case["crowd"]["goodbyes"].get("4003", 0)),
            str(case["crowd"]["lost"]),
            f"{case['crowd']['back_p50_s']:.2f} s",
            f"{case['crowd']['back_max_s']:.2f} s",
            f"{case['crowd']['hello_p50_s'] * 1000:.0f} ms",
        ]
        for case in cases
    ]
    return _table(titles, rows)


def _latency(cases: Sequence[Mapping[str, Any]]) -> str:
    titles = ["case", "when", "messages", "acknowledged p50", "p99", "shown p50", "p99"]
    rows = [[case["case"], *row] for case in cases for row in _windows(case["latency"])]
    return _table(titles, rows, left=2)


def _windows(latency: Mapping[str, Mapping[str, float]]) -> Iterator[list[str]]:
    for name, told in latency.items():
        times = ("acknowledged_p50_s", "acknowledged_p99_s", "shown_p50_s", "shown_p99_s")
        yield [name, f"{told['posted']:,}", *(f"{told[key] * 1000:.0f} ms" for key in times)]


def _sessions(cases: Sequence[Mapping[str, Any]]) -> str:
    words = {
        "back_s": "from kill -9 of the node to the next welcome, five sends between",
        "presence_s": "from kill -9 of the node until a watcher hears that who does not come back is offline",
        "login_s": "from the stop of the node to the welcome on another, old session still open",
        "old_session": "how the old session ended when its node woke",
    }
    rows = [
        [case["case"], sentence, f"{case[key]:.2f} s" if isinstance(case[key], float) else str(case[key])]
        for case in cases
        if case["case"].startswith("session")
        for key, sentence in words.items()
        if key in case
    ]
    return _table(["case", "what", "measured"], rows, left=2)


def _overload(told: Mapping[str, Any]) -> str:
    titles = ["", "sent a second", "accepted a second", "refused", "accepted p50", "p99", "delivered p50", "p99"]
    titles += ["refused p99", "told to come back after"]
    rows = []
    for when in ("before", "during", "after"):
        span = told[when]
        retry = span["retry_after_ms"]
        rows.append(
            [
                f"{when}, {span['seconds']:.0f} s",
                f"{span['sent_per_s']:,}",
                f"{span['accepted_per_s']:,}",
                f"{span['refused'].get('OVERLOADED', 0):,}",
                *(f"{span[name]} ms" for name in ("acknowledged_p50_ms", "acknowledged_p99_ms")),
                *(f"{span[name]} ms" for name in ("arrived_p50_ms", "arrived_p99_ms")),
                f"{span['refused_p99_ms']} ms" if retry else "-",
                f"{retry[0]} to {retry[1]} ms" if retry else "-",
            ]
        )
    account = told["account"]
    sentence = (
        f"A closed loop of 200 users carried {told['carries_per_s']:,} messages a second. "
        f"Of {account['acknowledged']:,} that were acknowledged {account['lost']} were lost, {account['doubled']} "
        f"doubled, {account['misordered']} out of order; {account['unanswered']} sends had no answer. The last refusal "
        f"came {told['recovered_s']:.1f} s after the overload had ended.\n"
    )
    return f"{sentence}\n{_table(titles, rows)}\n{_memory(told['memory_mib'])}"


def _slow_readers(told: Mapping[str, Any]) -> str:
    each = ", ".join(f"{node} {kib} KiB" for node, kib in told["kib_each"].items())
    rows = [
        ["connections that stopped reading", f"{told['readers']:,}"],
        ["of them told that they are paused", f"{told['paused']:,}"],
        ["may wait for one (`slow_consumer_bytes`)", f"{told['setting_kib']} KiB"],
        ["grew for each of them", each],
        ["shown to those that read, before: p50, p99", f"{told['before_ms']['p50']} ms, {told['before_ms']['p99']} ms"],
        ["the same while 500 did not read", f"{told['during_ms']['p50']} ms, {told['during_ms']['p99']} ms"],
        ["pages of history that they asked for afterwards", f"{told['history_pages']:,}"],
        ["until all had everything", f"{told['recovered_s']:.1f} s"],
    ]
    return _table(["what", "measured"], rows)


def _soak(told: Mapping[str, Any]) -> str:
    sentence = (
        f"{told['seconds']:,} s: {told['rounds']} kills, {told['clients']:,} clients that came and were gone, besides "
        "the load. Start → end:\n"
    )
    kinds = sorted({count for counts in told["counts"].values() for count in counts})
    shown = [kind for kind in kinds if any(counts.get(kind, [0, 0]) != [0, 0] for counts in told["counts"].values())]
    rows = [
        [name, *(f"{counts[kind][0]} → {counts[kind][1]}" if kind in counts else "" for kind in shown)]
        for name, counts in told["counts"].items()
    ]
    zeros = ", ".join(kind for kind in kinds if kind not in shown)
    also = f"\nNowhere anything at the start or at the end: {zeros}.\n" if zeros else ""
    return f"{sentence}\n{_table(['', *shown], rows)}{also}\n{_memory(told['memory_mib'])}"


def _memory(told: Mapping[str, Mapping[str, int]]) -> str:
    keys = [key for key in ("first", "last", "peak") if all(key in sizes for sizes in told.values())]
    rows = [[name, *(f"{sizes[key]} MiB" for key in keys)] for name, sizes in told.items()]
    return _table(["memory of", *keys], rows)


def _simulation(ran: Sequence[Ran]) -> str:
    by_code: dict[str, list[Ran]] = {}
    for each in ran:
        by_code.setdefault(each.code, []).append(each)
    rows = [
        [
            code or "?",
            f"{len(seeds):,}",
            f"{sum(each.acknowledged for each in seeds):,}",
            str(sum(bool(each.broke) for each in seeds)),
        ]
        for code, seeds in by_code.items()
    ]
    failed = sum(bool(each.broke) for each in ran)
    rows.append(["all", f"{len(ran):,}", f"{sum(each.acknowledged for each in ran):,}", str(failed)])
    return _table(["version of the code", "seeds", "messages acknowledged", "seeds that failed"], rows)


def _mutations(ran: Sequence[Ran], does: Mapping[str, str]) -> str:
    rows = [
        [
            f"`{mutation}`",
            does.get(mutation, ""),
            ", ".join(found.broke) if found else "not found",
            str(found.seed) if found else "-",
            str(tried),
        ]
        for mutation, (found, tried) in caught(ran).items()
    ]
    titles = ["mutation", "what is wrong", "promises that the checker saw broken", "first seed", "seeds tried"]
    return _table(titles, rows, left=3)


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    rule = ["---"] * left + ["---:"] * (len(titles) - left)
    return "".join(f"| {' | '.join(line)} |\n" for line in (titles, rule, *rows))
