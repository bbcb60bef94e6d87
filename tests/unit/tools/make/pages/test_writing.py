"""The pages as they are written from one report: all of them, or none if the report is not whole."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tools.make.pages import __main__ as pages

NAMES = ("performance.md", "capacity.md")


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    for name in NAMES:
        shutil.copy(pages.DOCS / name, tmp_path / name)
    return tmp_path


def test_a_report_that_lacks_costs_writes_nothing(docs: Path) -> None:
    before = {name: (docs / name).read_text() for name in NAMES}
    report: dict[str, Any] = {"runs": {}}
    with pytest.raises((KeyError, ValueError)):
        pages.write(report, docs, docs / "figures.json")
    assert {path.name for path in docs.iterdir()} == set(NAMES)
    assert {name: (docs / name).read_text() for name in NAMES} == before
