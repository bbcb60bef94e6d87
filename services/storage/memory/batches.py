"""Several things at once: items through lanes, with their outcomes in the order of the items, and commands together.

Guarantees: one future for the whole batch, none for an item; an item that its lane refuses has that refusal as its
outcome.
Does not know: what the items are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar, cast

from services.common.lanes.lane import Lanes
from tidings_protocol.errors import TidingsError

T = TypeVar("T")
R = TypeVar("R")


async def through(lanes: Lanes[T, R], items: Iterable[tuple[int, T]]) -> list[R | TidingsError]:
    """Offers (key, item) in this order and returns when all have an outcome.

    If the caller is cancelled, the items are handled all the same.
    """
    outcomes: list[R | TidingsError | None] = []
    waiting = 0
    finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done_at(index: int) -> Callable[[R | TidingsError], None]:
        def done(outcome: R | TidingsError) -> None:
            nonlocal waiting
            outcomes[index] = outcome
            waiting -= 1
            if not waiting and not finished.done():
                finished.set_result(None)

        return done

    for index, (key, item) in enumerate(items):
        outcomes.append(None)
        try:
            lanes.offer(key, item, done_at(index))
        except TidingsError as refusal:
            outcomes[index] = refusal
        else:
            waiting += 1
    if waiting:
        await finished
    return cast("list[R | TidingsError]", outcomes)


async def together(*works: Coroutine[Any, Any, object]) -> None:
    """Runs all at the same time. If one fails the others are cancelled, and its TidingsError is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work, name="together")
    except BaseExceptionGroup as failures:
        refusals, others = failures.split(TidingsError)
        if others is not None or refusals is None:
            raise
        raise refusals.exceptions[0] from None
