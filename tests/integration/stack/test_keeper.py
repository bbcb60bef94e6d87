"""One process of the stack, kept: what ran once comes back, also over a disk that is full for a while; and it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
import pytest

from tools.cli.stack.folder import Folder
from tools.cli.stack.keeping.keeper import Keeper
from tools.cli.stack.policy import State
from tools.cli.stack.programs.program import NotReadyError

pytestmark = pytest.mark.integration


class EndsAtOnce:
    """A program that is ready and ends; `full` times its files cannot be written."""

    name = "etcd"
    kind = "backend"
    addresses: Mapping[str, str] = {}
    stop_timeout_s = 1.0

    def __init__(self) -> None:
        self.prepared = 0
        self.full = 0

    def prepare(self) -> None:
        self.prepared += 1
        if self.prepared > 1 and self.full:
            self.full -= 1
            raise OSError(28, "No space left on device")

    def command(self) -> Sequence[str]:
        return ["true"]

    def environment(self) -> Mapping[str, str]:
        return {}

    async def probe(self) -> None:
        """Ready."""

    def advice(self, last_lines: Sequence[str]) -> str:
        return ""


class StaysForever(EndsAtOnce):
    """A program that is ready once nothing but SIGKILL ends it."""

    stop_timeout_s = 0.1

    def __init__(self, sign: Path) -> None:
        super().__init__()
        self._sign = sign

    def command(self) -> Sequence[str]:
        return ["sh", "-c", """trap '' TERM; : >"$0"; exec sleep 60""", str(self._sign)]

    async def probe(self) -> None:
        if not self._sign.exists():
            raise NotReadyError("SIGTERM would end it")


async def test_what_ran_is_started_again_until_the_disk_takes_its_files(tmp_path: Path) -> None:
    folder = Folder.at(tmp_path / "data")
    folder.take()
    program = EndsAtOnce()
    program.full = 2
    back = asyncio.Event()
    details: list[str] = []

    def changed() -> None:
        details.append(keeper.detail)
        if program.prepared > 3 and keeper.state is State.READY:
            back.set()

    keeper = Keeper(program, folder, restart=True, on_change=changed)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(keeper.run())
        keeper.start()
        await back.wait()
        keeping.cancel()
    assert any("No space left" in detail for detail in details)
    assert keeper.failure is None


async def test_what_does_not_end_by_itself_is_ended_when_its_keeper_is_cancelled(tmp_path: Path) -> None:
    folder = Folder.at(tmp_path / "data")
    folder.take()
    keeper = Keeper(StaysForever(tmp_path / "sign"), folder, restart=True, on_change=lambda: None)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(keeper.run())
        keeper.start()
        await keeper.wait_ready()
        pid = keeper.pid
        keeping.cancel()
    assert pid is not None
    assert not psutil.pid_exists(pid)
