"""`python -m tests.k8s`: Tidings on the cluster of KUBECONFIG, put through everything that operators do and fear.

Installs overlay `lab` into the namespace `tidings`, runs the cases, writes build/k8s.json. Exit 1 if one failed, 2 if
there is no cluster.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests.k8s.cases import CASES, chosen
from tests.k8s.place.kube import Kube, KubeFailed, program
from tests.k8s.place.machines import Machines
from tests.k8s.place.site import ROOT, Site
from tests.k8s.run import Options, run_cases
from tests.support.faults.outcome import Result, failed
from tests.support.faults.page import machine

NEEDS = """\
No cluster answers: {reason}

This needs a Kubernetes of version 1.30 or newer, which KUBECONFIG names, with
  - two machines or more, a default StorageClass, and 3 GiB of free memory;
  - an image of Tidings that its machines can pull, or have: IMAGE=registry.example.com/tidings:0.1.0 (`make image`);
  - for the case `autoscale`: custom metrics (prometheus-adapter with deploy/k8s/components/autoscaling-hpa);
  - an address of a machine that is reached from here, ports 30080 to 30109: --edge (default: its InternalIP).
`make k8s-lab` makes such a cluster on one machine.
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.k8s", description=__doc__)
    parser.add_argument("--cases", default="all", help="all, or names with commas between")
    parser.add_argument("--list", action="store_true", help="the cases that there are")
    parser.add_argument("--image", default="tidings:0.1.0", help="the image of Tidings")
    parser.add_argument("--edge", default="", help="address of the cluster for clients (default: a machine's)")
    parser.add_argument("--lab", type=Path, help="folder with the lab's scripts: its machines can be broken")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=60.0, help="messages a second (default 60)")
    parser.add_argument("--out", type=Path, default=Path("build/k8s.json"))
    parser.add_argument("--keep", action="store_true", help="keep results of other cases in --out, and the namespace")
    parser.add_argument("--installed", action="store_true", help="use what an earlier run with --keep left there")
    given = parser.parse_args()
    if given.list:
        for case in CASES:
            sys.stdout.write(f"{case.name:<16} {case.does}\n")
        return 0
    try:
        cases = chosen(given.cases)
    except ValueError as error:
        parser.error(str(error))
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:6.1f}[/dim] ", end="")
        console.print(text, markup=False)

    options = Options(seed=given.seed, rate=given.rate)
    machines = Machines(given.lab / "node.sh") if given.lab else None

    async def all_of_it() -> list[Result]:
        site = Site(
            Kube(program()),
            folder=ROOT / "build" / "k8s",
            image=given.image,
            test_images=given.lab is not None,
            edge=given.edge,
            via=machines.via if machines else (),
        )
        version = await _version(site.kube)
        say(f"looking for it on {version}" if given.installed else f"installing on {version}")
        await (site.find() if given.installed else site.install())
        say(f"healthy; clients begin at {site.edge}")

        def note(results: Sequence[Result]) -> None:
            _write(given.out, results, options, version, keep=given.keep)

        try:
            return await run_cases(cases, site, machines, options, say, note)
        finally:
            if not given.keep:
                await site.remove()

    try:
        results = asyncio.run(all_of_it())
    except KubeFailed as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 1 if failed(results) else 0


async def _version(kube: Kube) -> str:
    try:
        told = json.loads(await kube.run("version", "--output=json", timeout_s=20))
        return f"Kubernetes {told['serverVersion']['gitVersion']}"
    except (KubeFailed, KeyError) as error:
        raise KubeFailed(NEEDS.format(reason=error)) from error


def _write(path: Path, results: Sequence[Result], options: Options, version: str, *, keep: bool) -> None:
    cases = {result.case: result.to_json() for result in results}
    if keep and path.exists():
        cases = {**{case["case"]: case for case in json.loads(path.read_text())["cases"]}, **cases}
    order = [case.name for case in CASES]
    told = {
        "machine": machine(),
        "cluster": version,
        "rate": options.rate,
        "seed": options.seed,
        "cases": sorted(cases.values(), key=lambda case: order.index(case["case"])),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=1, default=str) + "\n")


if __name__ == "__main__":
    sys.exit(main())
