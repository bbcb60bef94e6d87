"""Processes that an earlier supervisor of this data folder left behind when it was killed.

Every process of a stack carries the folder's path in its environment, so they are recognised without trust in pid
files, which may be stale: no process of another folder or another program can be taken for one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

MARK = "TIDINGS_X_STACK"
STOP_S = 15.0
POLL_S = 0.05


def find(folder: Path) -> list[psutil.Process]:
    """The live processes of this folder's stack, but for this one and its ancestors."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [process for process in _of_this_user() if process.pid not in own and _mark_of(process) == str(folder)]


def end(processes: list[psutil.Process]) -> None:
    """Ask them to stop, and after a while make them."""
    for process in processes:
        _signal(process, force=False)
    alive = wait(processes, STOP_S)
    for process in alive:
        _signal(process, force=True)
    wait(alive, STOP_S)


def wait(processes: Sequence[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Those that have not ended in time. One that has ended, and that nobody has asked about yet, has ended."""
    until = time.monotonic() + timeout_s
    while alive := [process for process in processes if _lives(process)]:
        if time.monotonic() > until:
            break
        time.sleep(POLL_S)
    return alive


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def snapshot_without_supervisor(folder: Path, state: dict[str, Any] | None) -> dict[str, Any]:
    """What `status` says after the supervisor was killed: what still lives of what it knew last."""
    alive = {process.pid for process in find(folder)}
    if not alive or state is None:
        return {"running": False}
    for kind in ("access", "logic", "storage", "backends"):
        for process in state[kind]:
            if process["pid"] not in alive:
                process.update(pid=None, state="down")
    return {**state, "phase": "orphaned", "supervisor": {"pid": None}}


def _signal(process: psutil.Process, *, force: bool) -> None:
    try:
        if force:
            process.kill()
        else:
            process.resume()  # one that was stopped could not hear the request
            process.terminate()
    except psutil.NoSuchProcess:
        pass


def _of_this_user() -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if process.uids().real == os.getuid() and _lives(process):
                yield process
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        return None
