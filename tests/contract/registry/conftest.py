"""The registries under test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .harness import EtcdHarness, EtcdProcess, Harness, MemoryHarness


@pytest.fixture(scope="package")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    process = EtcdProcess(tmp_path_factory.mktemp("etcd"))
    process.start()
    yield process
    process.kill()


@pytest.fixture(params=["memory", pytest.param("etcd", marks=pytest.mark.integration)])
def harness(request: pytest.FixtureRequest) -> Harness:
    if request.param == "memory":
        return MemoryHarness()
    return EtcdHarness(request.getfixturevalue("etcd"))
