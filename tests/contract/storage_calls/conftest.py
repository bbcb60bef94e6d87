"""The same calls to a storage node and to the fake one of logic's own tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contract.storage_calls.harness import Storage
from tests.unit.logic.fake_storage import FakeStorage
from tests.unit.logic.on_storage import Called
from tests.unit.storage.nodes import World


@pytest.fixture(params=["real", "fake"])
async def storage(request: pytest.FixtureRequest) -> AsyncIterator[Storage]:
    if request.param == "fake":
        yield Storage(FakeStorage())
        return
    world = World()
    async with world.node():
        yield Storage(Called(world.hood.nodes["one"]))
