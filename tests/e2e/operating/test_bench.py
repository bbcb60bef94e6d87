"""The load generator on the real cluster: a small load, and every message accounted for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster

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
