"""What waits in a lane leaves by turns of those whose it is."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.common.lanes.queue import SHARE_MIN, TURN, LaneQueue

PARTIES = st.sampled_from("abcdef")


def queue_of(parties: list[str], capacity: int = 10_000, batch_max: int = 10_000) -> LaneQueue[tuple[str, int], Any]:
    queue: LaneQueue[tuple[str, int], Any] = LaneQueue(capacity, batch_max, lambda item: item[0])
    for number, party in enumerate(parties):
        offer(queue, party, number)
    return queue


def offer(queue: LaneQueue[tuple[str, int], Any], party: str, number: int) -> bool:
    if not queue.count_in(party):
        return False
    queue.waiting.append(((party, number), lambda _: None, float(number)))
    return True


@given(st.lists(PARTIES, min_size=1, max_size=60), st.data())
def test_a_batch_has_as_many_of_each_as_of_the_others(parties: list[str], data: st.DataObject) -> None:
    queue = queue_of(parties)
    seen: list[tuple[str, int]] = []
    while queue.waiting:
        waited = Counter(entry[0][0] for entry in queue.waiting)
        oldest = queue.waiting[0][0]
        count = data.draw(st.integers(1, len(queue.waiting)))
        taken = [entry[0] for entry in queue.take(count)]
        assert len(taken) == count
        assert taken == sorted(taken, key=lambda item: item[1]), "in the order in which they came"
        assert oldest in taken, "whoever waits longest is in every batch"
        got = Counter(party for party, _ in taken)
        for party in waited:
            for other in waited:
                assert got[party] >= min(waited[party], got[other] - TURN)
        assert queue.parties == Counter(entry[0][0] for entry in queue.waiting)
        seen += taken
    assert sorted(seen, key=lambda item: item[1]) == [(party, number) for number, party in enumerate(parties)]
    for party in set(parties):
        mine = [number for name, number in seen if name == party]
        assert mine == sorted(mine), "one party keeps its order"


@given(
    st.lists(st.tuples(PARTIES, st.integers(1, 30), st.integers(10, 100)), max_size=30),
    st.integers(100, 200),
    st.integers(1, 50),
)
def test_a_party_never_has_more_than_its_share_when_more_waits_than_a_batch_takes(
    offers: list[tuple[str, int, int]], capacity: int, batch_max: int
) -> None:
    queue = queue_of([], capacity, batch_max)
    for party, count, room in offers:
        queue.room = room
        for number in range(count):
            waiting, mine = len(queue.waiting), queue.parties.get(party, 0)
            others = len(queue.parties.keys() - {party})
            accepted = offer(queue, party, number)
            share = room // (others + 2)
            if waiting < min(batch_max, room):
                assert accepted
            elif waiting >= capacity:
                assert not accepted
            else:
                assert accepted == (mine < (max(share, SHARE_MIN) if waiting < room else share))
    assert sum(queue.parties.values()) == len(queue.waiting) <= capacity


@given(st.lists(st.integers(0, 30), min_size=1, max_size=20), st.integers(1, 40), st.booleans())
def test_a_batch_is_light_or_a_single_item(weights: list[int], weight_max: int, first: bool) -> None:
    queue: LaneQueue[int, Any] = LaneQueue(100, 100)
    for weight in weights:
        queue.waiting.append((weight, lambda _: None, 0.0))
    count, left = queue.light(len(weights), lambda weight: weight, weight_max, first=first)
    assert count >= int(first)
    total = sum(weights[:count])
    assert total <= weight_max or (first and count == 1)
    assert count == len(weights) or total + weights[count] > weight_max
    if count == len(weights) and total <= weight_max:
        assert left == weight_max - total
