"""`python -m tests.k8s.dry_run`: does the API server of KUBECONFIG take every overlay, and the chart by Helm?

Schemas know fields and types; only an API server knows values (enums, quantities, names, bounds, what excludes what).
Nothing is kept there: the requests are server-side dry runs, in a namespace that is made for them if it is not there.
Kinds of operators that this cluster does not have are left out, and named.

Exit code 0: all was taken; 1: something was refused, and why; 2: no cluster answers.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable, Mapping

from tests.deploy import helm
from tests.deploy.rendering import OVERLAYS, Object, rendered
from tests.k8s.kube import Kube, KubeFailed, program
from tools.make import chart


def sources() -> dict[str, list[Object]]:
    """What there is to apply, by where it comes from."""
    overlays = {f"overlay {name}": list(rendered(name)) for name in OVERLAYS}
    return {**overlays, "chart": list(helm.rendered(chart.CHART, {}))}


def split(objects: Iterable[Object], served: set[str]) -> tuple[list[Object], list[str]]:
    """Those whose kind this cluster has, and the other kinds."""
    known: list[Object] = []
    unknown: set[str] = set()
    for found in objects:
        if found["apiVersion"] in served:
            known.append(found)
        else:
            unknown.add(f"{found['apiVersion']} {found['kind']}")
    return known, sorted(unknown)


async def refusals(kube: Kube, found: Mapping[str, list[Object]]) -> list[str]:
    """What the API server refuses. Raises KubeFailed if it does not answer."""
    served = set((await kube.run("api-versions")).split())
    made = not (await kube.run("get", "namespace", kube.namespace, "--ignore-not-found", "--output=name")).strip()
    if made:
        await kube.run("create", "namespace", kube.namespace)
    try:
        return [line for name, objects in found.items() for line in await _refused(kube, name, objects, served)]
    finally:
        if made:
            await kube.run("delete", "namespace", kube.namespace, "--wait=false")


async def _refused(kube: Kube, name: str, objects: list[Object], served: set[str]) -> list[str]:
    known, unknown = split(objects, served)
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": known})
    try:
        await kube.run("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--filename=-", given=given)
    except KubeFailed as error:
        return [f"{name}: {error}"]
    left_out = f"; left out: {', '.join(unknown)}" if unknown else ""
    sys.stderr.write(f"{name}: {len(known)} objects are taken{left_out}\n")
    return []


def main() -> int:
    try:
        refused = asyncio.run(refusals(Kube(program()), sources()))
    except KubeFailed as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stderr.writelines(f"{line}\n" for line in refused)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
