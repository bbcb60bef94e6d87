"""Two reports beside each other: the ratio of every figure that both have. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Beginnings and ends of the names of figures; anything else in a report is a setting, a count or a name.
SPEEDS = ("per_s",)
COSTS = ("_ms", "_kb_each", "_percent_each", "ready_s")
PARTS = ("cpu_s_per_1000", "memory_mb")


@dataclass(frozen=True, slots=True)
class Change:
    """`ratio` is new to old; `better` None: neither, or the same."""

    name: str
    old: float
    new: float
    better: bool | None

    @property
    def ratio(self) -> float | None:
        return self.new / self.old if self.old else None


NOISE = 0.05  # what is called a change of speed at all


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """The changes between two reports of one workload, or two sets of them (then by name)."""
    before, after = dict(_figures(old, "")), dict(_figures(new, ""))
    return [
        Change(name, before[name], value, _better(name, before[name], value))
        for name, value in after.items()
        if name in before
    ]


def _figures(report: Mapping[str, Any], path: str) -> Iterator[tuple[str, float]]:
    for name, value in report.items():
        here = f"{path} {name}".strip()
        if name in PARTS and isinstance(value, Mapping):
            yield from ((f"{here} {part}", float(number)) for part, number in value.items())
        elif isinstance(value, Mapping):
            yield from _figures(value, here)
        elif isinstance(value, int | float) and not isinstance(value, bool) and name.endswith(SPEEDS + COSTS):
            yield here, float(value)


def _better(name: str, old: float, new: float) -> bool | None:
    if abs(new - old) <= NOISE * abs(old):
        return None
    return (new > old) is name.endswith(SPEEDS)
