"""`tidings doctor`: looks at everything that keeps a cluster from running well, and says what to do about each."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import typer
from rich.markup import escape

from services.common.settings.sources import SERVICES
from tools.commands.config import View, is_deployed, problems
from tools.commands.stack import current
from tools.credentials import security_of
from tools.failure import Failure
from tools.options import DATA_DEFAULT, Data, Etcd, Json, PortBase
from tools.output import notes, put_json, results
from tools.stack import programs
from tools.stack.folder import Folder
from tools.stack.occupied import check_free
from tools.stack.plan import GIVEN_BY, External, Plan, backends_of, ports_needed
from tools.stack.ports import BASE_DEFAULT, NodeKind
from tools.stack.probing import http_get
from tools.stack.program import NotReadyError

FILES_MIN = 4096
MEMORY_BYTES_MIN = 1_500_000_000
DISK_BYTES_MIN = 2_000_000_000
CLOCK_SKEW_S_MAX = 5.0  # tokens have 10 s of leeway
VERSION_S = 30.0


@dataclass(frozen=True, slots=True)
class Check:
    """`advice` says what to do; empty when all is well."""

    name: str
    ok: bool
    advice: str = ""
    detail: str = ""


def doctor(
    data: Data = DATA_DEFAULT, etcd: Etcd = None, port_base: PortBase = BASE_DEFAULT, json: Json = False
) -> None:
    """Look for what is wrong, and say what to do about it."""
    checks = []
    with notes.status("looking"):
        for check in examine(Folder.at(data), etcd, port_base, os.environ):
            checks.append(check)
            if not json:
                mark = "[green]✓[/green]" if check.ok else "[red]✗[/red]"
                results.print(f"{mark} {check.name:<16} {escape(check.advice or check.detail)}")
    if json:
        put_json({"checks": [asdict(check) for check in checks]})
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


def examine(folder: Folder, etcd: str | None, port_base: int, environment: Mapping[str, str]) -> Iterator[Check]:
    """One after the other, the cheap and fundamental first."""
    yield _python()
    yield _settings(folder, etcd, environment)
    yield from _limits()
    if etcd:
        yield _probed(External("etcd", etcd, security_of(environment)))
        return
    yield _data_folder(folder)
    yield _disk(folder)
    snapshot = current(folder)
    if snapshot["running"]:
        yield Check("ports", ok=True, detail=f"the cluster runs on {snapshot['port_base']} and up")
        yield from _running(snapshot)
        yield _clock(snapshot["endpoints"]["mongodb"])
        return
    yield from _programs(environment)
    yield _ports(port_base, folder, environment)
    for name, variable in GIVEN_BY.items():
        if address := environment.get(variable):
            yield _probed(External(name, address, security_of(environment)))
    yield Check("backends", ok=True, detail="they do not run now; `tidings up` starts them")
    yield _clock(environment.get("TIDINGS_MONGODB_URI"))


def _python() -> Check:
    return Check("python", ok=True, detail=f"{sys.version.split()[0]} in {sys.prefix}")


def _settings(folder: Folder, etcd: str | None, environment: Mapping[str, str]) -> Check:
    view = View(environment, None if etcd or is_deployed(environment) else folder)
    wrong = [str(problem) for problem in problems(list(SERVICES), view)]
    return Check("settings", ok=not wrong, advice="; ".join(wrong), detail="" if wrong else "fine")


def _limits() -> Iterator[Check]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = soft != resource.RLIM_INFINITY and soft < FILES_MIN
    advice = f"Only {soft} files may be open, and each connection is one: say `ulimit -n {min(hard, 65536)}`."
    yield Check("open files", ok=not few, advice=advice if few else "", detail=str(soft))
    free = psutil.virtual_memory().available
    little = free < MEMORY_BYTES_MIN
    advice = f"Only {free >> 20} MB of memory are free: the local stack needs about {MEMORY_BYTES_MIN >> 20}."
    yield Check("memory", ok=not little, advice=advice if little else "", detail=f"{free >> 20} MB free")


def _data_folder(folder: Folder) -> Check:
    name = "data folder"
    path = folder.path
    if not path.exists():
        above = next(parent for parent in path.parents if parent.exists())
        if not os.access(above, os.W_OK):
            return Check(name, ok=False, advice=f"{above} is not writable: give another folder with --data.")
        return Check(name, ok=True, detail=f"{path} will be made")
    if not folder.is_ours and any(path.iterdir()):
        return Check(name, ok=False, advice=f"{path} holds other files: give a new folder with --data.")
    if not os.access(path, os.W_OK):
        return Check(name, ok=False, advice=f"{path} is not writable: give another folder with --data.")
    return Check(name, ok=True, detail=str(path))


def _disk(folder: Folder) -> Check:
    there: Path = next(path for path in (folder.path, *folder.path.parents) if path.exists())
    free = shutil.disk_usage(there).free
    little = free < DISK_BYTES_MIN
    advice = f"Only {free >> 20} MB are free at {there}: the backends need about {DISK_BYTES_MIN >> 20}."
    return Check("disk", ok=not little, advice=advice if little else "", detail=f"{free >> 20} MB free")


def _programs(environment: Mapping[str, str]) -> Iterator[Check]:
    """Each program that would be started is there and runs: it tells its version."""
    for name, variable in GIVEN_BY.items():
        if environment.get(variable):
            continue
        try:
            found = programs.find([name], environment)
        except Failure as failure:
            yield Check(name, ok=False, advice=str(failure))
            continue
        match name:
            case "etcd":
                yield _runs(name, [*found.etcd, "--version"])
            case "mongodb":
                yield _runs(name, [*found.mongod, "--version"])
            case _:
                yield _runs("java", [found.kafka[0], "-version"]) if len(found.kafka) > 1 else Check(name, ok=True)


def _runs(name: str, command: list[str]) -> Check:
    try:
        outcome = subprocess.run(command, capture_output=True, text=True, check=False, timeout=VERSION_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(name, ok=False, advice=f"{command[0]} does not run ({error}): run `make setup` again.")
    said = (outcome.stdout + outcome.stderr).strip().splitlines()
    if outcome.returncode:
        return Check(name, ok=False, advice=f"{command[0]} does not run: {' '.join(said[-2:])}")
    return Check(name, ok=True, detail=said[0] if said else "")


def _ports(base: int, folder: Folder, environment: Mapping[str, str]) -> Check:
    try:
        plan = Plan(base, 2, 1, 1).check()
        needed = set(ports_needed(plan, backends_of(plan, folder, environment)))
    except Failure as failure:
        return Check("ports", ok=False, advice=str(failure))
    return _holds("ports", lambda: check_free(sorted(needed)), f"free from {base} on")


def _holds(name: str, action: Callable[[], None], detail: str) -> Check:
    try:
        action()
    except Failure as failure:
        return Check(name, ok=False, advice=str(failure))
    return Check(name, ok=True, detail=detail)


def _running(snapshot: dict[str, Any]) -> Iterator[Check]:
    if snapshot["supervisor"]["pid"] is None:
        yield Check("supervisor", ok=False, advice="It was killed: say `tidings up`, which also ends what it left.")
    security = security_of({**snapshot.get("security", {}), **os.environ})
    for backend in snapshot["backends"]:
        address = snapshot["endpoints"].get(backend["name"], backend["address"])
        yield _probed(External(backend["name"], address, security))
    for kind in NodeKind:
        for node in snapshot[kind]:
            yield _node(node)


def _probed(backend: External) -> Check:
    try:
        asyncio.run(backend.probe())
    except NotReadyError as error:
        return Check(backend.name, ok=False, advice=f"{error}. Its log and `tidings status` tell more.")
    return Check(backend.name, ok=True, detail="answers")


def _node(node: dict[str, Any]) -> Check:
    name = node["name"]
    if node["state"] == "down":
        return Check(name, ok=False, advice=f"It is down: `tidings restart {name}` brings it back.")
    try:
        status, text = asyncio.run(http_get(f"{node['ops']}/readyz"))
    except NotReadyError as error:
        return Check(name, ok=False, advice=f"{error}: look at its log, or say `tidings restart {name}`.")
    return Check(name, ok=status == 200, advice="" if status == 200 else text.strip(), detail="ready")


def _clock(mongodb: str | None) -> Check:
    """Against the clock of MongoDB, if there is one; otherwise only that it is not absurd."""
    now = datetime.now(UTC)
    program_made = datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC)
    if (program_made - now).total_seconds() > 86_400:
        return Check("clock", ok=False, advice=f"It says {now:%Y-%m-%d}, before this program was made: set it.")
    skew_s = asyncio.run(_skew_s(mongodb)) if mongodb else 0.0
    if abs(skew_s) > CLOCK_SKEW_S_MAX:
        return Check("clock", ok=False, advice=f"It differs from MongoDB's by {skew_s:.1f} s: set both by NTP.")
    return Check("clock", ok=True, detail=f"{now.astimezone():%Y-%m-%d %H:%M:%S %Z}")


async def _skew_s(uri: str) -> float:
    from pymongo import AsyncMongoClient
    from pymongo.errors import PyMongoError

    try:
        async with AsyncMongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=2000) as client:
            hello = await client.admin.command("hello")
    except PyMongoError:
        return 0.0  # that it does not answer is told by a check of its own
    difference: float = (datetime.now(UTC) - hello["localTime"].replace(tzinfo=UTC)).total_seconds()
    return difference
