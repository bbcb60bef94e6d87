"""MongoDB on a small file system of its own, which is filled up. Skipped where this machine allows none."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.chaos.scene import Scene, Skipped
from tests.chaos.stack import Shape

SIZE_MIB = 700
FULL_S = 12.0
SHAPE = Shape(name="disk", mongodb_disk_mib=SIZE_MIB)
PIECE = bytes(1024 * 1024)


async def fill(scene: Scene) -> None:
    """Every byte is taken for a while, then given back."""
    folder = scene.stack.data / "mongodb"
    if scene.stack.disk_problem:
        raise Skipped(f"no file system of its own for MongoDB could be made: {scene.stack.disk_problem}")
    filler = folder / "filler"
    try:
        scene.say(f"{await asyncio.to_thread(_fill, filler) // 2**20} MiB were free")
        await asyncio.sleep(FULL_S)
    finally:
        filler.unlink(missing_ok=True)
        scene.mended()


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
