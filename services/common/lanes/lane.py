"""Lanes: bounded queues, each with one worker that takes all that waits and handles it as one batch.

    offer ──▶ [ lane 0 ] ──▶ worker ──▶ handle(batch) ──▶ done(outcome) of each item
          ──▶ [ lane 1 ] ──▶ worker ──▶ …                 (key % lanes says which lane)

Guarantees:
- order: items of one key (and of one party, if there are parties) are handled in the order they were offered, and their
  `done` is called in that order;
- one batch of a lane is in flight at a time; what comes meanwhile gathers into the next, so batches grow with the load
  and a quiet lane waits for nothing; with `gather_s`, for what nobody is in a hurry for, a batch also begins no sooner
  than that after the one before;
- as many batches in flight as are worth it: with `overlap_min`, what waits in all lanes goes as one batch while nothing
  is under way, and a batch begins beside another only with that many items. Two small batches cost nearly twice as much
  as one of both, and take longer where they share processors;
- bounds: at most `capacity` items wait in a lane and `batch_max` are in a batch; one more is refused at once with
  Overloaded, which says when the lane will probably have room: those refused get turns one after the other, at the
  lane's pace, so that they do not all come back at once and are refused again;
- answers in time, if `answer_s` is given: a lane whose items would be answered later than that, at the better pace of
  its last two batches, refuses more of them, so that under overload those that are accepted are not late; one batch
  that had to wait for something says nothing about the next. `ROOM_MIN` items always fit (pacing.py);
- nobody takes a lane from the others: with `party`, which says whose an item is, a party may have its share of the room
  as soon as more waits in a lane than a batch takes, and a batch takes from all parties in turn (queue.py);
- no batch is heavier than `weight_max`, by what `weigh` says of each item, if it has more than one;
- what nobody wants any more is not begun: with `wanted`, items of which it says no when their batch is taken get
  Unavailable instead, since whoever asked is gone and may have asked elsewhere by now;
- nothing is lost silently: `done` of every accepted item is called exactly once, with an error if the lanes are
  cancelled (whether the work was done is then unknown, so it says Unavailable) or if `handle` fails;
- whoever answers many items at once is told a whole batch: `told` gets each accepted item exactly once as well, with
  its neighbours and their outcomes, before the `done` of each;
- a batch is no fate: one that fails by a defect is handled again by halves, so that the error stands at the item that
  it is of (dividing.py), and the others have their outcomes;
- leaving `async with lanes` refuses what is new and handles what waits; leaving it with an exception, or being
  cancelled while leaving, gives the rest its error.

Does not know: what the items are, threads (offer from the event loop), retries.

Cost: 0.4 to 0.9 µs an item (measured), with parties 0.2 µs more; a task for each lane, no task or timer for an item.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar, cast

from services.common.lanes.dividing import divided
from services.common.lanes.pacing import is_large, next_batch, next_turn, room_after
from services.common.lanes.queue import Done, LaneQueue, Offered
from services.common.scope import Owned, TaskScope
from services.common.telemetry import logs, metrics
from tidings_protocol.errors import Overloaded, TidingsError, Unavailable

T = TypeVar("T")
R = TypeVar("R")

log = logs.get_logger(__name__)

RETRY_MIN_MS = 50


class Lanes(Owned, Generic[T, R]):
    """A set of lanes. Use it as an async context manager; `handle` gives one outcome for each item, in their order."""

    def __init__(
        self,
        name: str,
        handle: Callable[[list[T]], Awaitable[Sequence[R | TidingsError]]],
        *,
        lanes: int,
        capacity: int,
        batch_max: int,
        overlap_min: int = 1,
        answer_s: float | None = None,
        gather_s: float = 0.0,
        wanted: Callable[[T], bool] | None = None,
        party: Callable[[T], Hashable] | None = None,
        weigh: Callable[[T], int] | None = None,
        weight_max: int = 0,
        told: Callable[[Sequence[T], Sequence[R | TidingsError]], None] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`capacity`: how many items may wait in each lane; `now`: seconds, for metrics, retry times, `answer_s` and
        `gather_s`, which is for a single lane; `wanted`: asked for each item when its batch is taken; `party`: whose an
        item is; `weigh`: how heavy it is; `told`: gets the items of a batch and their outcomes."""
        if lanes < 1 or capacity < 1 or batch_max < 1:
            raise ValueError(f"lanes {name}: lanes, capacity and batch_max must be 1 or more")
        if gather_s and lanes > 1:
            raise ValueError(f"lanes {name}: gather_s is for a single lane")
        if party is not None and weigh is not None:
            raise ValueError(f"lanes {name}: party and weigh are not for the same lanes")
        self.name = name
        self._handle = handle
        self._capacity = capacity
        self._batch_max = batch_max
        self._overlap_min = min(overlap_min, batch_max, capacity)
        self._answer_s = answer_s
        self._gather_s = gather_s
        self._wanted = wanted
        self._party = party
        self._weigh = weigh
        self._weight_max = weight_max
        self._told = told
        self._now = now
        self._lanes: list[LaneQueue[T, R]] = [LaneQueue(capacity, batch_max, party) for _ in range(lanes)]
        self._count = lanes
        self._under_way = 0
        self._waking = 0
        self._idle: list[asyncio.Future[None]] = []
        self._scope = TaskScope(drain=True)
        self._open = False
        self._wait_seconds = metrics.LANE_WAIT_SECONDS.labels(name)
        self._handle_seconds = metrics.LANE_HANDLE_SECONDS.labels(name)
        self._batch = metrics.LANE_BATCH.labels(name)
        self._refused = metrics.LANE_REFUSED.labels(name)
        self._dropped = metrics.LANE_UNWANTED.labels(name)

    @property
    def depth(self) -> int:
        """How many items wait, in all lanes; those in flight not counted."""
        return sum(len(lane.waiting) for lane in self._lanes)

    @property
    def capacity(self) -> int:
        """How many items may wait, in all lanes."""
        return self._capacity * self._count

    def offer(self, key: int, item: T, done: Done[R] | None = None) -> None:
        """Accepts the item; `done` gets its outcome later, never from within this call. None: nobody wants it.

        Raises Overloaded if that lane is full, or its party's share of it, Unavailable if the lanes are not open; the
        item is then not accepted.
        """
        lane = self._lanes[key % self._count]
        if not self._open or (
            len(lane.waiting) >= lane.room if self._party is None else not lane.count_in(self._party(item))
        ):
            raise self._refusal(lane)
        lane.waiting.append((item, done, self._now()))
        if self._idle and not lane.busy:
            nobody = not self._under_way and not self._waking
            if nobody or len(lane.waiting) == self._overlap_min:
                self._wake_one()

    async def submit(self, key: int, item: T) -> R:
        """Accepts the item and waits for its outcome; raises it if it is an error.

        If the caller is cancelled, the item is handled all the same.
        """
        outcome: asyncio.Future[R] = asyncio.get_running_loop().create_future()

        def done(value: R | TidingsError) -> None:
            if outcome.done():
                return
            if isinstance(value, TidingsError):
                outcome.set_exception(value)
            else:
                outcome.set_result(value)

        self.offer(key, item, done)
        return await outcome

    async def submit_all(self, items: Iterable[tuple[int, T]]) -> list[R | TidingsError]:
        """Offers each (key, item) in this order and waits until all have an outcome; aligned with the items. An item
        that its lane refuses has that refusal as its outcome.

        One future for them all, none for an item. If the caller is cancelled, the items are handled all the same.
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
                self.offer(key, item, done_at(index))
            except TidingsError as refusal:
                outcomes[index] = refusal
            else:
                waiting += 1
        if waiting:
            await finished
        return cast("list[R | TidingsError]", outcomes)

    async def _running(self) -> AsyncIterator[None]:
        try:
            async with self._scope:
                for index in range(self._count):
                    self._scope.spawn(self._work(), name=f"lane {self.name}/{index}")
                self._open = True
                metrics.LANE_CAPACITY.labels(self.name).set(self.capacity)
                metrics.LANE_DEPTH.labels(self.name).set_function(lambda: self.depth)
                try:
                    yield
                finally:
                    self._open = False
                    while self._idle:
                        self._wake_one()
        finally:
            metrics.LANE_DEPTH.labels(self.name).set_function(lambda: 0)
            for lane in self._lanes:
                # Also of lanes whose worker was cancelled before its first step.
                self._finish(list(lane.waiting), _cancelled())
                lane.clear()

    def _refusal(self, lane: LaneQueue[T, R]) -> TidingsError:
        if not self._open:
            return Unavailable("this node is stopping: try again, another one will answer")
        self._refused.inc()
        now = self._now()
        lane.promised = next_turn(now, len(lane.waiting), lane.item_s, lane.promised)
        retry_ms = round((lane.promised - now) * 1000)
        return Overloaded("this node has too much to do: try again after the time given", max(retry_ms, RETRY_MIN_MS))

    def _wake_one(self) -> None:
        wake = self._idle.pop()
        if not wake.done():
            self._waking += 1
            wake.set_result(None)

    async def _work(self) -> None:
        not_before = -math.inf
        while True:
            if self._gather_s and self._lanes[0].waiting:
                early_s = not_before - self._now()
                if early_s > 0 and self._open and len(self._lanes[0].waiting) < self._batch_max:
                    await asyncio.sleep(early_s)
                not_before = self._now() + self._gather_s
            taken = next_batch(self._lanes, under_way=self._under_way, overlap_min=self._overlap_min)
            if taken:
                await self._handle_one(taken)
            elif not self._open and not self.depth:
                return
            else:
                wake = asyncio.get_running_loop().create_future()
                self._idle.append(wake)
                await wake
                self._waking -= 1

    async def _handle_one(self, lanes: list[LaneQueue[T, R]]) -> None:
        """One batch, of what waits in these."""
        offered: list[Offered[T, R]] = []
        taken: list[LaneQueue[T, R]] = []
        weight_left = self._weight_max
        for lane in lanes:
            count = min(len(lane.waiting), self._batch_max - len(offered))
            if self._weigh is not None and count:
                count, weight_left = lane.light(count, self._weigh, weight_left, first=not offered)
            if count:
                offered += lane.take(count)
                taken.append(lane)
                lane.busy = True
        if self._wanted is not None:
            offered = self._only_wanted(offered)
            if not offered:
                for lane in taken:
                    lane.busy = False
                return
        self._under_way += 1
        began = self._now()
        self._batch.observe(len(offered))
        self._wait_seconds.observe(max(0.0, began - offered[0][2]))
        try:
            outcomes = await self._outcomes([one[0] for one in offered])
        except BaseException:
            self._finish(offered, _cancelled())
            raise
        finally:
            self._under_way -= 1
            for lane in taken:
                lane.busy = False
        took = max(0.0, self._now() - began)
        self._handle_seconds.observe(took)
        item_s = took / len(offered)
        paced = room_after(len(offered), len(taken), took, answer_s=self._answer_s, capacity=self._capacity)
        for lane in taken:
            lane.item_s, lane.room, lane.paced = item_s, max(paced, lane.paced), paced
        self._tell(offered, outcomes)
        # This worker goes on with one of them; the others have workers of their own.
        others = sum(not lane.busy and is_large(lane, self._overlap_min) for lane in self._lanes) - 1
        for _ in range(min(others if self._open else self._count, len(self._idle))):
            self._wake_one()

    def _only_wanted(self, offered: list[Offered[T, R]]) -> list[Offered[T, R]]:
        """The others are done with."""
        assert self._wanted is not None
        kept: list[Offered[T, R]] = []
        dropped: list[Offered[T, R]] = []
        for one in offered:
            if self._wanted(one[0]):
                kept.append(one)
            else:
                dropped.append(one)
        if dropped:
            self._dropped.inc(len(dropped))
            self._finish(dropped, unwanted())
        return kept

    async def _outcomes(self, items: list[T]) -> Sequence[R | TidingsError]:
        """What `handle` says, or its failure. Raises only if the worker itself is cancelled."""
        try:
            return await divided(self._handle, items, self.name)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Something that `handle` waited for was cancelled, not this worker.
            return [_cancelled()] * len(items)

    def _finish(self, offered: list[Offered[T, R]], error: TidingsError) -> None:
        self._tell(offered, [error] * len(offered))

    def _tell(self, offered: list[Offered[T, R]], outcomes: Sequence[R | TidingsError]) -> None:
        if self._told is not None and offered:
            try:
                self._told([one[0] for one in offered], outcomes)
            except Exception:  # as in `_call`
                log.exception("whoever was told the outcomes of a batch failed at it")
        for (_, done, _), outcome in zip(offered, outcomes, strict=True):
            if done is not None:
                _call(done, outcome)


def _call(done: Done[R], outcome: R | TidingsError) -> None:
    """A callback that fails must not keep its neighbours in the batch from theirs."""
    try:
        done(outcome)
    except Exception:
        log.exception("whoever was told an outcome failed at it")


def unwanted() -> TidingsError:
    """What becomes of a request whose asker is gone."""
    return Unavailable("whoever asked for this is gone, so it was not begun")


def _cancelled() -> TidingsError:
    return Unavailable("this node was stopped while it worked on this: try again, another one will answer")
