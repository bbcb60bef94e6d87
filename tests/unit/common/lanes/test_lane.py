"""Lanes: batches, order, refusal, draining, cancellation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest

from services.common.lanes.lane import Lanes
from services.common.lanes.pacing import ROOM_MIN, TURN_MAX_S
from services.common.lanes.queue import SHARE_MIN
from tidings_protocol.errors import Internal, NotFound, Overloaded, TidingsError, Unavailable


class Desk:
    """A handler that notes its batches and can be held."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.begun = asyncio.Event()
        self.fail: BaseException | None = None

    async def handle(self, batch: list[str]) -> Sequence[str | TidingsError]:
        self.batches.append(batch)
        self.begun.set()
        await self.open.wait()
        if self.fail is not None:
            raise self.fail
        return [item.upper() for item in batch]


class Notes:
    """Outcomes in the order in which they came."""

    def __init__(self) -> None:
        self.outcomes: list[str | TidingsError] = []

    def __call__(self, outcome: str | TidingsError) -> None:
        self.outcomes.append(outcome)


def lanes_of(desk: Desk, *, lanes: int = 1, capacity: int = 8, batch_max: int = 100) -> Lanes[str, str]:
    return Lanes("test", desk.handle, lanes=lanes, capacity=capacity, batch_max=batch_max)


async def test_a_submitted_item_comes_back_with_its_outcome() -> None:
    desk = Desk()
    async with lanes_of(desk) as lanes:
        assert await lanes.submit(0, "a") == "A"


async def test_what_waits_while_a_batch_is_in_flight_becomes_the_next_batch() -> None:
    desk, notes = Desk(), Notes()
    desk.open.clear()
    async with lanes_of(desk) as lanes:
        lanes.offer(0, "a", notes)
        await desk.begun.wait()
        for item in "bcd":
            lanes.offer(0, item, notes)
        assert lanes.depth == 3
        desk.open.set()
    assert desk.batches == [["a"], ["b", "c", "d"]]
    assert notes.outcomes == ["A", "B", "C", "D"]


class Gates:
    """A handler whose batches end when they are told to, by their first item."""

    def __init__(self) -> None:
        self.under_way: dict[str, asyncio.Future[None]] = {}
        self.batches: list[str] = []

    async def handle(self, batch: list[str]) -> Sequence[str]:
        self.batches.append("".join(batch))
        end = self.under_way[batch[0]] = asyncio.get_running_loop().create_future()
        await end
        return batch

    def lanes(self, *, overlap_min: int = 3, batch_max: int = 6) -> Lanes[str, str]:
        return Lanes("test", self.handle, lanes=3, capacity=20, batch_max=batch_max, overlap_min=overlap_min)

    async def end(self, first: str) -> None:
        self.under_way.pop(first).set_result(None)
        await turn()

    async def end_all(self) -> None:
        while self.under_way:
            await self.end(next(iter(self.under_way)))


async def offer_all(lanes: Lanes[str, str], key: int, items: str) -> None:
    for item in items:
        lanes.offer(key, item, Notes())
    await turn()


async def test_small_batches_of_several_lanes_go_as_one() -> None:
    gates = Gates()
    async with gates.lanes() as lanes:
        await offer_all(lanes, 0, "a")
        await offer_all(lanes, 1, "b")
        await offer_all(lanes, 2, "cd")
        assert gates.batches == ["a"], "what is not worth a batch of its own waits for the one under way"
        await gates.end("a")
        assert gates.batches == ["a", "bcd"]
        await gates.end("b")


async def test_a_large_batch_begins_beside_another() -> None:
    gates = Gates()
    async with gates.lanes() as lanes:
        await offer_all(lanes, 0, "a")
        await offer_all(lanes, 0, "bcd")
        assert gates.batches == ["a"], "a lane has one batch under way"
        await offer_all(lanes, 1, "efg")
        assert gates.batches == ["a", "efg"]
        await gates.end("e")
        assert gates.batches == ["a", "efg"]
        await gates.end("a")
        assert gates.batches == ["a", "efg", "bcd"]
        await gates.end("b")


