"""Starts a supervisor: in this process until Ctrl-C, or detached, where it says through a pipe how its start went."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tidings_server
from tools.cli.failure import Failure
from tools.cli.stack.folder import Folder
from tools.cli.stack.keeping.supervisor import Supervisor, check_not_running
from tools.cli.stack.plan import Plan

Show = Callable[[dict[str, Any]], None]  # is given the snapshot again and again while it may change
SHOW_EVERY_S = 0.1
FAILED_STOP_S = 120.0
STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_here(plan: Plan, folder: Folder, environment: Mapping[str, str], show: Show, on_ready: Show) -> None:
    """Until a signal asks for the end. Raises Failure when the stack cannot start."""
    asyncio.run(_run_here(Supervisor(plan, folder, environment), show, on_ready))


async def _run_here(supervisor: Supervisor, show: Show, on_ready: Show) -> None:
    loop = asyncio.get_running_loop()
    for number in STOPPING_SIGNALS:
        loop.add_signal_handler(number, supervisor.stop)
    showing = loop.call_soon(lambda: None)

    def show_again() -> None:
        nonlocal showing
        show(supervisor.snapshot())
        showing = loop.call_later(SHOW_EVERY_S, show_again)

    def ready() -> None:
        show(supervisor.snapshot())
        on_ready(supervisor.snapshot())

    show_again()
    try:
        await supervisor.run(ready)
        show(supervisor.snapshot())
    finally:
        showing.cancel()


def run_detached(plan: Plan, folder: Folder, environment: Mapping[str, str], show: Show) -> dict[str, Any]:
    """Returns the snapshot when all is ready; the supervisor lives on. Raises Failure when the stack cannot start."""
    folder.take()
    check_not_running(folder)
    reading, writing = os.pipe()
    with folder.open_log("supervisor") as log:
        subprocess.run(
            [
                *tidings_server.program("tools.cli.stack.keeping.launch"),
                json.dumps(plan.to_json()),
                str(folder.path),
                str(writing),
            ],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(writing,),
            start_new_session=True,
            check=False,
        )
    os.close(writing)
    outcome = _follow(reading, folder, show)
    if outcome is None:
        lines = "\n    ".join(folder.last_lines("supervisor"))
        raise Failure(f"The local stack's supervisor ended:\n    {lines}\n", f"Its log is {folder.log('supervisor')}.")
    if "error" in outcome:
        raise Failure(outcome["error"], outcome["advice"])
    show(outcome)
    return outcome


def _follow(reading: int, folder: Folder, show: Show) -> dict[str, Any] | None:
    """Shows how the start goes, and returns what the supervisor says at its end (None: it died)."""
    os.set_blocking(reading, False)
    said, pid = b"", 0
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        try:
            while (piece := pipe.read(65536)) != b"":
                said += piece or b""
                pid = pid or (int(said.partition(b"\n")[0]) if b"\n" in said else 0)
                state = folder.load_state()
                if pid and state and state["supervisor"]["pid"] == pid:
                    show(state)
                time.sleep(SHOW_EVERY_S)
        except BaseException:  # Ctrl-C: what was begun is ended
            if pid:
                os.kill(pid, signal.SIGTERM)
            wait_until_free(folder, FAILED_STOP_S)
            raise
    outcome: dict[str, Any] | None = json.loads(rest) if (rest := said.partition(b"\n")[2]) else None
    return outcome


def wait_until_free(folder: Folder, timeout_s: float, meanwhile: Callable[[], None] = lambda: None) -> bool:
    """Whether the supervisor of this folder has ended in time."""
    until = time.monotonic() + timeout_s
    while folder.is_locked():
        if time.monotonic() > until:
            return False
        meanwhile()
        time.sleep(SHOW_EVERY_S)
    return True


def main() -> int:
    """The detached supervisor: its plan, its folder, and the pipe on which it says its pid and how its start went."""
    plan, path, writing = sys.argv[1:]
    if os.fork():  # the caller waits for this process; the child that goes on is nobody's to wait for
        return 0
    folder = Folder(Path(path))
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    with os.fdopen(int(writing), "w") as pipe:
        pipe.write(f"{os.getpid()}\n")
        pipe.flush()

        def say(outcome: dict[str, Any]) -> None:
            if not pipe.closed:
                pipe.write(json.dumps(outcome))
                pipe.close()

        try:
            run_here(Plan.from_json(json.loads(plan)), folder, os.environ, lambda _: None, say)
        except Failure as failure:
            say({"error": failure.message, "advice": failure.advice})
            sys.stderr.write(f"{failure}\n")
            return failure.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
