"""What a run of a crowd is about."""

from __future__ import annotations

from tools.bench.accounts.outcome import Outcome
from tools.bench.report.crowd import crowd_figures

MIB = 1024 * 1024


def test_a_connection_costs_what_all_access_nodes_grew_by() -> None:
    outcome = Outcome(
        figures=[{"counts": {"connections": 1000}, "ramp_s": 4.0}, {"counts": {"connections": 1000}, "ramp_s": 5.0}],
        cpu_s={"access-0": 2.0, "access-1": 1.0, "kafka": 0.5},
        window_s=10.0,
        warmup_cpu_s={"access-0": 0.5, "access-1": 0.5, "kafka": 0.1},
        warmup_s=5.0,
        memory_before={"access-0": 80 * MIB, "access-1": 80 * MIB, "kafka": 200 * MIB},
        memory_warm={"access-0": 90 * MIB, "access-1": 85 * MIB, "kafka": 200 * MIB},
        memory_after={"access-0": 91 * MIB, "access-1": 89 * MIB, "kafka": 210 * MIB},
    )
    told = crowd_figures(outcome)
    assert (told["access_nodes"], told["generator_processes"]) == (2, 2)
    assert told["ramp"] == {"took_s": 5.0, "connects_per_s": 400.0}
    assert told["access_idle_kb_each"] == round(15 * 1024 / 2000, 2)
    assert told["access_busy_kb_each"] == round(20 * 1024 / 2000, 2)
    assert told["idle_percent"] == {"access": 20.0, "kafka": 2.0}
    assert told["busy_percent"] == {"access": 30.0, "kafka": 5.0}
    assert told["memory_by_kind_mb"] == {"access": 180, "kafka": 210}
