"""Every case on Kubernetes by its name. A case changes or breaks something and mends it again; run.py judges."""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from tests.k8s.place.machines import Machines
from tests.k8s.place.site import KINDS, MACHINES_MIN, OVERLAY
from tests.k8s.place.sizes import sizes
from tests.k8s.scene import Act, Scene
from tests.support.faults.outcome import Broken, Skipped

ROLLED_S = 600.0
SCALED_S = 300.0
GIVEN_UP_S = 120.0
VISIT_S = 300.0
VISITORS = 10
MEASURED_S = 10.0


@dataclass(frozen=True, slots=True)
class Case:
    """`machines`: it breaks one, which only a lab lets it do."""

    name: str
    does: str
    act: Act
    machines: bool = False


async def chat(scene: Scene) -> None:
    """Everyone who comes in by the edge's one address ends on the node that owns its user, by every way."""
    users = [f"{scene.run}.v{number}" for number in range(VISITORS)]
    ws, tcp = scene.site.ws_urls(), scene.site.tcp_urls()
    task = {
        "tokens": {user: scene.site.token(user) for user in users},
        "ways": {"ws-proto": ("proto", ws), "ws-json": ("json", ws), "tcp": ("proto", tcp)},
        "route": scene.site.route_url,
    }
    found = await _visit(scene, task)
    strayed = [each for each in found if each["node"] != each["owner"]]
    if strayed:
        raise Broken(f"clients that did not end on their owner: {strayed[:3]}")
    nodes = Counter(each["node"] for each in found)
    if len(nodes) < await scene.site.replicas("access"):
        raise Broken(f"not every access node owned one of the clients: {nodes}")
    scene.details["visits"] = {"chats": len(found), "nodes": dict(nodes)}
    scene.mended()  # nothing was broken


