"""Groups in memory: bounded by their members, never behind what is known."""

from __future__ import annotations

from services.logic.groups.cache import GroupCache
from services.logic.groups.model import GroupMember, GroupRole, GroupSnapshot


def group(name: str, *users: str, version: int = 1, large_from: int = 0) -> GroupSnapshot:
    return GroupSnapshot(
        f"g:{name}",
        version,
        {user: GroupMember(user, GroupRole.MEMBER) for user in users},
        len(users),
        large_from=large_from,
    )


def test_what_was_put_is_there_until_it_is_forgotten() -> None:
    cache = GroupCache(100)
    cache.put(group("x", "amy"))
    assert cache.get("g:x") == group("x", "amy")
    cache.forget("g:x")
    cache.forget("g:x")
    assert cache.get("g:x") is None
    assert cache.cost == 0


def test_the_least_recently_used_go_when_the_members_are_too_many() -> None:
    cache = GroupCache(30)
    cache.put(group("x", *"abcdefgh"))
    cache.put(group("y", *"abcdefgh"))
    cache.get("g:x")
    cache.put(group("z", *"abcdefgh"))
    assert cache.get("g:y") is None
    assert cache.get("g:x") is not None
    assert cache.cost <= 30


def test_one_group_larger_than_the_memory_is_kept_alone() -> None:
    cache = GroupCache(4)
    cache.put(group("x", *"abcdefgh"))
    cache.put(group("y", *"abcdefgh"))
    assert len(cache) == 1


def test_an_older_version_does_not_replace_a_newer_one() -> None:
    cache = GroupCache(100)
    cache.put(group("x", "amy", "bob", version=2))
    cache.put(group("x", "amy", version=1))
    found = cache.get("g:x")
    assert found is not None
    assert found.version == 2


def test_a_large_group_collects_the_members_that_were_asked_for() -> None:
    cache = GroupCache(100)
    cache.put(group("x", "amy", large_from=9))
    cache.put(group("x", "bob", large_from=9))
    found = cache.get("g:x")
    assert found is not None
    assert set(found.members) == {"amy", "bob"}


def test_a_large_group_in_a_new_version_begins_anew() -> None:
    cache = GroupCache(100)
    cache.put(group("x", "amy", large_from=9))
    cache.put(group("x", "bob", version=2, large_from=9))
    found = cache.get("g:x")
    assert found is not None
    assert set(found.members) == {"bob"}
