"""Real etcd, Kafka and MongoDB for tests: started once for a test session that asks for them, ended with it.

Tests that share them keep apart by names of their own: a cluster name in etcd, topics, a database.
TIDINGS_X_BACKENDS names the data folder of backends that run already (`tidings backends up`); they are used then, and
left running.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tools.cli.failure import Failure
from tools.cli.stack.folder import Folder
from tools.cli.stack.keeping import control, launch
from tools.cli.stack.occupied import is_free
from tools.cli.stack.plan import Plan
from tools.cli.stack.ports import RANGE, NodeKind, Ports

STOP_S = 60.0
# Below those of tests/ports.py and those that the kernel gives to outgoing connections.
BASES = range(12000, 30000, RANGE)


@dataclass(frozen=True, slots=True)
class RealBackends:
    """Where they are: `etcd` and `kafka` as host:port, `mongodb` as a URI; `folder` has their logs."""

    etcd: str
    kafka: str
    mongodb: str
    folder: Folder

    def process_of(self, name: str) -> dict[str, Any]:
        """What the stack's status says of one: its pid, its state."""
        status = control.ask(self.folder, {"command": "status"}, timeout_s=5)
        found: dict[str, Any] = next(backend for backend in status["backends"] if backend["name"] == name)
        return found


@pytest.fixture(scope="session")
def real_backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealBackends]:
    if running := os.environ.get("TIDINGS_X_BACKENDS"):
        folder = Folder.at(Path(running))
        yield _at(folder, control.ask(folder, {"command": "status"}, timeout_s=5))
        return
    folder = Folder.at(tmp_path_factory.mktemp("backends"))
    snapshot = launch.run_detached(Plan(free_port_base(), 0, 0, 0), folder, clean_environment(), lambda _: None)
    try:
        yield _at(folder, snapshot)
    finally:
        stop_stack(folder)


def stop_stack(folder: Folder) -> None:
    """End a stack that a test started, whatever is left of it."""
    if folder.is_locked():
        control.ask(folder, {"command": "down"}, timeout_s=5)
    if not launch.wait_until_free(folder, STOP_S):
        raise Failure(f"the stack in {folder.path} does not stop")


def clean_environment() -> dict[str, str]:
    """This environment without the settings of whoever runs the tests, but for where the programs are."""
    kept = {"TIDINGS_CACHE", "TIDINGS_PROGRAMS"}
    return {name: value for name, value in os.environ.items() if name[:8] != "TIDINGS_" or name in kept}


def free_port_base(access: int = 4, logic: int = 4, storage: int = 4) -> int:
    """The base of a range in which a stack of so many nodes finds its ports free."""
    numbers = {NodeKind.ACCESS: access, NodeKind.LOGIC: logic, NodeKind.STORAGE: storage}
    for base in random.sample(BASES, len(BASES)):
        ports = Ports(base)
        nodes = [ports.node(kind, index) for kind, number in numbers.items() for index in range(number)]
        backends = [ports.etcd, ports.etcd_peer, ports.kafka, ports.kafka_controller, ports.mongodb]
        if all(is_free(port) for port in (*backends, *(port for node in nodes for port in node.all()))):
            return base
    raise Failure("There is no free range of 1000 ports for the tests.")


def _at(folder: Folder, snapshot: dict[str, Any]) -> RealBackends:
    return RealBackends(**snapshot["endpoints"], folder=folder)
