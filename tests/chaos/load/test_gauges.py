"""What counts as flat memory, and as back at its starting level."""

from __future__ import annotations

from tests.chaos.load.gauges import MIB, SPARE, Counts, Memory, above, grown, highest


def test_the_mean_of_a_stretch_is_of_the_processes_that_lived_through_it() -> None:
    memory = Memory([(1.0, {"a": 10, "b": 1}), (2.0, {"a": 20}), (3.0, {"a": 90, "b": 3})])
    assert memory.mean(1.0, 2.0) == {"a": 15.0}
    assert memory.mean(5.0, 9.0) == {}
    assert memory.peak() == {"a": 90, "b": 3}


def test_memory_that_grows_beyond_the_slack_is_told() -> None:
    before = {"logic-0": 100.0 * MIB, "kafka": 300.0 * MIB, "gone": 1.0 * MIB}
    assert grown(before, {"logic-0": 140.0 * MIB, "kafka": 370.0 * MIB}) == []
    assert grown(before, {"logic-0": 148.0 * MIB, "kafka": 300.0 * MIB}) == ["logic-0 grew from 100 to 148 MiB"]


def test_a_cache_may_fill_up_to_its_own_limit() -> None:
    assert grown({"mongodb": 200.0 * MIB}, {"mongodb": 600.0 * MIB}) == []
    assert grown({"mongodb": 200.0 * MIB}, {"mongodb": 1025.0 * MIB}) != []


def test_a_count_above_its_start_is_told_but_for_what_comes_and_goes() -> None:
    start: dict[str, Counts] = {"access-0": {"sessions": 4, "tasks": 20}}
    assert above(start, {"access-0": {"sessions": 4, "tasks": 20 + SPARE["tasks"]}}) == []
    assert above(start, {"access-0": {"sessions": 5, "tasks": 3}}) == ["access-0: sessions 5, at the start 4"]
    assert above(start, {"access-0": {"tasks": 21 + SPARE["tasks"]}}) != []


def test_a_count_that_was_not_there_at_the_start_counts_from_nothing() -> None:
    assert above({"kafka": {}}, {"kafka": {"consumers": 1}}) == ["kafka: consumers 1, at the start 0"]
    assert above({}, {"access-9": {"sessions": 1}}) == []


def test_a_backend_may_have_the_spare_connections_of_all_its_clients() -> None:
    spare = SPARE["descriptors"]
    start: dict[str, Counts] = {name: {"descriptors": 90} for name in ("mongodb", "kafka", "storage-0", "storage-1")}
    assert above(start, {"mongodb": {"descriptors": 90 + 2 * spare}}) == []
    assert above(start, {"mongodb": {"descriptors": 91 + 2 * spare}}) != []
    assert above(start, {"storage-0": {"descriptors": 91 + spare}}) != []
    assert above(start, {"kafka": {"descriptors": 91 + spare}}) != []


def test_the_level_is_the_most_of_each_count() -> None:
    one: dict[str, Counts] = {"a": {"tasks": 3, "sessions": 9}, "gone": {"tasks": 1}}
    assert highest(one, {"a": {"tasks": 5, "sessions": 2}}) == {"a": {"tasks": 5, "sessions": 9}}
