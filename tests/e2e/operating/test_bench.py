"""The load generator on the real cluster: a small load, and every message accounted for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster
from tests.support.cluster.backends import free_port_base

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    "load", [("--window", "2"), ("--rate", "50", "--transport", "tcp"), ("--window", "1", "--processes", "2")]
)
def test_nothing_is_lost_doubled_or_out_of_order_under_load(
    cluster: Cluster, tmp_path: Path, load: tuple[str, ...]
) -> None:
    file = tmp_path / "bench.json"
    report = cluster.asked(
        *("bench", "direct", "--users", "10", "--seconds", "2", "--warmup", "0.5", "--report", str(file)), *load
    )
    assert report["right"]
    assert report["tally"]["arrived"] == report["tally"]["acknowledged"] > 0
    assert report["delivered"]["p50_ms"] > 0
    assert {"access-0", "logic-0", "storage-0", "kafka", "mongodb"} <= report["cpu_s"].keys()
    assert json.loads(file.read_text()) == report


def test_a_small_crowd_comes_stays_and_loses_nothing(tmp_path: Path) -> None:
    small = Cluster(tmp_path / "cluster", free_port_base())
    report = small.asked(
        *("bench", "crowd", "--connections", "300", "--access", "2", "--idle", "2", "--seconds", "4"),
        *("--per-second", "50", "--report", str(tmp_path / "crowd.json"), "--port-base", str(small.port_base)),
    )
    assert report["right"]
    assert report["tally"]["arrived"] == report["tally"]["acknowledged"] > 0
    assert report["counts"]["connections"] == 300
    assert report["tally"]["reconnects"] == 0
    assert report["access_nodes"] == 2
    assert report["busy_percent"]["access"] > 0
    assert not small.data.exists()
