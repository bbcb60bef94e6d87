"""The `tidings` command on a running cluster: the shapes of its output, which other people's scripts use."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest

from tests.e2e.cluster import Cluster, route_url
from tests.support.cluster.backends import clean_environment
from tidings_protocol.client_pb2 import Hello, History, ListConversations, Message

pytestmark = pytest.mark.e2e
Name = Callable[[str], str]
BACKENDS = {"etcd", "kafka", "mongodb"}


async def asked(cluster: Cluster, *arguments: str) -> Any:
    return await asyncio.to_thread(cluster.asked, *arguments)


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_status_tells_every_process_and_address(cluster: Cluster) -> None:
    status = cluster.status()
    assert status["running"] is True
    assert status["cluster"] == "local"
    assert Path(status["data"]) == cluster.data
    assert status["supervisor"]["pid"] > 0
    for kind, addresses in (("access", {"ws", "tcp"}), ("logic", {"rpc"}), ("storage", {"rpc"})):
        for number, node in enumerate(status[kind]):
            assert node.keys() >= {"name", "pid", "state", "ops"} | addresses
            assert (node["name"], node["state"]) == (f"{kind}-{number}", "ready")
            assert node["ops"].startswith("http://127.0.0.1:")
    assert {backend["name"] for backend in status["backends"]} == BACKENDS
    for backend in status["backends"]:
        assert backend.keys() >= {"name", "pid", "state", "address"}
        assert backend["state"] == "ready"
    assert status["auth"]["algorithm"] == "HS256"
    assert status["auth"]["audience"] == "local"
    assert len(Path(status["auth"]["secret_file"]).read_text().rstrip("\n")) >= 32


def test_where_nothing_runs_status_says_so_and_down_is_no_error(tmp_path: Path) -> None:
    nothing = Cluster(tmp_path / "nothing", 0)
    done = nothing.tidings("status", "--json", check=False)
    assert (done.returncode, json.loads(done.stdout)) == (1, {"running": False})
    assert nothing.tidings("down", check=False).returncode == 0


def test_a_second_up_on_one_folder_is_a_clear_error(cluster: Cluster) -> None:
    done = cluster.tidings("up", "--detach", check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "running" in done.stderr.lower() or "runs" in done.stderr.lower()


def test_a_token_lets_its_user_in(cluster: Cluster, name: Name) -> None:
    token = cluster.asked("token", name("ann"), "--ttl", "60")["token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["sub"], claims["aud"]) == (name("ann"), "local")
    assert 0 < claims["exp"] - time.time() <= 61
    done = cluster.tidings("token", "not a user", check=False)
    assert done.returncode in {1, 2}
    assert "Traceback" not in done.stderr


def test_nodes_lists_who_is_alive(cluster: Cluster) -> None:
    nodes = cluster.asked("nodes")["nodes"]
    assert {node["kind"] for node in nodes} == {"access", "logic", "storage"}
    for node in nodes:
        assert node.keys() >= {"name", "kind", "boot_id", "address", "weight", "state"}
        assert node["state"] == "ready"
        assert node["boot_id"]


def test_the_ring_is_even_and_slot_agrees_with_it_and_with_the_route(cluster: Cluster, name: Name) -> None:
    ring = cluster.asked("ring")
    assert ring["slots"] == len(ring["owners"]) == 4096
    counts = {node["name"]: node["slots"] for node in ring["nodes"]}
    assert sum(counts.values()) == 4096
    assert all(ring["owners"].count(node) == slots for node, slots in counts.items())
    assert max(counts.values()) <= 1.25 * 4096 / len(counts) + 1
    assert sum(node["share"] for node in ring["nodes"]) == pytest.approx(1, abs=0.01)
    slot = cluster.asked("slot", name("ann"))
    assert slot.keys() >= {"user", "slot", "node", "ws", "tcp"}
    assert slot["node"] == ring["owners"][slot["slot"]]
    route = httpx2.get(route_url(cluster.access()[slot["node"]]), params={"user": name("ann")}, trust_env=False)
    assert {key: slot[key] for key in route.json()} == route.json()


async def test_sessions_are_listed_and_kicked(cluster: Cluster, name: Name) -> None:
    async with (
        cluster.session(name("ann"), device="phone", kind=Hello.MOBILE) as (phone, welcome),
        cluster.session(name("ann"), device="laptop", kind=Hello.DESKTOP) as (laptop, _),
    ):
        listed = await asked(cluster, "sessions", name("ann"))
        assert listed["user"] == name("ann")
        by_device = {session["device"]: session for session in listed["sessions"]}
        assert by_device.keys() == {"phone", "laptop"}
        mine = by_device["phone"]
        assert (mine["node"], mine["session"]) == (welcome.node, welcome.session)
        assert mine["kind"].upper() == "MOBILE"
        assert mine["since_ms"] > 1_600_000_000_000
        assert mine["address"] == "127.0.0.1"
        assert (await asked(cluster, "kick", name("ann"), "--device", "phone"))["kicked"] == 1
        closed = await phone.end()
        assert closed.goodbye is not None
        assert (closed.goodbye.code, closed.code) == (4502, 4502)
        assert (await asked(cluster, "kick", name("ann")))["kicked"] == 1
        assert (await laptop.end()).code == 4502
    assert (await asked(cluster, "sessions", name("ann")))["sessions"] == []
    assert (await asked(cluster, "kick", name("ann")))["kicked"] == 0


async def test_send_and_listen_carry_a_message(cluster: Cluster, name: Name) -> None:
    listening = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("tidings"),
        *("listen", "--user", name("bob"), "--count", "2", "--timeout", "40", "--json", "--data", cluster.data),
        env=clean_environment(),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        await _online(cluster, name("bob"))
        sent = await asked(cluster, "send", "--user", name("ann"), "--to", name("bob"), "hello there")
        assert sent.keys() >= {"clientId", "messageId", "conversation", "seq", "timeMs"}
        again = await asked(cluster, "send", "--user", name("ann"), "--to", name("bob"), "and again")
        assert again["seq"] == "2"
        async with asyncio.timeout(40):
            printed, _ = await listening.communicate()
    finally:
        if listening.returncode is None:
            listening.kill()
            await listening.wait()
    assert listening.returncode == 0
    messages = lines(printed.decode())
    assert [message["content"]["text"] for message in messages] == ["hello there", "and again"]
    assert messages[0]["messageId"] == sent["messageId"]
    assert messages[0]["sender"] == name("ann")


def test_listening_to_nothing_ends_with_1(cluster: Cluster, name: Name) -> None:
    done = cluster.tidings("listen", "--user", name("bob"), "--count", "1", "--timeout", "1", "--json", check=False)
    assert (done.returncode, done.stdout) == (1, "")


async def test_a_broadcast_reaches_everyone_and_stays_readable(cluster: Cluster, name: Name) -> None:
    async with cluster.session(name("ann")) as (ann, _), cluster.session(name("bob"), "tcp", visiting=True) as (bob, _):
        sent = await asked(cluster, "broadcast", f"notice to {name('all')}")
        assert sent["conversation"] == "b:all"
        for wire in (ann, bob):
            message = Message()
            while message.content.text != f"notice to {name('all')}":
                (entry,) = (await wire.push("deliver")).deliver.entries
                message = entry.message
                assert entry.number == 0
            assert (message.sender, message.kind, str(message.seq)) == ("tidings", Message.SYSTEM, sent["seq"])
        page = (await ann.request(history=History(conversation="b:all"))).page
        assert page.entries[-1].message.message_id == sent["messageId"]
        listed = (await ann.request(conversations=ListConversations())).conversation_page.conversations
        assert "b:all" in [entry.conversation for entry in listed]
    async with cluster.session(name("ann"), group_cursors={"b:all": int(sent["seq"]) - 1}) as (_, welcome):
        assert welcome.group_heads["b:all"] >= int(sent["seq"])


def test_doctor_finds_nothing_wrong(cluster: Cluster) -> None:
    checks = cluster.asked("doctor")["checks"]
    assert len(checks) > 4
    assert [check for check in checks if not check["ok"]] == []
    assert all(check.keys() >= {"name", "ok", "advice"} for check in checks)


def test_config_shows_every_setting_with_its_origin(cluster: Cluster) -> None:
    done = cluster.tidings("config", "show", "--service", "access", "--json")
    assert "ws_listen" in done.stdout or "TIDINGS_WS_LISTEN" in done.stdout
    assert cluster.tidings("config", "check").returncode == 0


def test_every_node_answers_on_its_ops_address(cluster: Cluster) -> None:
    status = cluster.status()
    for node in (*status["access"], *status["logic"], *status["storage"]):
        with httpx2.Client(base_url=node["ops"], trust_env=False) as http:
            assert http.get("/healthz").status_code == 200
            assert http.get("/readyz").status_code == 200
            assert "tidings_lane_depth" in http.get("/metrics").text
            assert http.get("/debug/state").json()
            profile = http.get("/debug/profile", params={"seconds": 0.2})
            assert (profile.status_code, "CPU" in profile.text) == (200, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("frobnicate",),
        ("scale", "access=0"),
        ("scale", "access=many"),
        ("scale", "moon=1"),
        ("restart", "access-99"),
        ("send", "--user", "ann", "hello"),
        ("send", "--user", "a b", "--to", "bob", "hello"),
        ("slot", "a b"),
        ("drain", "access-99"),
        ("config", "show", "--service", "moon"),
    ],
)
def test_wrong_use_is_a_sentence_and_a_code_and_no_traceback(cluster: Cluster, arguments: tuple[str, ...]) -> None:
    if arguments == ("frobnicate",):
        program = Path(sys.executable).with_name("tidings")
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    else:
        done = cluster.tidings(*arguments, check=False)
    assert done.returncode in {1, 2}
    assert done.stderr.strip()
    assert "Traceback" not in done.stdout + done.stderr


async def _online(cluster: Cluster, user: str) -> None:
    async with asyncio.timeout(30):
        while not (await asked(cluster, "sessions", user))["sessions"]:  # noqa: ASYNC110 - another process comes up
            await asyncio.sleep(0.2)
