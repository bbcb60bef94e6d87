"""What a run of a crowd writes: its section of the page, and its picture."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tools.make.pages import __main__ as pages
from tools.make.pages.crowd import PICTURE, crowd_picture, tables_of


def report_of() -> dict[str, Any]:
    sample = {"per_s": 200.0, "count": 9, "p50_ms": 11.25, "p99_ms": 40.0}
    kinds = {"access": 10.0, "logic": 5.0, "storage": 5.0, "kafka": 2.0, "mongodb": 3.0, "etcd": 1.0, "bench": 4.0}
    sizes = dict.fromkeys(kinds, 100)
    return {
        "workload": "crowd",
        "counts": {"connections": 200_000},
        "plan": {"seconds": 600.0, "warmup_s": 60.0, "rate": 200.0},
        "machine": {"processors": 2, "memory_gb": 25.3},
        "access_nodes": 13,
        "generator_processes": 11,
        "ramp": {"took_s": 250.0, "connects_per_s": 800.0},
        "access_idle_kb_each": 7.4,
        "access_busy_kb_each": 7.6,
        "acknowledged": sample,
        "delivered": sample,
        "tally": {"acknowledged": 119_876, "lost": 0, "reconnects": 0},
        "idle_percent": kinds,
        "busy_percent": {**kinds, "access": 44.4},
        "memory_before_by_kind_mb": {kind: 90 for kind in kinds if kind != "bench"},
        "memory_by_kind_mb": sizes,
        "timeline": [
            {"at_s": at, "connections": 1000 * at, "cpu_percent": kinds, "memory_mb": sizes} for at in (5.0, 10.0)
        ],
    }


def test_the_section_tells_what_was_held_and_that_nothing_was_lost() -> None:
    section = tables_of(report_of())["crowd"]
    assert section.startswith("## 200,000 connections\n")
    assert "| 200,000 | 800 | 7.40 KB | 7.60 KB | 119,876 | 11.2 ms | 40.0 ms | 11.2 ms | 40.0 ms | 0 | 0 |" in section
    assert "| access nodes | 10.0 | 44.4 | 90 MB | 100 MB |" in section
    assert f"]({PICTURE})" in section


def test_the_picture_is_one() -> None:
    ET.fromstring(crowd_picture(report_of()))


def test_the_page_of_the_project_takes_it_and_another_one_in_its_place(tmp_path: Path) -> None:
    page = Path(shutil.copy(pages.DOCS / "performance.md", tmp_path))
    pages.write_crowd(report_of(), tmp_path)
    once = page.read_text()
    assert once.count("## 200,000 connections") == 1
    assert (tmp_path / PICTURE).exists()
    pages.write_crowd(report_of(), tmp_path)
    assert page.read_text() == once


def test_a_report_that_is_not_whole_writes_nothing(tmp_path: Path) -> None:
    page = Path(shutil.copy(pages.DOCS / "performance.md", tmp_path))
    before = page.read_text()
    with pytest.raises(KeyError):
        pages.write_crowd({**report_of(), "timeline": [{}]}, tmp_path)
    assert page.read_text() == before
