"""What a standard set writes: targets, tables between marks, and the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tools.bench.report.targets import TARGETS
from tools.bench.standard import standard_set
from tools.make.pages.performance import load_picture, put, tables_of
from tools.make.pages.picture import Curve, picture

PAGE = Path("docs/performance.md")


def _run(per_s: float = 100.0, p50: float = 5.0, rate: float | None = None) -> dict[str, Any]:
    sample = {"per_s": per_s, "count": 9, "mean_ms": p50, "p50_ms": p50, "p99_ms": 2 * p50}
    return {
        "workload": "direct", "loop": "open" if rate else "closed",
        "plan": {"rate": rate, "users": 200, "window": 4, "members": 0, "senders": 0},
        "acknowledged": sample, "delivered": sample, "unit": "message", "units_per_s": per_s, "counts": {},
        "cpu_s_per_1000": {"access-0": 0.1, "cluster": 0.1, "load generator": 0.01, "all": 0.11},
        "memory_mb": {"access-0": 90.0}, "tally": {"lost": 0, "errors": {"OVERLOADED": 1}}, "right": True,
    }  # fmt: skip


def _report() -> dict[str, Any]:
    machine = {"processors": 2, "processor": "x", "memory_gb": 8.0, "system": "Linux", "python": "3.11"}
    runs = {"direct": _run(7000.0), "direct-50": _run(50.0, 4.0, 50.0), "direct-500": _run(500.0, 7.0, 500.0)}
    runs["direct-4000"] = _run(2000.0, 900.0, 4000.0)
    return {"machine": machine, "versions": {"picows": "2"}, "runs": runs}


def test_each_mark_of_the_page_is_filled_and_what_is_around_stays() -> None:
    text = put("a\n<!-- t -->\nold\n<!-- /t -->\nb\n", {"t": "| new |\n"})
    assert text == "a\n<!-- t -->\n| new |\n<!-- /t -->\nb\n"
    assert put(text, {"t": "| new |\n"}) == text
    with pytest.raises(ValueError, match="no marks"):
        put("a", {"t": "x"})


def test_the_page_of_the_project_has_all_marks() -> None:
    assert put(PAGE.read_text(), tables_of(_report()))


def test_a_figure_says_whether_it_is_what_it_must_be() -> None:
    table = tables_of(_report())["figures"]
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in table.splitlines()}
    assert "| 7,000 |" in rows["direct, closed loop: messages delivered live"]
    assert rows["direct, closed loop: messages delivered live"].endswith("must met |")
    assert rows["direct at 50 a second: acknowledged, p50"].endswith("aim met |")
    assert "not measured" in rows["signals: delivered"]


def test_what_the_cluster_did_not_keep_up_with_is_told_and_is_not_in_the_picture() -> None:
    assert "4,000 a second (not kept up with)" in tables_of(_report())["direct"]
    assert "900" not in load_picture(_report())


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_an_aim_is_beyond_its_must(target: Any) -> None:
    assert (target.aim > target.must) is target.more_is_better or target.aim == target.must
    assert target.verdict(target.aim) == "aim"
    assert target.verdict(target.must) in ("must", "aim")
    assert target.verdict(target.must * (0.9 if target.more_is_better else 1.1)) == "no"


def test_the_standard_set_measures_every_target() -> None:
    seen: set[str] = set()

    class Seen(dict[str, Any]):
        def __missing__(self, name: str) -> Any:
            seen.add(name)
            raise KeyError(name)

    for target in TARGETS:
        with pytest.raises(KeyError):
            target.value(Seen())
    assert seen <= {*standard_set(), "start"}


def test_a_picture_is_well_formed_and_holds_every_point() -> None:
    drawn = picture("a < b", "load", "ms", [Curve("p50", [(50, 4.0), (500, 8.0)]), Curve("p99", [(50, 9.0)])])
    root = ET.fromstring(drawn)
    assert root.tag.endswith("svg")
    assert len([each for each in root.iter() if each.tag.endswith("circle")]) == 3


@pytest.mark.parametrize("points", [[], [(0.0, 1.0)], [(1.0, 0.0)]])
def test_a_picture_needs_points_on_a_logarithmic_scale(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        picture("t", "x", "y", [Curve("c", points)])
