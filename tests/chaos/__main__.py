"""`python -m tests.chaos`: runs cases, shows how they go, writes build/chaos.json and a table. Exit 1 if one failed."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests.chaos import table
from tests.chaos.catalogue import CASES, chosen
from tests.chaos.run import Options, run_cases
from tests.support.faults.outcome import Result, failed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--cases", default="quick", help="quick, all, or names with commas between")
    parser.add_argument("--list", action="store_true", help="the cases that there are")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=100.0, help="messages a second (default 100)")
    parser.add_argument("--users", type=int, default=24)
    parser.add_argument("--crews", type=int, default=1, help="processes of clients")
    parser.add_argument("--folder", type=Path, default=Path("build/chaos"), help="for data, logs and histories")
    parser.add_argument("--port-base", type=int, default=None, help="the first of 1000 ports (default: a free range)")
    parser.add_argument("--out", type=Path, default=Path("build/chaos.json"))
    parser.add_argument(
        "--seconds", type=float, default=0.0, help="how long overload and soak go on (default: 5 and 10 minutes)"
    )
    parser.add_argument("--keep", action="store_true", help="keep the results of other cases that --out holds already")
    given = parser.parse_args()
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if given.list:
        for case in CASES:
            print(f"{case.name:<24} {'quick ' if case.quick else '      '} {case.does}")  # noqa: T201
        return 0
    try:
        cases = chosen(given.cases)
    except ValueError as error:
        parser.error(str(error))
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:6.1f}[/dim] ", end="")
        console.print(text, markup=False)

    options = Options(
        seed=given.seed,
        rate=given.rate,
        users=given.users,
        crews=given.crews,
        folder=given.folder.absolute(),
        port_base=given.port_base,
        lasting_s=given.seconds,
    )

    def note(results: Sequence[Result]) -> None:
        table.write(given.out, results, options, keep=given.keep)

    try:
        results = asyncio.run(run_cases(cases, options, say, note))
    except KeyboardInterrupt:
        return 130
    Console(width=160).print(table.for_people(results))
    return 1 if failed(results) else 0


if __name__ == "__main__":
    sys.exit(main())
