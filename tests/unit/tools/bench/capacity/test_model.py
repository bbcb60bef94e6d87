"""The capacity model: sums that can be checked by hand, and what must hold for any profile."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tools.bench.capacity.command import FIGURES, capacity
from tools.bench.capacity.figures import PARTS, Figures, figures_of, read
from tools.bench.capacity.model import PARTITIONS_MAX, Profile, needs, rates_of
from tools.bench.capacity.ring_measure import measure


def _figures(**changed: Any) -> Figures:
    nothing = dict.fromkeys(PARTS, 0.0)
    usual: dict[str, Any] = {
        "message": {**nothing, "access": 50.0, "logic": 100.0, "storage": 100.0, "kafka": 10.0, "mongodb": 100.0},
        "recipient": {**nothing, "access": 50.0, "mongodb": 20.0},
        "large_recipient": {**nothing, "access": 5.0},
        "signal": {**nothing, "access": 40.0},
        "connection": {**nothing, "access": 300.0, "logic": 200.0},
        "synced": {**nothing, "storage": 10.0},
        "idle": {**nothing, "access": 2.0},
        "session_change_us": 1.0,
        "broadcast_message_us": 2.0,
        "idle_bytes": {"ws": 10_000.0, "tcp": 5000.0},
        "base_bytes": dict.fromkeys(PARTS, 1e8),
        "message_bytes": 300.0,
        "inbox_bytes": 100.0,
        "measured": "here",
    }
    return Figures(**{**usual, **changed})


def test_the_rates_of_a_day_are_those_of_its_busiest_time() -> None:
    profile = Profile(
        online=86_400, messages_per_user_day=10, peak=2, direct_share=0.5, group_size=11, online_share=0.5, devices=2
    )
    rates = rates_of(profile)
    assert (rates.messages, rates.direct, rates.grouped) == (20, 10, 10)
    assert rates.recipients == 10 + 10 * 10
    assert rates.deliveries == 110 * 0.5 * 2
    assert rates.synced == 55
    assert rates.connections == 172_800


def test_nodes_are_busy_cores_by_utilisation() -> None:
    profile = Profile(
        online=8_640_000, messages_per_user_day=10, peak=1, direct_share=1, online_share=1, devices=1,
        signals_per_message=0, connects_per_user_day=0, utilisation=0.5, tls_share=0,
    )  # fmt: skip
    found = needs(profile, _figures(idle=dict.fromkeys(PARTS, 0.0), base_bytes=dict.fromkeys(PARTS, 0.0)))
    assert found.cores["logic"] == pytest.approx(0.1)  # 1,000 messages of 100 µs
    assert found.cores["access"] == pytest.approx(0.1)
    assert found.nodes["logic"] == 2
    assert found.bound_by["logic"] == "one may be away"
    # 86.4 GB of connections on nodes with 2 GB to spare.
    assert found.nodes["access"] == 44
    assert found.bound_by["access"] == "memory"
    assert found.kafka_partitions == 128
    assert found.kafka_brokers == 3


@pytest.mark.parametrize(
    ("shares", "each_kb"),
    [
        ({"tls_share": 0, "large_frames_share": 0}, 10),
        ({"tls_share": 1, "large_frames_share": 0}, 10 + 19),
        ({"tls_share": 0.5, "large_frames_share": 0}, 10 + 9.5),
        ({"tls_share": 0, "large_frames_share": 1}, 10 + 159),
        ({"tls_share": 1, "large_frames_share": 0.1}, 10 + 19 + 0.1 * (159 + 177)),
        ({"tls_share": 0, "large_frames_share": 1, "websocket_share": 0}, 5),
    ],
)
def test_tls_and_what_stays_of_large_frames_count_as_memory(shares: dict[str, float], each_kb: float) -> None:
    figures = _figures(base_bytes=dict.fromkeys(PARTS, 0.0))
    found = needs(Profile(online=1_000_000, devices=1, **shares), figures)
    assert found.memory_gb["access"] == pytest.approx(each_kb, rel=0.01)


def test_the_first_limit_is_the_one_that_is_reached_first() -> None:
    found = needs(Profile(online=1_000_000, connects_per_user_day=1000), _figures(session_change_us=100.0))
    assert found.limits[0].name == "sessions that begin and end"
    assert [limit.at_online for limit in found.limits] == sorted(limit.at_online for limit in found.limits)
    few = needs(Profile(online=1_000_000, connects_per_user_day=0), _figures())
    assert few.limits[0].name in ("the ring", "mailboxes")


@given(st.integers(1, 3_000_000), st.floats(1, 200), st.floats(0, 1))
def test_more_users_never_need_less(online: int, messages: float, direct: float) -> None:
    small = Profile(online=online, messages_per_user_day=messages, direct_share=direct)
    large = dataclasses.replace(small, online=2 * online)
    one, two = needs(small, _figures()), needs(large, _figures())
    assert all(one.nodes[part] <= two.nodes[part] for part in one.nodes)
    assert one.mongodb_shards <= two.mongodb_shards
    assert one.kafka_partitions <= two.kafka_partitions
    assert one.kafka_partitions >= 2 * one.nodes["access"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"online": 0}, "online"),
        ({"messages_per_user_day": -1}, "messages_per_user_day"),
        ({"direct_share": 1.5}, "direct_share"),
        ({"tls_share": 1.5}, "tls_share"),
        ({"large_frames_share": -1}, "large_frames_share"),
        ({"direct_share": 0.8, "large_share": 0.3}, "together"),
        ({"utilisation": 0}, "utilisation"),
        ({"devices": float("nan")}, "devices"),
        ({"shard_cores": 0}, "shard_cores"),
    ],
)
def test_a_profile_that_cannot_be_says_what_is_wrong(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Profile(**{"online": 1000, **changes})


def test_the_cost_of_a_message_and_of_a_recipient_are_told_apart() -> None:
    def run(access: float) -> dict[str, Any]:
        return {"cpu_us_per_message": {"access-0": access / 2, "access-1": access / 2, "mongodb": 30.0}}

    report = {
        "machine": {"processors": 2, "processor": "x"},
        "memory_at_start_mb": {"access-0": 80.0, "access-1": 90.0},
        "costs": {"session_change_us": 1, "broadcast_message_us": 2, "message_bytes": 3, "inbox_bytes": 4},
        "runs": {
            "direct": run(130.0),  # 100 for the message, 30 for its recipient
            "groups-of-20": run((100 + 19 * 30) / 19),
            **{name: run(5.0) for name in ("group-1000", "signals", "connect", "sync")},
            "idle-ws": {"counts": {"connections": 1000}, "cpu_percent": {"access-0": 1.0}, "access_kb_each": 8.0},
            "idle-tcp": {"access_kb_each": 4.0},
        },
    }
    figures = read(figures_of(report))
    assert figures.recipient["access"] == pytest.approx(30, abs=0.1)
    assert figures.message["access"] == pytest.approx(100, abs=0.1)
    assert figures.idle["access"] == 10.0
    assert figures.idle_bytes == {"ws": 8192, "tcp": 4096}
    assert figures.base_bytes["access"] == 90 * 1024 * 1024


def test_the_figures_of_the_project_are_measured_ones_and_make_a_plan() -> None:
    figures = read(json.loads(FIGURES.read_text()))
    assert all(figures.message[part] > 0 for part in ("access", "logic", "storage", "mongodb"))
    found = needs(Profile(online=1_000_000), figures)
    assert 2 < found.nodes["access"] < PARTITIONS_MAX


def test_the_command_gives_the_plan_as_a_document() -> None:
    done = CliRunner().invoke(capacity, ["--online", "1000000", "--messages-per-user-day", "40", "--json"])
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert told["profile"]["online"] == 1_000_000
    assert {"nodes", "kafka_partitions", "mongodb_shards", "memory_gb", "limits"} <= told.keys()


def test_the_ring_is_measured() -> None:
    told = measure(16, 20_000)
    assert 1 <= told.slots_most <= 1.25
    assert told.users_most < 1.5
    assert 1 / 32 < told.moved_by_join < 1 / 16 + 0.05
    assert told.users_per_s > 0
