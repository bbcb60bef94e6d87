"""One cluster for the tests that leave it as it is; a cluster of its own for a module that breaks things."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster
from tests.support.cluster.backends import free_port_base, stop_stack
from tools.cli.stack.folder import Folder

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """2 access, 1 logic, 1 storage; tests share it and keep apart by their users' names.

    TIDINGS_X_CLUSTER names the data folder of one that runs already; it is used then, and left running.
    """
    if running := os.environ.get("TIDINGS_X_CLUSTER"):
        yield Cluster(Path(running), 0)
        return
    yield from started(tmp_path_factory.mktemp("cluster"))


@pytest.fixture(scope="module")
def cluster_to_break(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """2 of each."""
    yield from started(tmp_path_factory.mktemp("cluster"), access=2, logic=2, storage=2)


@pytest.fixture
def name() -> Callable[[str], str]:
    """Makes names that no other test has: name("ann") → "ann.7"."""
    number = next(_numbers)
    return lambda text: f"{text}.{os.getpid()}.{number}"


def started(folder: Path, settings: Mapping[str, str] | None = None, **numbers: int) -> Iterator[Cluster]:
    cluster = Cluster(folder, free_port_base(), settings or {})
    try:
        cluster.up(**numbers)
        yield cluster
    finally:
        stop_stack(Folder.at(folder))
