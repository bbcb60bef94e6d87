"""MongoDB on a small file system of its own, which is filled up. Skipped where this machine allows none."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from pymongo import AsyncMongoClient

from tests.chaos.scene import Scene
from tests.support.cluster.stack import Shape
from tests.support.faults.outcome import Broken, Skipped

SIZE_MIB = 700
FULL_S = 10.0
NOTICE_S = 120.0
CHECKPOINT_S = 3
SHAPE = Shape(name="disk", mongodb_disk_mib=SIZE_MIB)
PIECE = bytes(1024 * 1024)


async def fill(scene: Scene) -> None:
    """Every byte is taken for a while, then given back."""
    folder = scene.stack.data / "mongodb"
    if scene.stack.disk_problem:
        raise Skipped(f"no file system of its own for MongoDB could be made: {scene.stack.disk_problem}")
    filler = folder / "filler"
    log = scene.stack.log("mongodb")
    known = await asyncio.to_thread(_complaints, log)
    await _write_back_often(scene.stack.process("mongodb")["address"])
    try:
        scene.say(f"{await asyncio.to_thread(_fill, filler) // 2**20} MiB were free")
        if not await _noticed(log, known):
            raise Broken(f"MongoDB did not notice within {NOTICE_S:g} s that its disk is full: the case shows nothing")
        await asyncio.sleep(FULL_S)
    finally:
        filler.unlink(missing_ok=True)
        scene.mended()
    scene.details["complaints"] = await asyncio.to_thread(_complaints, log) - known


async def _write_back_often(address: str) -> None:
    """Its journal has room for minutes of load: only a checkpoint needs more. Until its next start."""
    async with AsyncMongoClient[dict[str, Any]](address, directConnection=True) as client:
        await client.admin.command("setParameter", 1, syncdelay=CHECKPOINT_S)


async def _noticed(log: Path, known: int) -> bool:
    until = time.monotonic() + NOTICE_S
    while time.monotonic() < until:
        if await asyncio.to_thread(_complaints, log) > known:
            return True
        await asyncio.sleep(1)
    return False


def _complaints(log: Path) -> int:
    return log.read_text(errors="replace").count("No space left on device")


def _fill(filler: Path) -> int:
    taken = 0
    with filler.open("wb", buffering=0) as file:
        for piece in (PIECE, PIECE[:4096]):
            try:
                while written := file.write(piece):
                    taken += written
            except OSError:
                continue
    return taken