async def test_two_large_batches_begin_together() -> None:
    gates = Gates()
    async with gates.lanes() as lanes:
        await offer_all(lanes, 0, "a")
        await offer_all(lanes, 0, "bcd")
        await offer_all(lanes, 2, "e")
        lanes.offer(1, "f", Notes())
        lanes.offer(1, "g", Notes())
        await gates.end("a")
        assert gates.batches == ["a", "bcdefg"], "one large one takes the small ones along"
        for key, items in ((0, "hij"), (1, "klm"), (2, "n")):
            await offer_all(lanes, key, items)
        await gates.end("b")
        assert gates.batches[2:] == ["hij", "klm"], "two large ones go apart"
        await gates.end_all()


async def test_a_lane_with_little_is_not_kept_waiting_by_those_with_much() -> None:
    gates = Gates()
    async with gates.lanes() as lanes:
        await offer_all(lanes, 0, "abc")
        await offer_all(lanes, 1, "d")
        await offer_all(lanes, 2, "efg")
        assert gates.batches == ["abc"], "the small one is next"
        await offer_all(lanes, 0, "hijklm")
        await gates.end("a")
        assert gates.batches == ["abc", "defghi"]
        await gates.end_all()


async def test_lanes_with_items_are_emptied_when_they_are_left() -> None:
    gates = Gates()
    lanes = gates.lanes()
    await lanes.__aenter__()
    await offer_all(lanes, 0, "a")
    await offer_all(lanes, 1, "b")
    await offer_all(lanes, 2, "cde")
    leaving = asyncio.create_task(lanes.__aexit__(None, None, None))
    await turn()
    while not leaving.done():
        await gates.end_all()
        await turn()
    assert sorted("".join(gates.batches)) == list("abcde")


async def test_what_is_offered_in_one_go_is_one_batch() -> None:
    desk, notes = Desk(), Notes()
    async with lanes_of(desk) as lanes:
        for item in "abc":
            lanes.offer(0, item, notes)
    assert desk.batches == [["a", "b", "c"]]


async def test_a_lane_that_gathers_begins_at_once_and_then_waits_for_company() -> None:
    desk, notes = Desk(), Notes()
    async with Lanes("test", desk.handle, lanes=1, capacity=8, batch_max=5, gather_s=0.02, now=lambda: 0.0) as lanes:
        assert await lanes.submit(0, "a") == "A"
        for item in "bcd":
            lanes.offer(0, item, notes)
            await asyncio.sleep(0)
        assert desk.batches == [["a"]]
        assert await lanes.submit(0, "e") == "E"
        assert desk.batches == [["a"], ["b", "c", "d", "e"]]
        for item in "fghij":
            lanes.offer(0, item, notes)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert desk.batches[2:] == [list("fghij")], "a full batch waits for nothing"


async def test_a_batch_has_at_most_batch_max_items() -> None:
    desk, notes = Desk(), Notes()
    async with lanes_of(desk, batch_max=3) as lanes:
        for item in "abcdefgh":
            lanes.offer(0, item, notes)
    assert desk.batches == [["a", "b", "c"], ["d", "e", "f"], ["g", "h"]]
    assert notes.outcomes == list("ABCDEFGH")


async def test_a_full_lane_refuses_at_once_and_says_when_to_try_again() -> None:
    desk, notes = Desk(), Notes()
    desk.open.clear()
    async with lanes_of(desk, lanes=2, capacity=2) as lanes:
        lanes.offer(0, "a", notes)
        await desk.begun.wait()
        lanes.offer(0, "b", notes)
        lanes.offer(0, "c", notes)
        with pytest.raises(Overloaded) as refused:
            lanes.offer(2, "d", notes)
        assert refused.value.retry_after_ms > 0
        assert lanes.capacity == 4
        lanes.offer(1, "e", notes)
        desk.open.set()
    assert sorted(str(outcome) for outcome in notes.outcomes) == ["A", "B", "C", "E"]


