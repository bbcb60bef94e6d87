"""A long run from second to second."""

from __future__ import annotations

from tools.bench.accounts.timeline import kinds_of


def test_processes_are_summed_up_by_their_kind() -> None:
    used = {"access-0": 1.0, "access-1": 2.0, "mongodb": 4.0, "bench-0": 8.0}
    assert kinds_of(used) == {"access": 3.0, "mongodb": 4.0, "bench": 8.0}
