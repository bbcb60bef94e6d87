"""The buses under test."""

from __future__ import annotations

import pytest

from .harness import Harness, MemoryHarness


@pytest.fixture(params=["memory"])
async def harness(request: pytest.FixtureRequest) -> Harness:
    return MemoryHarness()