async def test_the_retry_time_follows_the_pace_of_the_lane() -> None:
    clock, gate = [0.0], asyncio.Semaphore(1)

    async def handle(batch: list[str]) -> Sequence[str]:
        await gate.acquire()
        clock[0] += 0.2
        return batch

    async with Lanes("test", handle, lanes=1, capacity=10, batch_max=1, now=lambda: clock[0]) as lanes:
        await lanes.submit(0, "a")
        for _ in range(10):
            lanes.offer(0, "b", Notes())
        with pytest.raises(Overloaded) as refused:
            lanes.offer(0, "c", Notes())
        assert refused.value.retry_after_ms == 2000
        for _ in range(10):
            gate.release()


class Pace:
    """A handler that takes so many seconds of its own clock for each item; each batch waits to be let through."""

    def __init__(self, item_s: float) -> None:
        self.item_s = item_s
        self.now = 0.0
        self.gate = asyncio.Semaphore(0)

    async def handle(self, batch: list[str]) -> Sequence[str]:
        await self.gate.acquire()
        self.now += self.item_s * len(batch)
        return batch

    def lanes(self, *, answer_s: float | None, lanes: int = 1, overlap_min: int = 1) -> Lanes[str, str]:
        return Lanes(
            "test",
            self.handle,
            lanes=lanes,
            capacity=1000,
            batch_max=1000,
            overlap_min=overlap_min,
            answer_s=answer_s,
            now=lambda: self.now,
        )


def offered(lanes: Lanes[str, str], count: int, key: int = 0) -> int:
    """How many of them were accepted."""
    for number in range(count):
        try:
            lanes.offer(key, "a", Notes())
        except Overloaded:
            return number
    return count


def refusal_ms(lanes: Lanes[str, str]) -> int:
    """When the lane says that one more should come back."""
    with pytest.raises(Overloaded) as refused:
        lanes.offer(0, "a", Notes())
    return refused.value.retry_after_ms


async def turn() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


async def after_batches(pace: Pace, lanes: Lanes[str, str], *counts: int) -> None:
    """These batches are done, one after the other, and one more item is under way."""
    for count in counts:
        offered(lanes, count)
        await turn()
        pace.gate.release()
        await turn()
    lanes.offer(0, "a", Notes())
    await turn()


async def test_a_lane_accepts_no_more_than_it_answers_in_time_at_its_pace() -> None:
    pace = Pace(0.002)
    async with pace.lanes(answer_s=1.0) as lanes:
        await after_batches(pace, lanes, 100, 100)
        assert offered(lanes, 1000) == 250
        pace.gate.release()
        pace.gate.release()


async def test_one_batch_that_had_to_wait_refuses_nothing() -> None:
    pace = Pace(0.1)
    async with pace.lanes(answer_s=1.0) as lanes:
        await after_batches(pace, lanes, 100)
        assert offered(lanes, 1001) == 1000
        pace.gate.release()
        pace.gate.release()


async def test_lanes_that_go_as_one_batch_share_the_room_that_its_pace_gives() -> None:
    pace = Pace(0.002)
    async with pace.lanes(answer_s=1.0, lanes=2, overlap_min=1000) as lanes:
        lanes.offer(0, "a", Notes())
        await turn()
        for _ in range(2):
            offered(lanes, 99)
            lanes.offer(1, "b", Notes())
            pace.gate.release()
            await turn()
        pace.gate.release()
        await turn()
        lanes.offer(0, "a", Notes())
        await turn()
        assert (offered(lanes, 1000), offered(lanes, 1000, key=1)) == (125, 125), "also of the one with a single item"
        pace.gate.release()
        pace.gate.release()


async def test_the_refusal_of_a_lane_that_would_be_late_says_how_long_its_queue_takes() -> None:
    pace = Pace(0.002)
    async with pace.lanes(answer_s=1.0) as lanes:
        await after_batches(pace, lanes, 100, 100)
        offered(lanes, 250)
        assert refusal_ms(lanes) == 500
        pace.gate.release()
        pace.gate.release()


