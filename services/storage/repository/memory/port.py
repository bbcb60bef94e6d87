"""What all ports of the twin in memory share.

Does not know: which port.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeVar

from services.storage.repository.memory.faults import Faults
from services.storage.repository.memory.tables import Tables

T = TypeVar("T")


class MemoryPort:
    __slots__ = ("_data", "_faults")

    def __init__(self, data: Tables, faults: Faults) -> None:
        self._data = data
        self._faults = faults


def those(kept: Mapping[str, T], keys: Collection[str]) -> dict[str, T]:
    return {key: kept[key] for key in keys if key in kept}


def following(kept: Mapping[str, T], after: str, limit: int) -> list[T]:
    return [kept[key] for key in sorted(key for key in kept if key > after)[:limit]]
