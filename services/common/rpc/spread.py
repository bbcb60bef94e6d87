"""A batch goes to the owners of its items: one part for each owner, all at once, and the outcomes come back aligned.

    items, keys ──▶ slot_of(key) ──▶ owner_of(slot) ──▶ ask(owner, slot, part) ┐
                                                    ──▶ ask(owner, slot, part) ┴──▶ outcomes in the items' order

Guarantees: as many outcomes as items, in their order. The items of one owner, and so of one key, stay in one part and
keep their order. A batch of one owner costs no task. With `in_calls` a part is asked for in calls that a node takes,
one after the other, and an error stands at the item that it is of (dividing.py).

Does not know: what the items mean, how an owner is reached, whether anything is tried again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from services.common.lanes.dividing import Handle, divided
from services.common.scope import run_all
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import slot_of

T = TypeVar("T")
R = TypeVar("R")
Owner = TypeVar("Owner")


async def spread(
    items: Sequence[T],
    keys: Sequence[str],
    owner_of: Callable[[int], Owner],
    ask: Callable[[Owner, int, list[T]], Awaitable[Sequence[R]]],
) -> Sequence[R]:
    """Asks each owner for its part and gives the outcomes in the items' order.

    `keys`: the key of each item, a user or a conversation. `owner_of`: the owner of a slot now, any value that can be
    hashed; None is an owner like others. `ask`: gets the owner, a slot of its part and the part, and gives one outcome
    for each item; one that gives another number is a defect (ValueError).

    Raises the first TidingsError that `ask` raises; the other parts are cancelled then. A cancellation cancels all
    parts: what they had asked for may be done.
    """
    return await spread_by_slot(items, list(map(slot_of, keys)), owner_of, ask)


async def spread_by_slot(
    items: Sequence[T],
    slots: Sequence[int],
    owner_of: Callable[[int], Owner],
    ask: Callable[[Owner, int, list[T]], Awaitable[Sequence[R]]],
) -> Sequence[R]:
    """Does the same for items whose slots are known."""
    parts = _parts(slots, owner_of)
    if len(parts) == 1:
        [(owner, (slot, _))] = parts.items()
        return _counted(await ask(owner, slot, list(items)), len(items))
    outcomes: dict[int, R] = {}

    async def ask_one(owner: Owner, slot: int, places: list[int]) -> None:
        part = await ask(owner, slot, [items[place] for place in places])
        outcomes.update(zip(places, part, strict=True))

    await run_all(*(ask_one(owner, slot, places) for owner, (slot, places) in parts.items()))
    return [outcomes[place] for place in range(len(items))]


async def in_calls(call: Handle[T, R], runs: Sequence[list[T]], what: str) -> Sequence[R | TidingsError]:
    """Makes a call for each run, one after the other so that the items keep their order, and by halves if it fails.

    `runs`: as `portions` (lanes/dividing.py) gives them; `what`: the name of the batch in the log. Raises no
    TidingsError: errors are outcomes.
    """
    if len(runs) == 1:
        return await divided(call, runs[0], what)
    return [outcome for run in runs for outcome in await divided(call, run, what)]


def _parts(slots: Iterable[int], owner_of: Callable[[int], Owner]) -> dict[Owner, tuple[int, list[int]]]:
    """Owner to (a slot of it, the places of its items)."""
    parts: dict[Owner, tuple[int, list[int]]] = {}
    for place, slot in enumerate(slots):
        owner = owner_of(slot)
        part = parts.get(owner)
        if part is None:
            parts[owner] = (slot, [place])
        else:
            part[1].append(place)
    return parts


def _counted(outcomes: Sequence[R], count: int) -> Sequence[R]:
    if len(outcomes) != count:
        raise ValueError(f"there are {len(outcomes)} outcomes of {count} items")
    return outcomes
