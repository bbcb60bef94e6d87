"""The buses under test."""

from __future__ import annotations

import pytest

from .harness import Harness, KafkaHarness, MemoryHarness


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.integration)])
def harness(request: pytest.FixtureRequest) -> Harness:
    if request.param == "memory":
        return MemoryHarness()
    return KafkaHarness(request.getfixturevalue("real_backends"))
