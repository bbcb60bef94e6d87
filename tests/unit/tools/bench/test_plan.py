"""What a run shall do, and how its processes share it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.bench.plan import Plan, shares
from tools.bench.users.wires import wire_of


def plan_of(**changes: Any) -> Plan:
    usual: dict[str, Any] = {
        "workload": "direct",
        "users": 8,
        "window": 4,
        "seconds": 10.0,
        "rate": None,
        "warmup_s": 1.0,
        "size_bytes": 128,
        "processes": 1,
        "transport": "ws",
    }
    return Plan(**(usual | changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"users": 3}, "--users"),
        ({"users": 0}, "--users"),
        ({"window": 0}, "--window"),
        ({"seconds": 0}, "--seconds"),
        ({"rate": 0}, "--rate"),
        ({"size_bytes": 10}, "--size"),
        ({"processes": 5}, "--processes"),
        ({"transport": "udp"}, "--transport"),
        ({"json_clients": 2}, "--json-clients"),
        ({"transport": "tcp", "json_clients": 0.5}, "--json-clients"),
        ({"workload": "group"}, "--members"),
        ({"workload": "group", "members": 3}, "--users"),
        ({"workload": "group", "members": 4, "senders": 5}, "--senders"),
        ({"workload": "sync", "members": 4, "messages": 5, "page": 501}, "--page"),
        ({"workload": "history", "members": 4, "page": 5}, "message"),
        ({"workload": "idle", "users": 40_000}, "--processes"),
    ],
)
def test_a_plan_that_cannot_be_names_its_option(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        plan_of(**changes)


@given(st.integers(1, 4))
def test_pairs_stay_together_and_the_rate_is_shared(processes: int) -> None:
    plan = plan_of(rate=100.0, processes=processes)
    tokens = [(f"u{number}", "t") for number in range(8)]
    parts = shares(plan, ["ws://a"], tokens)
    for part in parts:
        numbers = [int(user[1:]) for user, _ in part.tokens]
        assert [number ^ 1 for number in numbers[::2]] == numbers[1::2]
    assert sum(part.rate or 0 for part in parts) == pytest.approx(100.0)
    assert sorted(user for part in parts for user, _ in part.tokens) == sorted(user for user, _ in tokens)


def test_groups_stay_together() -> None:
    plan = plan_of(workload="group", users=12, members=4, senders=1, processes=2)
    parts = shares(plan, ["ws://a"], [(f"u{number}", "t") for number in range(12)])
    assert [[user for user, _ in part.tokens] for part in parts] == [
        ["u0", "u1", "u2", "u3", "u8", "u9", "u10", "u11"],
        ["u4", "u5", "u6", "u7"],
    ]


def test_each_process_has_an_address_of_its_own_on_loopback_only() -> None:
    tokens = [(f"u{number}", "t") for number in range(8)]
    assert [part.source for part in shares(plan_of(processes=2), ["ws://127.0.0.1:1"], tokens)] == [
        "127.0.0.2",
        "127.0.0.3",
    ]
    assert {part.source for part in shares(plan_of(processes=2), ["ws://10.0.0.1:1"], tokens)} == {None}
    assert shares(plan_of(), ["ws://127.0.0.1:1"], tokens)[0].source is None


@given(st.floats(0, 1), st.integers(1, 500))
def test_json_clients_are_their_share_of_all(share: float, users: int) -> None:
    plan = plan_of(json_clients=share)
    count = sum(not wire_of(plan, index).codec.binary for index in range(users))
    assert abs(count - share * users) <= 1