async def test_those_refused_are_told_to_come_back_one_after_the_other() -> None:
    pace = Pace(0.01)
    async with pace.lanes(answer_s=1.0) as lanes:
        await after_batches(pace, lanes, 100, 100)
        offered(lanes, 50)
        assert [refusal_ms(lanes) for _ in range(3)] == [500, 510, 520]
        assert [refusal_ms(lanes) for _ in range(500)][-1] == TURN_MAX_S * 1000
        pace.now = 100.0
        assert refusal_ms(lanes) == 500, "turns that have passed are forgotten"
        pace.gate.release()
        pace.gate.release()


async def test_a_few_items_always_fit_however_slow_the_lane_is() -> None:
    pace = Pace(1.0)
    async with pace.lanes(answer_s=1.0) as lanes:
        await after_batches(pace, lanes, 100, 100)
        assert offered(lanes, 1000) == ROOM_MIN
        pace.gate.release()
        pace.gate.release()


async def test_a_small_batch_that_is_slow_refuses_nothing() -> None:
    pace = Pace(1.0)
    async with pace.lanes(answer_s=1.0) as lanes:
        await after_batches(pace, lanes, 100, ROOM_MIN // 2 - 1)
        assert offered(lanes, 1001) == 1000
        pace.gate.release()
        pace.gate.release()


async def test_a_lane_without_a_time_to_answer_accepts_up_to_its_capacity() -> None:
    pace = Pace(1.0)
    async with pace.lanes(answer_s=None) as lanes:
        await after_batches(pace, lanes, 100, 100)
        assert offered(lanes, 1001) == 1000
        pace.gate.release()
        pace.gate.release()


async def test_a_lane_that_is_held_does_not_hold_another() -> None:
    held, desk = asyncio.Event(), Desk()

    async def handle(batch: list[str]) -> Sequence[str | TidingsError]:
        if batch == ["held"]:
            await held.wait()
        return await desk.handle(batch)

    async with Lanes("test", handle, lanes=2, capacity=8, batch_max=100) as lanes:
        lanes.offer(0, "held", Notes())
        assert await lanes.submit(1, "b") == "B"
        held.set()


async def test_leaving_handles_what_was_accepted_and_refuses_what_is_new() -> None:
    desk, notes = Desk(), Notes()
    lanes = lanes_of(desk, batch_max=1)
    with pytest.raises(Unavailable):
        lanes.offer(0, "early", notes)
    async with lanes:
        for item in "abc":
            lanes.offer(0, item, notes)
    assert notes.outcomes == ["A", "B", "C"]
    with pytest.raises(Unavailable):
        lanes.offer(0, "late", notes)


async def test_cancellation_gives_every_accepted_item_an_error() -> None:
    desk, notes = Desk(), Notes()
    desk.open.clear()
    lanes = lanes_of(desk, lanes=2, batch_max=1)

    async def serve() -> None:
        async with lanes:
            for key in range(6):
                lanes.offer(key, f"i{key}", notes)
            await asyncio.Event().wait()

    task = asyncio.create_task(serve())
    await desk.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(notes.outcomes) == 6
    assert all(isinstance(outcome, Unavailable) for outcome in notes.outcomes)
    assert lanes.depth == 0


async def test_cancellation_before_a_worker_has_begun_gives_an_error_too() -> None:
    desk, notes = Desk(), Notes()

    async def serve() -> None:
        async with lanes_of(desk) as lanes:
            lanes.offer(0, "a", notes)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await serve()
    assert desk.batches == []
    assert [type(outcome) for outcome in notes.outcomes] == [Unavailable]


async def test_cancellation_while_draining_gives_the_rest_its_error() -> None:
    desk, notes = Desk(), Notes()
    desk.open.clear()

    async def serve() -> None:
        async with lanes_of(desk, batch_max=1) as lanes:
            lanes.offer(0, "a", notes)
            lanes.offer(0, "b", notes)

    task = asyncio.create_task(serve())
    await desk.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [type(outcome) for outcome in notes.outcomes] == [Unavailable, Unavailable]


async def test_an_error_of_the_handler_reaches_each_item_and_the_lane_goes_on() -> None:
    desk, notes = Desk(), Notes()
    desk.fail = NotFound("nothing here: look elsewhere")
    async with lanes_of(desk) as lanes:
        lanes.offer(0, "a", notes)
        with pytest.raises(NotFound, match="look elsewhere"):
            await lanes.submit(0, "b")
        desk.fail = None
        assert await lanes.submit(0, "c") == "C"
    assert [type(outcome) for outcome in notes.outcomes] == [NotFound]


async def test_a_defect_of_the_handler_becomes_internal_without_its_details() -> None:
    desk = Desk()
    desk.fail = RuntimeError("secret detail")
    async with lanes_of(desk) as lanes:
        with pytest.raises(Internal) as refused:
            await lanes.submit(0, "a")
        assert "secret" not in refused.value.message
        desk.fail = None
        assert await lanes.submit(0, "b") == "B"


async def test_something_cancelled_within_the_handler_does_not_end_the_lane() -> None:
    desk = Desk()
    desk.fail = asyncio.CancelledError()
    async with lanes_of(desk) as lanes:
        with pytest.raises(Unavailable):
            await lanes.submit(0, "a")
        desk.fail = None
        assert await lanes.submit(0, "b") == "B"


async def test_an_item_may_be_refused_by_itself() -> None:
    async def handle(batch: list[str]) -> Sequence[str | TidingsError]:
        return [NotFound("no") if item == "b" else item for item in batch]

    notes = Notes()
    async with Lanes("test", handle, lanes=1, capacity=8, batch_max=8) as lanes:
        for item in "abc":
            lanes.offer(0, item, notes)
    assert notes.outcomes[0] == "a"
    assert isinstance(notes.outcomes[1], NotFound)
    assert notes.outcomes[2] == "c"


async def test_outcomes_that_do_not_match_the_batch_are_a_defect() -> None:
    async def handle(batch: list[str]) -> Sequence[str | TidingsError]:
        return batch[:-1]

    async with Lanes("test", handle, lanes=1, capacity=8, batch_max=8) as lanes:
        with pytest.raises(Internal):
            await lanes.submit(0, "a")


async def test_a_callback_that_fails_does_not_keep_its_neighbours_from_theirs() -> None:
    def broken(outcome: str | TidingsError) -> None:
        raise RuntimeError

    desk, notes = Desk(), Notes()
    async with lanes_of(desk) as lanes:
        lanes.offer(0, "a", notes)
        lanes.offer(0, "b", broken)
        lanes.offer(0, "c", notes)
    assert notes.outcomes == ["A", "C"]


async def test_an_item_is_handled_although_its_submitter_was_cancelled() -> None:
    desk = Desk()
    desk.open.clear()
    async with lanes_of(desk) as lanes:
        task = asyncio.create_task(lanes.submit(0, "a"))
        await desk.begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        desk.open.set()
    assert desk.batches == [["a"]]


async def test_a_callback_may_offer_again() -> None:
    desk, notes = Desk(), Notes()
    async with lanes_of(desk) as lanes:
        lanes.offer(0, "a", lambda _: lanes.offer(0, "b", notes))
        assert await lanes.submit(0, "c") == "C"
        assert await lanes.submit(0, "d") == "D"
    assert notes.outcomes == ["B"]


async def test_what_nobody_wants_any_more_is_not_begun_and_told_so() -> None:
    desk, notes, gone = Desk(), Notes(), {"b"}
    desk.open.clear()
    async with Lanes(
        "test", desk.handle, lanes=1, capacity=8, batch_max=8, wanted=lambda item: item not in gone
    ) as lanes:
        lanes.offer(0, "a", notes)
        await desk.begun.wait()
        for item in ("b", "c", "d"):
            lanes.offer(0, item, notes)
        gone.add("d")
        desk.open.set()
    assert desk.batches == [["a"], ["c"]]
    assert notes.outcomes[0] == "A"
    assert notes.outcomes[3] == "C"
    refused = notes.outcomes[1:3]
    assert all(isinstance(outcome, Unavailable) and "is gone" in outcome.message for outcome in refused)


async def test_a_lane_goes_on_behind_a_batch_that_nobody_wants() -> None:
    desk, notes = Desk(), Notes()
    async with Lanes("test", desk.handle, lanes=2, capacity=8, batch_max=1, wanted=lambda item: item != "a") as lanes:
        lanes.offer(0, "a", notes)
        lanes.offer(0, "b", notes)
        lanes.offer(1, "a", notes)
    assert desk.batches == [["b"]]
    assert len(notes.outcomes) == 3


@pytest.mark.parametrize(("lanes", "capacity", "batch_max"), [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_sizes_below_one_are_refused(lanes: int, capacity: int, batch_max: int) -> None:
    async def handle(batch: list[str]) -> Sequence[str]:
        return batch

    with pytest.raises(ValueError, match="must be 1 or more"):
        Lanes("test", handle, lanes=lanes, capacity=capacity, batch_max=batch_max)


async def test_an_item_costs_little() -> None:
    async def handle(batch: list[int]) -> Sequence[int]:
        return batch

    def done(outcome: int | TidingsError) -> None:
        return

    costs = []
    for _ in range(5):
        before = time.process_time()
        async with Lanes("test", handle, lanes=4, capacity=20_000, batch_max=256) as lanes:
            for key in range(20_000):
                lanes.offer(key, key, done)
        costs.append((time.process_time() - before) / 20_000)
    assert min(costs) < 3e-6


async def test_a_defect_with_one_item_is_not_the_fate_of_its_batch() -> None:
    async def handle(batch: list[str]) -> Sequence[str]:
        if "x" in batch:
            raise ValueError(batch)
        return [item.upper() for item in batch]

    notes = Notes()
    async with Lanes("test", handle, lanes=1, capacity=8, batch_max=8) as lanes:
        for item in "abxcd":
            lanes.offer(0, item, notes)
    assert [each.code if isinstance(each, TidingsError) else each for each in notes.outcomes] == [
        *"AB",
        "INTERNAL",
        *"CD",
    ]


class Crowd:
    """A handler that is held, and lanes whose items are `user.number`."""

    def __init__(self, *, capacity: int = 100, batch_max: int = 10) -> None:
        self.desk = Desk()
        self.notes: dict[str, Notes] = {}
        self.lanes: Lanes[str, str] = Lanes(
            "test", self.desk.handle, lanes=1, capacity=capacity, batch_max=batch_max, party=lambda item: item[0]
        )

    def offer(self, user: str, count: int, first: int = 0) -> int:
        """How many were accepted."""
        accepted = 0
        for number in range(first, first + count):
            try:
                self.lanes.offer(0, f"{user}{number}", self.notes.setdefault(user, Notes()))
                accepted += 1
            except Overloaded:
                pass
        return accepted

    async def busy(self) -> None:
        """A batch is under way."""
        self.desk.open.clear()
        self.offer("z", 1)
        await self.desk.begun.wait()


async def test_one_user_leaves_room_for_the_others() -> None:
    crowd = Crowd()
    async with crowd.lanes:
        await crowd.busy()
        assert crowd.offer("a", 1000) == 50, "half of the room is for whoever comes"
        assert crowd.offer("b", 1000) == 33
        assert crowd.offer("c", 5) == 5
        assert crowd.lanes.depth == 88
        crowd.desk.open.set()


async def test_who_has_little_is_taken_also_when_the_room_became_smaller_under_the_others() -> None:
    crowd = Crowd()
    async with crowd.lanes:
        await crowd.busy()
        assert crowd.offer("a", 1000) == 50
        crowd.lanes._lanes[0].room = 32
        assert crowd.offer("a", 10) == 0
        assert crowd.offer("b", 3) == 3
        crowd.desk.open.set()


async def test_while_all_that_waits_is_one_batch_nobody_is_counted() -> None:
    crowd = Crowd(capacity=20, batch_max=20)
    async with crowd.lanes:
        await crowd.busy()
        assert crowd.offer("a", 30) == 20
        crowd.desk.open.set()
    assert len(crowd.desk.batches[1]) == 20


async def test_a_few_are_always_taken_while_there_is_room() -> None:
    crowd = Crowd(capacity=500, batch_max=10)
    async with crowd.lanes:
        await crowd.busy()
        for number in range(100):
            crowd.lanes.offer(0, chr(200 + number), Notes())
        assert crowd.offer("a", 20) == SHARE_MIN
        crowd.desk.open.set()


async def test_who_asks_for_little_is_answered_before_the_rest_of_who_asks_for_much() -> None:
    crowd = Crowd()
    async with crowd.lanes:
        await crowd.busy()
        crowd.offer("a", 40)
        crowd.offer("b", 2)
        crowd.offer("c", 1)
        crowd.desk.open.set()
        while crowd.lanes.depth:
            await turn()
    assert crowd.desk.batches[1] == [*(f"a{n}" for n in range(7)), "b0", "b1", "c0"]
    assert [item for batch in crowd.desk.batches for item in batch if item[0] == "a"] == [f"a{n}" for n in range(40)]


async def test_a_batch_is_no_heavier_than_it_may_be() -> None:
    desk, notes = Desk(), Notes()
    weights = {"a": 1, "b": 5, "c": 4, "d": 30, "e": 2, "f": 9, "g": 0}
    async with Lanes(
        "test", desk.handle, lanes=1, capacity=9, batch_max=9, weigh=weights.__getitem__, weight_max=10
    ) as lanes:
        for item in weights:
            lanes.offer(0, item, notes)
    assert desk.batches == [["a", "b", "c"], ["d"], ["e"], ["f", "g"]]
    assert notes.outcomes == [*"ABCDEFG"]


async def test_an_item_whose_outcome_nobody_wants_is_handled_all_the_same() -> None:
    handled: list[int] = []

    async def handle(items: list[int]) -> list[None]:
        handled.extend(items)
        return [None] * len(items)

    async with Lanes("test", handle, lanes=1, capacity=10, batch_max=10) as lanes:
        lanes.offer(0, 1)
        lanes.offer(0, 2)
    assert handled == [1, 2]


class Told:
    """Batches and their outcomes, as they are told."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[str, object]]] = []

    def __call__(self, items: Sequence[str], outcomes: Sequence[str | TidingsError]) -> None:
        shown = [each.code if isinstance(each, TidingsError) else each for each in outcomes]
        self.batches.append(list(zip(items, shown, strict=True)))


async def test_whoever_is_told_batches_gets_each_with_all_its_outcomes() -> None:
    desk, told, notes = Desk(), Told(), Notes()
    async with Lanes("test", desk.handle, lanes=1, capacity=8, batch_max=2, told=told) as lanes:
        for item in "abc":
            lanes.offer(0, item)
        lanes.offer(0, "d", notes)
    assert told.batches == [[("a", "A"), ("b", "B")], [("c", "C"), ("d", "D")]]
    assert notes.outcomes == ["D"]


async def test_a_batch_that_fails_or_is_cancelled_is_told_its_error() -> None:
    desk, told = Desk(), Told()
    desk.fail = Unavailable("away")
    async with Lanes("test", desk.handle, lanes=1, capacity=8, batch_max=2, told=told) as lanes:
        lanes.offer(0, "a")
    desk.fail = None
    desk.open.clear()
    desk.begun.clear()

    async def fail() -> None:
        async with Lanes("test", desk.handle, lanes=1, capacity=8, batch_max=1, told=told) as lanes:
            lanes.offer(0, "b")
            await desk.begun.wait()
            lanes.offer(0, "c")
            raise RuntimeError("the node ends")

    with pytest.raises(RuntimeError):
        await fail()
    assert told.batches == [[("a", "UNAVAILABLE")], [("b", "UNAVAILABLE")], [("c", "UNAVAILABLE")]]


async def test_a_defect_in_whoever_is_told_a_batch_does_not_stop_the_lane() -> None:
    desk = Desk()

    def fail(*_: object) -> None:
        raise KeyError("a defect")

    async with Lanes("test", desk.handle, lanes=1, capacity=8, batch_max=1, told=fail) as lanes:
        assert [await lanes.submit(0, item) for item in "ab"] == ["A", "B"]
