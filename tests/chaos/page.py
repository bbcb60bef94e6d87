"""`python -m tests.chaos.page`: writes the tables of build/chaos.json into docs/reliability.md, between its marks.

The page says in words what the tables mean; the figures in it come from a run and are never typed.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.chaos.verdict import COUNTS

RESULTS = Path("build/chaos.json")
PAGE = Path("docs/reliability.md")

TITLES = {
    "lost": "lost",
    "duplicated": "shown twice",
    "disordered": "out of order",
    "missing": "never shown",
    "disagreeing": "disagreeing",
    "misnumbered": "misnumbered",
    "ended": "sessions ended",
}


def main() -> int:
    try:
        told = json.loads(RESULTS.read_text())
    except FileNotFoundError:
        sys.stderr.write(f"{RESULTS} is not there: run `make chaos CASES=all` first.\n")
        return 1
    text = PAGE.read_text()
    for name, table in tables_of(told).items():
        text = put(text, name, table)
    PAGE.write_text(text)
    return 0


def tables_of(told: Mapping[str, Any]) -> dict[str, str]:
    """The tables by the names of their marks."""
    cases = told["cases"]
    machine = f"{told['machine']}; seed {told['seed']}, {told['rate']:g} messages a second.\n"
    return {
        "chaos": f"{machine}\n{_chaos(cases)}",
        "storms": _storms([case for case in cases if "crowd" in case]),
        "latency": _latency([case for case in cases if "latency" in case]),
        "sessions": _sessions(cases),
    }


def put(text: str, name: str, table: str) -> str:
    """The text with what is between the marks of this name replaced. Raises ValueError if there are no such marks."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{PAGE} has no marks <!-- {name} --> and <!-- /{name} -->")
    return pattern.sub(lambda found: f"{found[1]}{table.rstrip()}\n{found[2]}", text)


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
                case["does"],
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


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    rule = ["---"] * left + ["---:"] * (len(titles) - left)
    return "".join(f"| {' | '.join(line)} |\n" for line in (titles, rule, *rows))


if __name__ == "__main__":
    sys.exit(main())
