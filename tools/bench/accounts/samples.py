"""How long things took: samples of a process, and percentiles of all by an HDR histogram."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
HIGHEST_US = 120_000_000
DIGITS = 3


@dataclass(slots=True)
class Samples:
    """Samples of things that were due between the end of the warm-up and the end of the measurement."""

    begin: float = 0.0
    end: float = 0.0
    in_time: int = 0  # that were finished between the two
    took_s: array[float] = field(default_factory=lambda: array("d"))

    def add(self, due: float, now: float) -> None:
        begin = self.begin
        if begin <= now < self.end:
            self.in_time += 1
        if begin <= due < self.end:
            self.took_s.append(now - due)

    def told(self) -> dict[str, Any]:
        """The samples as they go from process to process."""
        return {"in_time": self.in_time, "histogram": self._histogram()}

    def _histogram(self) -> str:
        histogram = _empty()
        for us, count in Counter(round(took * 1e6) for took in self.took_s).items():
            histogram.record_value(max(1, min(us, HIGHEST_US)), count)
        return str(histogram.encode().decode())


def merged(parts: Iterable[Mapping[str, Any]]) -> HdrHistogram:
    """One histogram of what several processes told."""
    whole = _empty()
    for part in parts:
        whole.decode_and_add(part["histogram"].encode())
    return whole


def latencies(histogram: HdrHistogram) -> dict[str, float | int]:
    """Percentiles and the mean in milliseconds."""
    count = histogram.get_total_count()
    if not count:
        return {"count": 0}
    told: dict[str, float | int] = {"count": count, "mean_ms": round(histogram.get_mean_value() / 1000, 2)}
    for percentile in PERCENTILES:
        told[f"p{percentile:g}_ms"] = round(histogram.get_value_at_percentile(percentile) / 1000, 2)
    told["max_ms"] = round(histogram.get_max_value() / 1000, 2)
    return told


def _empty() -> HdrHistogram:
    return HdrHistogram(1, HIGHEST_US, DIGITS)
