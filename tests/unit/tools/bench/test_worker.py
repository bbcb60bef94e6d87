"""Each workload of the command line is a load that a process of the generator finds."""

from __future__ import annotations

import pytest

from tools.bench.report.document import UNITS
from tools.bench.worker import _kind


@pytest.mark.parametrize("workload", UNITS)
def test_each_workload_has_its_load(workload: str) -> None:
    assert callable(_kind(workload))
