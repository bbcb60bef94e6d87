"""The supervisor on nodes that are small stand-ins: what starts, what comes back, what stays away, what is left."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.backends import RealBackends, clean_environment, free_port_base, stop_stack
from tools.cli.commands.stack import current, public
from tools.cli.failure import Failure
from tools.cli.stack.folder import Folder
from tools.cli.stack.keeping import control, launch, orphans
from tools.cli.stack.plan import Plan
from tools.cli.stack.ports import NodeKind

pytestmark = pytest.mark.integration

FAKE_NODE = (sys.executable, str(Path(__file__).with_name("fake_node.py")))


class Stack:
    """A stack of fake nodes on backends that run already."""

    def __init__(self, folder: Folder, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self.plan = Plan(free_port_base(), 2, 1, 1, node_program=FAKE_NODE)

    def up(self, **changes: Any) -> dict[str, Any]:
        self.plan = replace(self.plan, **changes)
        return launch.run_detached(self.plan, self.folder, self.environment, lambda _: None)

    def ask(self, **request: Any) -> dict[str, Any]:
        return control.ask(self.folder, request, timeout_s=60)

    def node(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.nodes()[name]
        return found

    def nodes(self) -> dict[str, Any]:
        status = current(self.folder)
        return {node["name"]: node for kind in NodeKind for node in status[kind]}

    def until(self, condition: Callable[[], bool], timeout_s: float = 15) -> None:
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, current(self.folder)
            time.sleep(0.05)


@pytest.fixture
def stack(tmp_path: Path, real_backends: RealBackends) -> Iterator[Stack]:
    environment = {
        **clean_environment(),
        "TIDINGS_ETCD_ENDPOINTS": real_backends.etcd,
        "TIDINGS_KAFKA_BOOTSTRAP": real_backends.kafka,
        "TIDINGS_MONGODB_URI": real_backends.mongodb,
    }
    made = Stack(Folder.at(tmp_path / "data"), environment)
    yield made
    stop_stack(made.folder)
    orphans.end(orphans.find(made.folder.path))


def test_all_nodes_are_ready_when_up_returns_and_none_is_left_after_down(stack: Stack) -> None:
    snapshot = stack.up()
    pids = [node["pid"] for node in stack.nodes().values()]
    assert [node["state"] for node in stack.nodes().values()] == ["ready"] * 4
    assert [node["name"] for node in snapshot["access"]] == ["access-0", "access-1"]
    stop_stack(stack.folder)
    assert not orphans.find(stack.folder.path)
    assert not any(_lives(pid) for pid in pids)
    assert current(stack.folder) == {"running": False}


def test_the_status_has_the_fields_that_scripts_use(stack: Stack) -> None:
    status = public(stack.up())
    base = stack.plan.port_base
    assert status["running"] is True
    assert status["data"] == str(stack.folder.path)
    assert psutil.pid_exists(status["supervisor"]["pid"])
    access = status["access"][1]
    assert access["ws"] == f"ws://127.0.0.1:{base + 1}/v1/ws"
    assert access["tcp"] == f"127.0.0.1:{base + 101}"
    assert access["ops"] == f"http://127.0.0.1:{base + 201}"
    assert status["logic"][0]["rpc"] == f"127.0.0.1:{base + 300}"
    assert status["storage"][0]["rpc"] == f"127.0.0.1:{base + 400}"
    assert [backend["name"] for backend in status["backends"]] == ["etcd", "kafka", "mongodb"]
    assert {"algorithm": "HS256", "audience": "local"}.items() <= status["auth"].items()
    assert len(Path(status["auth"]["secret_file"]).read_text().strip()) >= 32


def test_a_second_up_on_a_live_folder_is_refused(stack: Stack) -> None:
    stack.up()
    with pytest.raises(Failure, match="already runs"):
        stack.up()
    assert stack.node("access-0")["state"] == "ready"


def test_a_node_that_is_killed_comes_back_after_a_second(stack: Stack) -> None:
    stack.up()
    first = stack.node("logic-0")["pid"]
    os.kill(first, signal.SIGKILL)
    killed = time.monotonic()
    stack.until(lambda: stack.node("logic-0")["pid"] not in (None, first))
    assert 0.8 < time.monotonic() - killed < 5
    stack.until(lambda: stack.node("logic-0")["state"] == "ready")


def test_with_no_restart_a_node_that_is_killed_stays_down(stack: Stack) -> None:
    stack.up(restart=False)
    os.kill(stack.node("logic-0")["pid"], signal.SIGKILL)
    stack.until(lambda: stack.node("logic-0")["state"] == "down")
    assert stack.node("logic-0")["pid"] is None


def test_a_node_that_was_asked_to_leave_stays_down_until_restart_brings_it_back(stack: Stack) -> None:
    stack.environment["TIDINGS_X_FAKE_DRAIN_S"] = "1.5"
    stack.up()
    os.kill(stack.node("access-1")["pid"], signal.SIGTERM)
    stack.until(lambda: stack.node("access-1")["state"] == "draining")
    stack.until(lambda: stack.node("access-1")["state"] == "down")
    assert stack.ask(command="restart", target="access-1") == {"restarted": ["access-1"]}
    assert stack.node("access-1")["state"] == "ready"


def test_scale_adds_and_removes_and_brings_back_what_had_left(stack: Stack) -> None:
    stack.up()
    os.kill(stack.node("access-0")["pid"], signal.SIGTERM)
    stack.until(lambda: stack.node("access-0")["state"] == "down")
    stack.ask(command="scale", nodes=["access=3", "logic=2"])
    assert {name: node["state"] for name, node in stack.nodes().items()} == dict.fromkeys(
        ["access-0", "access-1", "access-2", "logic-0", "logic-1", "storage-0"], "ready"
    )
    gone = stack.node("access-2")["pid"]
    stack.ask(command="scale", nodes=["access=1"])
    assert list(stack.nodes()) == ["access-0", "logic-0", "logic-1", "storage-0"]
    assert not _lives(gone)


def test_scale_refuses_less_than_one_node(stack: Stack) -> None:
    stack.up()
    with pytest.raises(Failure, match="0 access nodes are not possible"):
        stack.ask(command="scale", nodes=["access=0"])


def test_restart_of_a_kind_gives_each_node_a_new_process(stack: Stack) -> None:
    before = {node["name"]: node["pid"] for node in stack.up()["access"]}
    assert stack.ask(command="restart", target="access") == {"restarted": ["access-0", "access-1"]}
    after = {name: stack.node(name) for name in before}
    assert all(after[name]["pid"] != pid and after[name]["state"] == "ready" for name, pid in before.items())


def test_restart_of_an_unknown_node_names_the_known_ones(stack: Stack) -> None:
    stack.up()
    with pytest.raises(Failure, match="access-0, access-1, logic-0, storage-0"):
        stack.ask(command="restart", target="access-7")


def test_up_works_after_the_supervisor_was_killed_and_leaves_no_process_of_the_earlier_run(stack: Stack) -> None:
    pid = stack.up()["supervisor"]["pid"]
    earlier = [node["pid"] for node in stack.nodes().values()]
    os.kill(pid, signal.SIGKILL)
    orphans.wait([psutil.Process(pid)], 10)
    orphaned = current(stack.folder)
    assert orphaned["running"] is True
    assert orphaned["supervisor"] == {"pid": None}
    stack.up()
    assert not any(_lives(pid) for pid in earlier)
    assert [node["state"] for node in stack.nodes().values()] == ["ready"] * 4


def test_up_works_after_everything_was_killed(stack: Stack) -> None:
    pid = stack.up()["supervisor"]["pid"]
    processes = [psutil.Process(pid), *orphans.find(stack.folder.path)]
    for process in processes:
        process.kill()
    orphans.wait(processes, 10)
    assert current(stack.folder) == {"running": False}
    stack.up(access=1, port_base=free_port_base())
    assert list(stack.nodes()) == ["access-0", "logic-0", "storage-0"]


def test_a_port_in_use_is_named_with_its_process(stack: Stack) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", stack.plan.port_base + 300))
        other.listen()
        with pytest.raises(Failure, match=rf"{stack.plan.port_base + 300} \(by .*pid {os.getpid()}\)"):
            stack.up()


def test_a_node_that_cannot_start_is_told_with_the_end_of_its_log_and_nothing_stays(stack: Stack) -> None:
    stack.environment["TIDINGS_X_FAKE"] = "wrong"
    with pytest.raises(Failure, match="exit code 2") as failed:
        stack.up()
    assert "the fake node was told to fail" in failed.value.message
    assert current(stack.folder) == {"running": False}
    assert not orphans.find(stack.folder.path)


def test_a_backend_of_the_user_that_is_not_there_is_told(stack: Stack) -> None:
    stack.environment["TIDINGS_KAFKA_BOOTSTRAP"] = "127.0.0.1:1"
    with pytest.raises(Failure, match="nothing listens at"):
        stack.up()


def test_nodes_get_the_users_settings_but_the_stacks_addresses(stack: Stack) -> None:
    stack.environment |= {"TIDINGS_LEASE_TTL_S": "7", "TIDINGS_OPS_LISTEN": "127.0.0.1:1", "TIDINGS_PROGRAMS": "own"}
    stack.up(placement="any")
    settings = orphans.find(stack.folder.path)[0].environ()
    assert settings["TIDINGS_LEASE_TTL_S"] == "7"
    assert settings["TIDINGS_PLACEMENT"] == "any"
    assert settings["TIDINGS_OPS_LISTEN"] != "127.0.0.1:1"
    assert "TIDINGS_PROGRAMS" not in settings


def _lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
