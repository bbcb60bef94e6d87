"""A batch is no fate: it is no larger than a call, and what fails it whole becomes the error of the items it is of.

    portions([a, b, c, …]) ──▶ [a, b], [c, …]: each has at most so many bytes, and at most so many items
    handle([a, b, c, d]) fails ──▶ handle([a, b]) answers, handle([c, d]) fails ──▶ c answers, d has its error

Many items are handled as one because that is cheap, and a defect in the handling of one, or one that makes the call
too large, fails all of them. So a batch that fails is handled by halves, until the error stands at the item that it is
of. What says "come again" (Unavailable, Overloaded) is no item's own: something that all of them need is away, so it is
told to all at once, and nothing is tried again.

Guarantees: an outcome for each item, in their order, and items are handled in that order; those that can be handled
are. A size that only the batch had is never told to an item: one that is too large by itself gets Internal, since the
door measures what it lets in. Handling must be harmless to repeat, as all calls between the nodes are.

Cost: nothing but a call while all goes well. One bad item among n costs 2 log2(n) further handlings, of 2n items in
all; n bad ones 2n - 2, and that is the most. A defect is logged once, where it stands at its item.

`portions` measures what goes out: 0.2 µs for a short item (batches of a few are not measured). How large an answer
becomes nobody knows before: one that is too large fails its call, which is then made by halves.

Does not know: what items are, how often the whole may be tried.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from operator import methodcaller
from typing import Any, TypeVar

from services.common.telemetry import logs
from tidings_protocol.errors import Internal, TidingsError, TooLarge

T = TypeVar("T")
R = TypeVar("R")

Handle = Callable[[list[T]], Awaitable[Sequence[R]]]

log = logs.get_logger(__name__)

# Of the items in one call, which carries 16 MiB: what is put around them, and what comes along, needs room.
PORTION_BYTES_MAX = 12 * 1024 * 1024
# Of so few even the largest fit: a content of 512 KiB, and the names of 5,000 recipients.
SURELY_FIT = 8

# The bytes of a message, as it is in a batch.
_encoded_size: Callable[[Any], int] = methodcaller("ByteSize")


async def divided(handle: Handle[T, R], items: list[T], what: str) -> Sequence[R | TidingsError]:
    """What `handle` says of the items, or of its halves. `what`: the batch's name in the log."""
    try:
        outcomes = await handle(items)
        if len(outcomes) == len(items):
            return outcomes
        if len(items) <= 1:
            log.error("outcomes do not match", batch=what, items=len(items), outcomes=len(outcomes))
            return [defect()] * len(items)
    except TidingsError as failure:
        if failure.retryable:
            return [failure] * len(items)
        if len(items) <= 1:
            return [_of_one(failure, what)] * len(items)
    except Exception:  # the edge where a defect becomes an answer
        if len(items) <= 1:
            log.exception("item failed", batch=what)
            return [defect()] * len(items)
    half = len(items) // 2
    return [*await divided(handle, items[:half], what), *await divided(handle, items[half:], what)]


def portions(
    items: list[T],
    count_max: int,
    bytes_max: int = PORTION_BYTES_MAX,
    *,
    surely_fit: int = SURELY_FIT,
    size_of: Callable[[T], int] = _encoded_size,
) -> list[list[T]]:
    """The items in runs, each of which fits into one call; one item that is too large by itself is a run of its own.

    `size_of`: the bytes of an item; without it items are messages.
    """
    if len(items) <= min(surely_fit, count_max):
        return [items]
    runs: list[list[T]] = [[]]
    size = 0
    for item in items:
        item_bytes = size_of(item)
        if runs[-1] and (len(runs[-1]) >= count_max or size + item_bytes > bytes_max):
            runs.append([])
            size = 0
        runs[-1].append(item)
        size += item_bytes
    return runs


def defect() -> TidingsError:
    """What becomes of a request because of a defect."""
    return Internal(
        "this could not be done because of a defect: tell the operator, who finds it in the log of the node"
    )


def _of_one(failure: TidingsError, what: str) -> TidingsError:
    if not isinstance(failure, TooLarge):
        return failure
    log.error("item is larger than a call", batch=what, reason=failure.message)
    return Internal(
        "this is larger than what nodes can tell each other: tell the operator, all nodes need the same limits of sizes"
    )
