"""One cluster a test: nothing is shared, so nothing is left over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop

from tests.support.cluster.access_nodes import AccessCluster, access_cluster


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loop, as in production."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[AccessCluster]:
    """Without an access node."""
    async with access_cluster(tmp_path) as cluster:
        yield cluster


@pytest.fixture
async def cluster(empty: AccessCluster) -> AccessCluster:
    """A cluster with one access node."""
    await empty.start("access-0")
    return empty
