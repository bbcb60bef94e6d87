"""`python -m tests.simulation --seeds 20`: runs the simulation of the cluster from seeds, each in virtual time.

    --seeds N        so many seeds                 --from S         the first one (0)
    --seed S         just this one, with its story --mutation M     with one of the deliberate defects
    --processes P    side by side                  --until-failure  ends with the first one
    --mutations      every deliberate defect, each until a seed finds it (at most --seeds)
    --ledger FILE    where each seed's outcome is added (build/simulation.jsonl); `python -m tests.chaos.page` reads it
    --operations FILE  where what the clients of each seed did is added, for `python -m tests.histories`

Exit code 0: every promise was kept. A failing seed prints itself, what it broke and how to see it again; it does
exactly the same then, because clocks, randomness and the order of sets are part of the simulation (machine.py).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.simulation.virtual import machine
from tests.support.histories import ledger
from tests.support.histories.history import History
from tests.support.histories.operations import encoded

PROGRESS = 50
ROOT = Path(__file__).resolve().parents[2]
_real_time = time.monotonic


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    if not machine.same_hashes():
        command = [sys.executable, "-m", "tests.simulation", *arguments]
        return subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "0"}, check=False).returncode
    if options.mutations:
        return _every_mutation(options)
    if options.processes > 1:
        return _side_by_side(options)
    seeds = [options.seed] if options.seed is not None else range(options.first, options.first + options.seeds)
    return _run(seeds, options)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Simulates the cluster from seeds.")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--mutation", default="")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--until-failure", action="store_true")
    parser.add_argument("--mutations", action="store_true")
    parser.add_argument("--ledger", type=Path, default=ledger.LEDGER)
    parser.add_argument("--operations", type=Path)
    return parser.parse_args(arguments)


def _run(seeds: Sequence[int], options: argparse.Namespace) -> int:
    began, mutation, code = _real_time(), options.mutation, ledger.version(ROOT)
    simulated = machine.install()
    # Only now: modules of the cluster take hold of clocks when they are imported.
    from services.common.telemetry import logs, metrics
    from tests.simulation import mutations, scenario
    from tests.simulation.virtual import loop

    logs.configure(level="error", form="console")
    failed = acknowledged = done = 0
    with mutations.applied(mutation):
        for seed in seeds:
            simulated.seed(seed)
            seed_began = _real_time()
            outcome = loop.run(lambda seed=seed: scenario.run(seed, simulated))  # type: ignore[misc]
            done += 1
            acknowledged += outcome.acknowledged
            if done % PROGRESS == 0:
                _say(f"… {done} seeds, {failed} failed, {_real_time() - began:.0f} s")
            broke = tuple(sorted({violation.promise for violation in outcome.violations}))
            took_s = round(_real_time() - seed_began, 3)
            ledger.add(options.ledger, ledger.Ran(seed, code, outcome.acknowledged, took_s, mutation, broke))
            if options.seed is not None:
                _say(*outcome.story, f"digest {outcome.history.digest()}")
            if options.operations is not None:
                _add_operations(options.operations, f"seed {seed} {mutation}".strip(), outcome.history)
            if outcome.violations:
                failed += 1
                again = f"python -m tests.simulation --seed {seed}" + (f" --mutation {mutation}" if mutation else "")
                _say(f"seed {seed} fails; see it again with: {again}", *map(str, outcome.violations[:10]))
                if options.until_failure:
                    break
    took = _real_time() - began
    ways = ", ".join(f"{way} {metrics.STORE_ROWS.labels(way)._value.get():.0f}" for way in ("plain", "general"))
    _say(f"{done} seeds, {acknowledged} messages acknowledged ({ways}), {failed} seeds failed, {took:.0f} s")
    return 1 if failed else 0


def _add_operations(path: Path, name: str, history: History) -> None:
    """What happened next is later: more than its order need not be known."""
    with path.open("ab") as file:
        file.writelines(encoded(name, enumerate(history.events)))


def _side_by_side(options: argparse.Namespace) -> int:
    share, rest = divmod(options.seeds, options.processes)
    first, running = options.first, []
    for number in range(options.processes):
        seeds = share + (number < rest)
        arguments = ["--seeds", str(seeds), "--from", str(first)]
        arguments += ["--mutation", options.mutation] if options.mutation else []
        arguments += ["--until-failure"] if options.until_failure else []
        arguments += ["--operations", str(options.operations)] if options.operations else []
        running.append(subprocess.Popen(_again(options, *arguments)))
        first += seeds
    return max(process.wait() for process in running)


def _every_mutation(options: argparse.Namespace) -> int:
    """Each in a process of its own. 1 if one was not found."""
    from tests.simulation import mutations

    missed = []
    for mutation in mutations.MUTATIONS:
        _say(f"{mutation}:")
        arguments = ["--seeds", str(options.seeds), "--from", str(options.first), "--mutation", mutation]
        if not subprocess.run(_again(options, *arguments, "--until-failure"), check=False).returncode:
            missed.append(mutation)
    _say(f"not found: {', '.join(missed)}" if missed else "every mutation was found")
    return 1 if missed else 0


def _again(options: argparse.Namespace, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.simulation", "--ledger", str(options.ledger), *arguments]


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
