"""The cache of an owner."""

from __future__ import annotations

from services.storage.memory.cache import Cache
from tidings_protocol.ids import slot_of


def test_a_cache_forgets_what_was_used_longest_ago_but_nothing_dirty() -> None:
    cache: Cache[str] = Cache(2, lambda _: 1, lambda entry: entry == "dirty")
    cache.put("a", "dirty")
    cache.put("b", "x")
    cache.put("c", "y")
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == ("dirty", None, "y")
    cache.put("d", "dirty")
    cache.put("e", "dirty")
    assert cache.is_over
    assert cache.get("c") is None


def test_a_cache_drops_the_slots_it_is_told() -> None:
    cache: Cache[int] = Cache(10, lambda weight: weight)
    for name in ("a", "b"):
        cache.put(name, 1)
    assert cache.drop_slots({slot_of("a")}) == 1
    assert (cache.peek("a"), cache.peek("b"), cache.weight) == (None, 1, 1)


def test_a_cache_is_bounded_by_what_its_entries_weigh_also_when_they_grow() -> None:
    cache: Cache[list[int]] = Cache(10, len)
    cache.put("a", [1] * 4)
    cache.put("b", [1] * 6)
    assert cache.weight == 10
    grown = cache.get("a")
    assert grown is not None
    grown += [1] * 9
    assert cache.get("a") is grown, "what is used is kept, whatever it weighs"
    assert (cache.weight, len(cache)) == (19, 2)
    cache.put("c", [1])
    assert (cache.weight, len(cache), cache.peek("c")) == (1, 1, [1])
    cache.put("d", [1] * 99)
    assert (len(cache), cache.peek("d")) == (1, [1] * 99), "the one used last stays"
