"""A model server and an access node in front of it, for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.cluster.fake_access import FakeAccess
from tests.support.cluster.model_server import ModelServer


@pytest.fixture
def server() -> ModelServer:
    return ModelServer(page_max=100)


@pytest.fixture
async def access(server: ModelServer) -> AsyncIterator[FakeAccess]:
    async with FakeAccess(server) as access:
        yield access
