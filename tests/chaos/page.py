"""`python -m tests.chaos.page`: writes the tables of build/chaos.json and build/simulation.jsonl into
docs/reliability.md, between its marks.

The page says in words what the tables mean; the figures in it come from runs and are never typed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.chaos import tables
from tests.chaos.catalogue import CASES
from tests.simulation.mutations import MUTATIONS
from tests.support.faults.page import put
from tests.support.histories import ledger

RESULTS = Path("build/chaos.json")
PAGE = Path("docs/reliability.md")


def main() -> int:
    made: dict[str, str] = {}
    if RESULTS.exists():
        made |= tables.of_chaos(in_order(json.loads(RESULTS.read_text())))
    if ledger.LEDGER.exists():
        made |= tables.of_simulation(ledger.read(ledger.LEDGER), does())
    if not made:
        sys.stderr.write(f"Neither {RESULTS} nor {ledger.LEDGER} is there: `make chaos CASES=all`, `make simulate`.\n")
        return 1
    text = PAGE.read_text()
    for name, table in made.items():
        text = put(text, name, table)
    PAGE.write_text(text)
    return 0


def in_order(told: Mapping[str, Any]) -> dict[str, Any]:
    """The cases as cases.py has them, whenever they were run."""
    places = {case.name: place for place, case in enumerate(CASES)}
    return {**told, "cases": sorted(told["cases"], key=lambda case: places.get(case["case"], len(places)))}


def does() -> dict[str, str]:
    """What each mutation is, in its own words."""
    return {name: (mutation.__doc__ or "").split("\n\n")[0].replace("\n", " ") for name, mutation in MUTATIONS.items()}


if __name__ == "__main__":
    sys.exit(main())
