"""The life of a process: what it does on signals, crashes and deadlines. Processes are real; they wait for nothing "
"but events."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.common.lifecycle import Lifecycle, live
from services.common.settings.node import NodeSettings

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import asyncio, sys
from contextlib import asynccontextmanager
from services.common.settings import sources
sources.SERVICES = {}
from services.common.lifecycle import run
from services.common.settings.node import NodeSettings

def say(text):
    print(text, flush=True)

%s

run("example", NodeSettings, app)
"""
POLITE = """
@asynccontextmanager
async def app(settings, life):
    say("up")
    yield
    say("drained")
"""
STUBBORN = """
@asynccontextmanager
async def app(settings, life):
    say("up")
    yield
    say("draining")
    await asyncio.Event().wait()
"""
IMMOVABLE = """
@asynccontextmanager
async def app(settings, life):
    say("up")
    yield
    say("draining")
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
"""
CRASHING = """
async def consume():
    raise RuntimeError("the mailbox is gone")

@asynccontextmanager
async def app(settings, life):
    life.spawn(consume(), name="mailbox")
    yield
"""
UNABLE = """
@asynccontextmanager
async def app(settings, life):
    raise OSError("port 8200 is in use")
    yield
"""


def start(app: str, **settings: str) -> subprocess.Popen[str]:
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TIDINGS_NODE": "n-0"}
    environ |= {f"TIDINGS_{name.upper()}": value for name, value in settings.items()}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM % app],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def ending(process: subprocess.Popen[str]) -> tuple[int, list[dict[str, str]]]:
    _, errors = process.communicate(timeout=20)
    return process.returncode, [json.loads(line) for line in errors.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_drains_and_the_process_ends_with_0(number: signal.Signals) -> None:
    process = start(POLITE)
    assert heard(process) == "up"
    process.send_signal(number)
    assert heard(process) == "drained"
    code, events = ending(process)
    assert code == 0
    assert [event["event"] for event in events] == ["node ready", "signal received", "node draining", "node stopped"]


def test_the_second_signal_ends_a_drain_that_does_not_end() -> None:
    process = start(STUBBORN)
    assert heard(process) == "up"
    process.terminate()
    assert heard(process) == "draining"
    process.terminate()
    code, events = ending(process)
    assert code == 1
    assert "node ends now" in [event["event"] for event in events]


def test_the_deadline_ends_a_drain_that_does_not_end() -> None:
    process = start(STUBBORN, drain_deadline_s="0.05")
    assert heard(process) == "up"
    process.terminate()
    code, events = ending(process)
    assert code == 1
    assert {"event": "node ends now", "reason": "drain deadline"}.items() <= events[-2].items()


def test_what_holds_on_to_its_cancellation_is_ended_by_force() -> None:
    process = start(IMMOVABLE, drain_deadline_s="0.05")
    assert heard(process) == "up"
    process.terminate()
    code, events = ending(process)
    assert code == 1
    assert events[-1]["event"] == "node ended by force"


def test_a_background_task_that_crashes_ends_the_process_with_one_clear_line() -> None:
    code, events = ending(start(CRASHING))
    failures = [event for event in events if event["level"] == "error"]
    assert code == 1
    assert len(failures) == 1
    assert failures[0]["error"] == "RuntimeError: the mailbox is gone (in the background task 'mailbox')"


def test_a_node_that_cannot_come_up_says_why_without_a_traceback() -> None:
    code, events = ending(start(UNABLE))
    assert code == 1
    assert [event["error"] for event in events] == ["OSError: port 8200 is in use"]


def test_wrong_settings_end_the_process_with_2_and_a_line_each() -> None:
    process = start(POLITE, weight="none", lease_ttl_s="0")
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert sorted(line.split("=")[0] for line in errors.splitlines()) == [
        "tidings example: TIDINGS_LEASE_TTL_S",
        "tidings example: TIDINGS_WEIGHT",
    ]


async def test_a_task_outlives_the_drain_that_needs_it_and_is_cancelled_after_it() -> None:
    life = Lifecycle()
    seen: list[str] = []
    begun = asyncio.Event()

    async def consume() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("consumer ended")

    @asynccontextmanager
    async def app(settings: NodeSettings, life: Lifecycle) -> AsyncIterator[None]:
        life.spawn(consume(), name="consumer")
        await begun.wait()
        life.request_stop(pace_per_s=7)
        yield
        seen.append(f"drained at {life.pace_per_s} a second with {life.tasks}")

    await live(NodeSettings(node="a"), life, app)
    assert seen == ["drained at 7 a second with ['consumer']", "consumer ended"]


async def test_a_task_that_is_born_outside_the_life_of_its_process_is_refused() -> None:
    async def nothing() -> None:
        return

    with pytest.raises(RuntimeError, match="outside the life"):
        Lifecycle().spawn(nothing(), name="early")


async def test_whoever_asks_for_the_stop_first_sets_the_pace_and_callbacks_hear_it_once() -> None:
    life = Lifecycle()
    heard: list[int] = []
    life.when_stopped(lambda: heard.append(life.pace_per_s))
    life.request_stop(5)
    life.request_stop(9)
    await life.stopping()
    assert (life.stop_requested, life.pace_per_s, heard) == (True, 5, [5])
