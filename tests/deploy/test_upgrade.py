"""During an upgrade nodes of two versions run together: people talk meanwhile, and the histories are judged."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.backends import free_port_base
from tests.chaos.load import load_on
from tests.chaos.population import populate
from tests.chaos.stack import Shape, Stack
from tests.chaos.verdict import judge
from tools.cli.stack.folder import Folder
from tools.cli.stack.keeping import launch
from tools.cli.stack.plan import Plan

pytestmark = pytest.mark.e2e

RATE = 60.0
TALK_S = 6.0
NEWER = ("-m", "tests.deploy.newer_node")


async def test_old_and_new_nodes_serve_together_and_through_a_rolling_restart(tmp_path: Path) -> None:
    stack = Stack(Shape(), tmp_path / "data", free_port_base(2, 2, 2))
    plan = Plan(stack.port_base, 2, 2, 2, node_program=(sys.executable, *NEWER))
    await asyncio.to_thread(launch.run_detached, plan, Folder.at(stack.data), stack.environment(), lambda _: None)
    try:
        stack._auth = stack.status()["auth"]
        await stack.until_healthy()
        people = populate([f"upgrade.{os.getpid()}.u{number}" for number in range(14)], seed=1)
        async with load_on(stack, people, seed=1, folder=tmp_path / "histories") as load:
            await load.begin(RATE)
            await asyncio.sleep(TALK_S)
            await stack.command("restart", "all")
            await asyncio.sleep(TALK_S)
            verdict = judge(await load.end())
    finally:
        await stack.down()
    assert verdict.clean, [finding.evidence for finding in verdict.findings[:5]]
    assert verdict.acknowledged > RATE
