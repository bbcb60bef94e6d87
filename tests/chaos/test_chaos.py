"""The quick cases: kill -9 of each kind of node and backend while messages flow. `make chaos` runs the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from tests.chaos.catalogue import CASES, PLAIN, Case, chosen
from tests.chaos.run import Options, run_case
from tests.support.cluster.backends import free_port_base
from tests.support.cluster.stack import Stack, stack_of

pytestmark = [pytest.mark.chaos, pytest.mark.asyncio(loop_scope="module")]

QUICK = [case for case in CASES if case.quick]
OPTIONS = Options(rate=100.0, before_s=2.0, after_s=2.0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    data = tmp_path_factory.mktemp("chaos") / "data"
    async with stack_of(PLAIN, data, free_port_base()) as stack:
        yield stack


@pytest.mark.parametrize("case", QUICK, ids=[case.name for case in QUICK])
async def test_nothing_is_lost_doubled_or_disordered_by(case: Case, stack: Stack, tmp_path: Path) -> None:
    await stack.until_healthy()
    result = await run_case(case, stack, replace(OPTIONS, folder=tmp_path), print)
    assert result.passed, (result.problem, result.verdict.findings[:20])
    assert result.verdict.acknowledged > 0
    assert result.verdict.shown > 0
    assert result.verdict.changes > 0


async def test_cases_are_chosen_by_name() -> None:
    assert chosen("quick") == QUICK
    assert chosen("all") == list(CASES)
    assert [case.name for case in chosen("mixed, kill-etcd")] == ["mixed", "kill-etcd"]
    with pytest.raises(ValueError, match="no case kill-nobody; there are"):
        chosen("kill-nobody")
