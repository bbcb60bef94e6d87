"""Where the users of a crowd connect, and how many nodes they need."""

from __future__ import annotations

import pytest

from services.common.ring import Ring
from tools.bench import homes as module
from tools.bench.homes import access_needed, files_max, homes
from tools.cli.failure import Failure


def snapshot_of(nodes: int) -> dict[str, list[dict[str, str]]]:
    names = [f"access-{number}" for number in range(nodes)]
    return {"access": [{"name": name, "ws": f"ws://{name}", "state": "ready"} for name in names]}


USERS = [f"user-{number}" for number in range(1000)]


def test_each_user_is_at_the_node_that_owns_it() -> None:
    urls, places = homes(snapshot_of(3), USERS)
    ring = Ring.build({f"access-{number}": 1.0 for number in range(3)})
    assert [urls[place] for place in places] == [f"ws://{ring.owner_of(user)}" for user in USERS]


def test_a_node_that_does_not_take_part_gets_nobody() -> None:
    snapshot = snapshot_of(3)
    snapshot["access"][1]["state"] = "draining"
    urls, _ = homes(snapshot, USERS)
    assert urls == ["ws://access-0", "ws://access-2"]


def test_a_crowd_that_does_not_fit_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "files_max", lambda: 300)
    with pytest.raises(Failure, match="the system lets a process have 300"):
        homes(snapshot_of(3), USERS)


def test_there_are_nodes_enough_for_the_fullest() -> None:
    assert access_needed(1) == 2
    nodes = access_needed(200_000)
    assert nodes * files_max() >= 1.25 * 200_000 > (nodes - 1) * files_max() or nodes == 2
