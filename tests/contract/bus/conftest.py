"""The buses under test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.cluster.backends import RealBackends

from .harness import Harness, KafkaHarness, MemoryHarness


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.integration)])
def harness(request: pytest.FixtureRequest) -> Harness:
    if request.param == "memory":
        return MemoryHarness()
    found: KafkaHarness = request.getfixturevalue("kafka")
    return found


@pytest.fixture
async def kafka(real_backends: RealBackends) -> AsyncIterator[KafkaHarness]:
    harness = KafkaHarness(real_backends)
    yield harness
    await harness.clean()
