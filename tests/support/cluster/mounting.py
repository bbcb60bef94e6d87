"""A small file system of its own for one folder, in memory. Needs the right to mount."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


@asynccontextmanager
async def small_disk(folder: Path, size_mib: int) -> AsyncIterator[str]:
    """A file system in memory at `folder`; what was wrong if there can be none."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    problem = await _run("mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=700", "tidings-chaos", str(folder))
    try:
        yield problem
    finally:
        if not problem:
            await _run("umount", "--lazy", str(folder))


async def _run(*command: str) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
    except OSError as error:
        return str(error)
    _, said = await process.communicate()
    return said.decode().strip() or f"{command[0]} ended with {process.returncode}" if process.returncode else ""
