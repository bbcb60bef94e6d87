"""What holds for every schedule of a set of lanes."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.lanes.lane import Lanes
from tidings_protocol.errors import Internal, Overloaded, TidingsError, Unavailable

Item = tuple[int, int]
# An action: offer to a key, let the loop turn, let the next batch end, or make it fail.
ACTIONS = st.lists(st.one_of(st.integers(0, 6), st.sampled_from(["turn", "finish", "fail"])), max_size=80)


class World:
    """Offers, batches under way, outcomes; no clock."""

    def __init__(self, lanes: int, capacity: int, batch_max: int, overlap_min: int, parties: int = 0) -> None:
        self.parties = parties
        self.lanes: Lanes[Item, Item] = Lanes(
            "property",
            self.handle,
            lanes=lanes,
            capacity=capacity,
            batch_max=batch_max,
            overlap_min=overlap_min,
            party=(lambda item: item[1] % parties) if parties else None,
            now=lambda: 0.0,
        )
        self.overlap_min = min(overlap_min, batch_max, capacity)
        self.capacity, self.batch_max, self.count = capacity, batch_max, lanes
        self.under_way: list[tuple[list[Item], asyncio.Future[None]]] = []
        self.accepted: list[Item] = []
        self.refused = 0
        self.failed: list[set[Item]] = []
        self.handled: dict[tuple[int, int], list[int]] = defaultdict(list)
        self.outcomes: dict[Item, Item | TidingsError] = {}
        self.done_order: dict[tuple[int, int], list[int]] = defaultdict(list)

    async def handle(self, batch: list[Item]) -> Sequence[Item | TidingsError]:
        assert 1 <= len(batch) <= self.batch_max
        mine = {key % self.count for key, _ in batch}
        for items, _ in self.under_way:
            assert not any(key % self.count in mine for key, _ in items), "one batch of a lane at a time"
        if self.under_way and not any(whole.issuperset(batch) for whole in self.failed):
            assert len(mine) == 1, "a batch beside another is of one lane"
            assert len(batch) >= self.overlap_min, "a batch beside another is worth it"
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (batch, end)
        self.under_way.append(entry)
        try:
            await end
        except RuntimeError:
            self.failed.append(set(batch))
            if len(batch) == 1:
                self._note(batch)
            raise
        finally:
            self.under_way.remove(entry)
        self._note(batch)
        return batch

    def _note(self, batch: list[Item]) -> None:
        """These have been handled, for good."""
        for item in batch:
            self.handled[self.line_of(item)].append(item[1])

    def line_of(self, item: Item) -> tuple[int, int]:
        """Whose order is kept: a key's, or a party's within it."""
        return item[0], item[1] % self.parties if self.parties else 0

    def offer(self, key: int, n: int) -> None:
        item = (key, n)

        def done(outcome: Item | TidingsError) -> None:
            assert item not in self.outcomes, "an outcome comes once"
            self.outcomes[item] = outcome
            self.done_order[self.line_of(item)].append(n)

        try:
            self.lanes.offer(key, item, done)
            self.accepted.append(item)
        except Overloaded:
            self.refused += 1

    def end_one(self, *, fail: bool) -> None:
        for _, end in self.under_way:
            if not end.done():
                if fail:
                    end.set_exception(RuntimeError("as asked"))
                else:
                    end.set_result(None)
                return

    async def act(self, actions: Sequence[int | str]) -> None:
        for n, action in enumerate(actions):
            match action:
                case int():
                    self.offer(action, n)
                case "turn":
                    await asyncio.sleep(0)
                case _:
                    self.end_one(fail=action == "fail")
            assert self.lanes.depth <= self.lanes.capacity

    async def finish_all(self) -> None:
        while len(self.outcomes) < len(self.accepted):
            self.end_one(fail=False)
            await asyncio.sleep(0)

    def check(self) -> None:
        assert set(self.outcomes) == set(self.accepted)
        for orders in (self.handled, self.done_order):
            assert all(order == sorted(order) for order in orders.values()), "one key keeps its order"


@settings(max_examples=200, deadline=None)
@given(ACTIONS, st.integers(1, 4), st.integers(1, 12), st.integers(1, 4), st.integers(1, 3), st.integers(0, 4))
async def test_every_accepted_item_gets_one_outcome_in_the_order_of_its_key_and_party(
    actions: Sequence[int | str], lanes: int, capacity: int, batch_max: int, overlap_min: int, parties: int
) -> None:
    world = World(lanes, capacity, batch_max, overlap_min, parties)
    async with world.lanes:
        await world.act(actions)
        await world.finish_all()
    world.check()
    for item, outcome in world.outcomes.items():
        assert outcome == item or isinstance(outcome, Internal)


@settings(max_examples=100, deadline=None)
@given(ACTIONS, st.integers(1, 4), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3))
async def test_cancelling_at_any_point_loses_nothing_silently(
    actions: Sequence[int | str], lanes: int, capacity: int, batch_max: int, overlap_min: int
) -> None:
    world = World(lanes, capacity, batch_max, overlap_min)
    acted = asyncio.Event()

    async def serve() -> None:
        async with world.lanes:
            await world.act(actions)
            acted.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(serve())
    await acted.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    world.check()
    for item, outcome in world.outcomes.items():
        assert outcome == item or isinstance(outcome, Unavailable | Internal)
