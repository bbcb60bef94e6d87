"""Stopping a process of many threads so that it has stopped when the call returns.

SIGSTOP is only noted by the call that sends it. On a busy machine the process's threads run on until one of them gets a
processor and sees it: a broker may still answer.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

STOP_S = 10.0


def stop(pid: int) -> None:
    """It stands still, all of it. Raises TimeoutError."""
    os.kill(pid, signal.SIGSTOP)
    end = time.monotonic() + STOP_S
    while not _stands_still(pid):
        if time.monotonic() > end:
            raise TimeoutError(f"process {pid} does not stop")
        time.sleep(0.001)


def go_on(pid: int) -> None:
    os.kill(pid, signal.SIGCONT)


def _stands_still(pid: int) -> bool:
    threads = Path(f"/proc/{pid}/task")
    if not threads.is_dir():
        return True  # a system that does not tell
    for thread in threads.iterdir():
        try:
            state = (thread / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue  # it ended
        if state not in "TtZX":
            return False
    return True