async def _visit(scene: Scene, task: dict[str, Any]) -> list[dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        *scene.site.via, sys.executable, "-m", "tests.k8s.visit", stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(VISIT_S):
            out, err = await process.communicate(msgspec.json.encode(task) + b"\n")
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise Broken(f"the visitors ended: {err.decode()[-500:]}")
    return msgspec.json.decode(out, type=list[dict[str, Any]])


async def scale(scene: Scene) -> None:
    """access from 2 to 4 and back to 2, with a crowd connected."""
    async with scene.crowd() as crowd:
        measured = await sizes(scene.site.kube, MEASURED_S)
        scene.details["sizes"] = {kind: asdict(size) for kind, size in measured.items()}
        for replicas in (4, 2):
            scene.say(f"access to {replicas} nodes")
            began = time.monotonic()
            await scene.site.scale("access", replicas)
            scene.mended()
            await scene.until_healthy()
            await crowd.until_online()
            scene.details[f"to_{replicas}_s"] = round(time.monotonic() - began, 1)


async def rolling_update(scene: Scene) -> None:
    """A new version of all three kinds, in the documented order, with a crowd connected."""
    async with scene.crowd():
        for name in ("storage", "logic", "access"):
            scene.say(f"rolling update of {name}")
            began = time.monotonic()
            await _restart(scene, KINDS[name], name)
            scene.details[f"{name}_s"] = round(time.monotonic() - began, 1)
        scene.mended()
        await scene.until_healthy()


async def autoscale(scene: Scene) -> None:
    """The autoscaler follows the number of connections, up and down."""
    kube = scene.site.kube
    await kube.run("apply", "--server-side", "--filename", str(OVERLAY / "hpa.yaml"))
    try:
        async with scene.crowd():
            began = time.monotonic()
            await kube.until(lambda: _replicas(scene, 4), SCALED_S, scene.say)
            scene.details["up_s"] = round(time.monotonic() - began, 1)
            await scene.until_healthy()
        began = time.monotonic()
        await kube.until(lambda: _replicas(scene, 2), SCALED_S, scene.say)
        scene.details["down_s"] = round(time.monotonic() - began, 1)
        scene.mended()
        await scene.until_healthy()
    finally:
        await kube.run("delete", "--filename", str(OVERLAY / "hpa.yaml"), "--ignore-not-found")
        await scene.site.scale("access", 2)


async def _replicas(scene: Scene, wanted: int) -> str:
    now = await scene.site.replicas("access")
    if now == wanted:
        return ""
    scaler = await scene.site.kube.get("horizontalpodautoscaler", "access")
    conditions = scaler["status"].get("conditions", ())
    hindered = [each["message"] for each in conditions if each["type"] == "ScalingActive" and each["status"] != "True"]
    return "; ".join([f"access has {now} nodes, not yet {wanted}", *hindered])


async def drain(scene: Scene) -> None:
    """kubectl drain of a machine: its pods leave under their budgets; after uncordon a restart spreads them again."""
    machine = await _breakable(scene)
    kube = scene.site.kube
    try:
        began = time.monotonic()
        await kube.run(
            "drain", machine, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=280s", timeout_s=300
        )
        scene.details["drained_s"] = round(time.monotonic() - began, 1)
        left = [pod["metadata"]["name"] for pod in await _pods_on(scene, machine)]
        if left:
            raise Broken(f"still on the drained machine: {left}")
        await scene.until_healthy()
    finally:
        await kube.run("uncordon", machine)
    began = time.monotonic()
    await _spread(scene)
    scene.details["spread_s"] = round(time.monotonic() - began, 1)
    scene.mended()


async def power_cut(scene: Scene) -> None:
    """The power of a machine is cut; later it is started again."""
    await _break(scene, power=True)


async def network_cut(scene: Scene) -> None:
    """A machine is cut off the network; later it joins again."""
    await _break(scene, power=False)


async def _break(scene: Scene, *, power: bool) -> None:
    machines = _machines(scene)
    machine = await _breakable(scene)
    began = time.monotonic()
    scene.say(f"{machine} is gone")
    await (machines.power_cut(machine) if power else machines.cut(machine))
    try:
        await scene.site.kube.until(lambda: _replaced(scene, machine), GIVEN_UP_S, scene.say)
        scene.details["given_up_s"] = round(time.monotonic() - began, 1)
        await asyncio.sleep(10.0)
    finally:
        scene.say(f"{machine} comes back")
        await (machines.start(machine) if power else machines.join(machine))
    scene.mended()
    await scene.until_healthy()


async def _replaced(scene: Scene, machine: str) -> str:
    """Until the other machine has enough of what may run anywhere."""
    missing = []
    for name in ("logic", "storage"):
        pods = await scene.site.kube.items("pods", f"--selector=app.kubernetes.io/component={name}")
        there = [pod for pod in pods if pod["spec"].get("nodeName") != machine and _pod_ready(pod)]
        if len(there) < 2:
            missing.append(f"{name}: {len(there)} of 2 elsewhere")
    return "; ".join(missing)


def _pod_ready(pod: Any) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


async def _breakable(scene: Scene) -> str:
    """A machine without backends, with some of everything else on it. Raises Skipped."""
    await _spread(scene)
    home = await scene.site.machine_of("mongodb-0")
    for pod in await scene.site.kube.items("pods", "--selector=app.kubernetes.io/component=access"):
        if (machine := pod["spec"].get("nodeName", home)) != home:
            return str(machine)
    raise Skipped("no access node runs on another machine than the backends")


async def _spread(scene: Scene) -> None:
    """Nothing moves a pod that runs: what left a machine comes back by a restart. Raises Broken if it does not."""
    await scene.until_healthy()
    for name, kind in {**KINDS, "edge": "deployment"}.items():
        if len(await _machines_of(scene, name)) < MACHINES_MIN:
            scene.say(f"{name} is restarted, to be spread over the machines")
            await _restart(scene, kind, name)
    await scene.until_healthy()
    together = [name for name in (*KINDS, "edge") if len(await _machines_of(scene, name)) < MACHINES_MIN]
    if together:
        raise Broken(f"all pods on one machine: {', '.join(together)}")


async def _machines_of(scene: Scene, component: str) -> set[str]:
    pods = await scene.site.kube.items("pods", f"--selector=app.kubernetes.io/component={component}")
    return {str(pod["spec"]["nodeName"]) for pod in pods if "nodeName" in pod["spec"]}


async def _restart(scene: Scene, kind: str, name: str) -> None:
    """One pod after the other."""
    await scene.site.kube.run("rollout", "restart", f"{kind}/{name}")
    status = ("rollout", "status", f"{kind}/{name}", f"--timeout={ROLLED_S:.0f}s")
    await scene.site.kube.run(*status, timeout_s=ROLLED_S + 30)


async def _pods_on(scene: Scene, machine: str) -> list[Any]:
    return await scene.site.kube.items("pods", f"--field-selector=spec.nodeName={machine}")


def _machines(scene: Scene) -> Machines:
    if scene.machines is None:
        raise Skipped("the machines of this cluster are not ours to break")
    return scene.machines


CASES = (
    Case("chat", "chat by WebSocket (protobuf, JSON) and TCP through the edge: each client ends on its owner", chat),
    Case("scale", "access from 2 to 4 nodes and back, 500 clients connected", scale),
    Case("rolling-update", "rolling update of storage, logic and access, 500 clients connected", rolling_update),
    Case("autoscale", "the autoscaler follows 500 connections, from 2 to 4 access nodes and back", autoscale),
    Case(
        "drain", "kubectl drain of a machine under the budgets, uncordon, a restart that spreads the pods again", drain
    ),
    Case("power-cut", "the power of a machine is cut, then it is started", power_cut, machines=True),
    Case("network-cut", "a machine is cut off the network, then it joins again", network_cut, machines=True),
)


def chosen(text: str) -> list[Case]:
    """`all`, or names. Raises ValueError with the names that there are."""
    if text == "all":
        return list(CASES)
    return list(_named(text))


def _named(text: str) -> Iterator[Case]:
    by_name = {case.name: case for case in CASES}
    for name in filter(None, (name.strip() for name in text.split(","))):
        if name not in by_name:
            raise ValueError(f"no case {name}; there are all, {', '.join(by_name)}")
        yield by_name[name]
