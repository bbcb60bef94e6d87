"""Each contract is asked of the real nodes and of every stand-in for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.client_protocol.servers import SERVERS, Server


@pytest.fixture(params=SERVERS)
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    """All of them: what every access node's client sees of messages, inboxes and presence."""
    async with SERVERS[request.param](tmp_path) as there:
        yield there


@pytest.fixture(params=["real nodes", "model"])
async def whole_server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    """Those that know groups and histories; the logic of access's tests has none."""
    async with SERVERS[request.param](tmp_path) as there:
        yield there
