"""A run from outside: starts the processes of the load generator, lets them begin together, collects and reports."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import secrets
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tools.bench.plan import Plan, Share, shares
from tools.bench.processor import processes_of, seconds_of, used
from tools.failure import Failure
from tools.output import notes, put_json, results
from tools.reach import addresses
from tools.target import Target, find

HEADWAY_S = 1.0
END_S = 120.0
LINE_BYTES_MAX = 256 * 1024 * 1024
TOKEN_S = 86_400.0


def measure(
    plan: Plan,
    data: Path,
    etcd: str | None,
    cluster: str | None,
    secret_file: Path | None,
    file: Path,
    *,
    as_json: bool,
) -> bool:
    """Whether every promise was kept. Raises Failure."""
    try:
        from tools.bench.report import document, table
    except ModuleNotFoundError as missing:
        raise Failure(
            f"The load generator needs {missing.name}.", "`make setup` installs it, or: pip install 'tidings[bench]'."
        ) from missing
    target = find(data, etcd, cluster, secret_file)
    figures, cpu_s = asyncio.run(_run(plan, target))
    report = document(plan, figures, cpu_s)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report, indent=1) + "\n")
    if as_json:
        put_json(report)
    else:
        results.print(table(report))
        notes.print(f"written to {file}")
    return bool(report["right"])


async def _run(plan: Plan, target: Target) -> tuple[list[dict[str, Any]], dict[str, float]]:
    name = f"bench-{secrets.token_hex(3)}"
    tokens = [(user, target.token(user, TOKEN_S)) for user in (f"{name}-{index}" for index in range(plan.users))]
    parts = shares(plan, addresses(target, plan.transport), tokens)
    async with _workers(len(parts)) as workers:
        for part, worker in zip(parts, workers, strict=True):
            await _tell(worker, json.dumps({**_as_json(part), "name": name}))
        notes.print(f"{plan.users} users connect …")
        for worker in workers:
            await _hear(worker)
        start = time.monotonic() + HEADWAY_S
        for worker in workers:
            await _tell(worker, repr(start))
        notes.print(f"{plan.warmup_s:g} s to warm up, {plan.seconds:g} s to measure …")
        processes = processes_of(target.snapshot)
        processes |= {f"bench-{number}": worker.pid for number, worker in enumerate(workers)}
        await asyncio.sleep(start + plan.warmup_s - time.monotonic())
        before = seconds_of(processes)
        await asyncio.sleep(start + plan.warmup_s + plan.seconds - time.monotonic())
        after = seconds_of(processes)
        async with asyncio.timeout(END_S):
            figures = [await _hear(worker) for worker in workers]
    return figures, used(before, after)


@asynccontextmanager
async def _workers(count: int) -> AsyncIterator[list[Process]]:
    """They end with this."""
    workers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tools.bench.worker", stdin=PIPE, stdout=PIPE, limit=LINE_BYTES_MAX
        )
        for _ in range(count)
    ]
    try:
        yield workers
    finally:
        for worker in workers:
            if worker.returncode is None:
                worker.kill()
            await worker.wait()


async def _tell(worker: Process, line: str) -> None:
    assert worker.stdin is not None
    worker.stdin.write(line.encode() + b"\n")
    await worker.stdin.drain()


async def _hear(worker: Process) -> dict[str, Any]:
    assert worker.stdout is not None
    line = await worker.stdout.readline()
    if not line:
        raise Failure("A process of the load generator ended early.", "Its reason is above.")
    told: dict[str, Any] = json.loads(line)
    if "failure" in told:
        raise Failure(told["failure"])
    return told


def _as_json(share: Share) -> dict[str, Any]:
    return {
        "plan": dataclasses.asdict(share.plan),
        "urls": share.urls,
        "tokens": share.tokens,
        "rate": share.rate,
    }
