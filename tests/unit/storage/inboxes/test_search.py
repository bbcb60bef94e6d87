"""Where an entry of a certain time must be: a binary search, as a value."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.storage.inboxes.search import SLACK_MS, TimeSearch
from services.storage.limits import LOOK_BACK
from services.storage.repository.records import InboxEntry


def found(times: list[int], first: int, wanted: int) -> tuple[int, int]:
    """The place of the entry with this index, and how often was looked."""
    entries = [InboxEntry("bob", first + index, "d:a|b", index + 1, time_ms) for index, time_ms in enumerate(times)]
    seek, looks = TimeSearch("bob", times[wanted], first, first + len(times) - 1), 0
    while (span := seek.probe) is not None:
        looks += 1
        seek.learn([each for each in entries if span.after < each.number < span.before][: span.limit])
    return seek.place, looks


@given(st.lists(st.integers(0, 3 * SLACK_MS), min_size=1, max_size=400), st.integers(1, 10**9), st.data())
def test_the_place_is_not_behind_the_entry_and_not_long_before_it(
    gaps: list[int], first: int, data: st.DataObject
) -> None:
    times = [sum(gaps[: index + 1]) for index in range(len(gaps))]
    wanted = data.draw(st.integers(0, len(times) - 1))
    place, looks = found(times, first, wanted)
    assert first <= place <= first + wanted
    between = [time_ms for time_ms in times[place - first : wanted] if time_ms < times[wanted] - SLACK_MS]
    assert len(between) <= 16, "but for the last steps, only what is as old may lie before it"
    assert looks <= 10


def test_two_hundred_thousand_entries_take_some_twenty_looks_and_late_ones_among_them_change_nothing() -> None:
    # One a second; every tenth was settled late, and has an old time.
    times = [number * 1000 if number % 10 else 5 for number in range(200_000)]
    seek, looks = TimeSearch("bob", 150_001_000, 1, len(times)), 0
    while (span := seek.probe) is not None:
        looks += 1
        page = [
            InboxEntry("bob", number, "d:a|b", number, times[number - 1])
            for number in range(span.after + 1, span.after + 1 + span.limit)
        ]
        seek.learn(page)
    assert 0 <= 150_002 - seek.place < LOOK_BACK
    assert looks <= 18
