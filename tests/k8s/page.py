"""`python -m tests.k8s.page`: writes the table of build/k8s.json into docs/operations.md, between its marks.

The figures come from a run and are never typed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.faults.page import put
from tests.support.histories.verdict import COUNTS

RESULTS = Path("build/k8s.json")
PAGE = Path("docs/operations.md")
MARK, SIZES_MARK = "k8s", "k8s-sizes"
TITLES = (
    "case",
    "what happens",
    "acknowledged",
    "lost",
    "doubled",
    "out of order",
    "never shown",
    "other faults",
    "sender waits",
    "receiver waits",
    "healthy after",
    "times",
)


def main() -> int:
    try:
        told = json.loads(RESULTS.read_text())
    except FileNotFoundError:
        sys.stderr.write(f"{RESULTS} is not there: run `make k8s-lab` first.\n")
        return 1
    text = put(PAGE.read_text(), MARK, table(told))
    PAGE.write_text(put(text, SIZES_MARK, sizes(told)))
    return 0


def table(told: Mapping[str, Any]) -> str:
    """The table of a run, with where it was taken."""
    rule = ["---"] * 2 + ["---:"] * (len(TITLES) - 3) + ["---"]
    lines = [TITLES, rule, *(_row(case) for case in told["cases"])]
    head = f"{told['cluster']}, {told['machine']}; {told['rate']:g} messages a second beside the crowd's.\n\n"
    return head + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def sizes(told: Mapping[str, Any]) -> str:
    """What the nodes took, where a case measured it."""
    found = next((case["sizes"] for case in told["cases"] if "sizes" in case), None)
    if found is None:
        return "Not measured."
    lines = [["kind", "nodes", "memory of each", "CPU of each"], ["---", "---:", "---:", "---:"]]
    lines += [
        [kind, str(size["nodes"]), f"{size['memory_mib']:.0f} MiB", f"{size['cpu_cores']:.2f} cores"]
        for kind, size in found.items()
    ]
    what = (
        f"{found['access']['connections']} connections and {found['storage']['messages_per_s']:.0f} messages a second"
    )
    return f"Measured in the run below, with {what}:\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _row(case: Mapping[str, Any]) -> Sequence[str]:
    if case["skipped"] or case["problem"]:
        outcome = f"skipped: {case['skipped']}" if case["skipped"] else f"failed: {case['problem']}"
        return [case["case"], f"{case['does']}; {outcome}", *[""] * (len(TITLES) - 2)]
    lost, doubled, disordered, missing, *others = (case[kind] for kind in COUNTS)
    pauses = (case["sender_pause_s"], case["receiver_pause_s"], case["healthy_s"])
    return [
        case["case"],
        case["does"],
        f"{case['acknowledged']:,}",
        *(str(count) for count in (lost, doubled, disordered, missing, sum(others))),
        *(f"{seconds:.1f} s" for seconds in pauses),
        "; ".join(_times(case)),
    ]


def _times(case: Mapping[str, Any]) -> list[str]:
    """What the case itself measured."""
    words = {
        "to_4_s": "to 4 nodes {:.0f} s",
        "to_2_s": "to 2 nodes {:.0f} s",
        "storage_s": "storage {:.0f} s",
        "logic_s": "logic {:.0f} s",
        "access_s": "access {:.0f} s",
        "up_s": "up after {:.0f} s",
        "down_s": "down after {:.0f} s",
        "drained_s": "drained in {:.0f} s",
        "spread_s": "spread again in {:.0f} s",
        "given_up_s": "replaced elsewhere after {:.0f} s",
    }
    found = [text.format(case[key]) for key, text in words.items() if key in case]
    if "crowd" in case:
        crowd = case["crowd"]
        found.append(f"clients away {crowd['back_p50_s']:.1f} s (median), {crowd['back_max_s']:.1f} s at most")
    if "visits" in case:
        found.append(f"{case['visits']['chats']} chats, all at their owners")
    return found


if __name__ == "__main__":
    sys.exit(main())
