"""What a publisher needs of the bus, and what becomes of records that the bus never takes.

Guarantees: a record that is too large is left out, and keeps no other one back.
Does not know: what records are worth, when the bus is back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from services.common.bus.contract import Record
from tidings_protocol.errors import TooLarge

T = TypeVar("T")


class RecordSink(Protocol):
    """The half of a bus (contract.py) that takes records."""

    async def publish(self, records: Sequence[Record]) -> None: ...


async def without_too_large(
    publish: Callable[[Sequence[T]], Awaitable[None]], items: Sequence[T], left_out: Callable[[T, TooLarge], None]
) -> None:
    """Publishes the items, each of which is a record or has one, in their order; by halves if one of them is too large,
    which `left_out` is told. Raises what else `publish` raises: then any of the items may be on the bus.
    """
    if not items:
        return
    try:
        await publish(items)
    except TooLarge as error:
        if len(items) == 1:
            left_out(items[0], error)
            return
        middle = len(items) // 2
        await without_too_large(publish, items[:middle], left_out)
        await without_too_large(publish, items[middle:], left_out)
