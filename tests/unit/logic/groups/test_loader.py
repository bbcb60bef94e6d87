"""Groups for decisions: from memory where that is safe, else from storage, many in one call."""

from __future__ import annotations

import pytest

from services.logic.groups.loader import group_in
from services.logic.groups.needs import Need
from tests.unit.logic.harness import logic
from tidings_protocol.errors import Unavailable


async def test_a_group_is_taken_from_memory_only_for_those_whom_memory_knows_as_members() -> None:
    async with logic() as node:
        node.storage.group("g:x", "olga", "amy")
        _, fresh = await node.loader.known({"g:x": ["amy"]})
        assert fresh == {"g:x"}
        found, fresh = await node.loader.known({"g:x": ["amy", "olga"]})
        assert (fresh, node.storage.count("Load")) == (frozenset(), 1)
        assert set(group_in(found, "g:x").members) == {"olga", "amy"}  # type: ignore[union-attr]
        _, fresh = await node.loader.known({"g:x": ["eve"]})
        assert (fresh, node.storage.count("Load")) == (frozenset({"g:x"}), 2)


async def test_readers_of_many_groups_are_one_call_and_direct_chats_none() -> None:
    async with logic() as node:
        node.storage.group("g:x", "olga")
        node.storage.group("g:y", "olga")
        readers = [("g:x", "amy"), ("g:x", "amy"), ("g:y", "bob"), ("d:amy|bob", "amy"), ("g:none", "amy")]
        found = await node.loader.load_for(readers)
        assert sorted(found) == ["g:none", "g:x", "g:y"]
        assert node.storage.calls == [("Load", 3)]
        assert group_in(found, "g:none") is None
        assert await node.loader.load_for([("b:all", "amy")]) == {}
        assert node.storage.calls == [("Load", 3)]


async def test_a_group_that_is_not_known_raises_why() -> None:
    async with logic() as node:
        node.storage.fail["Load"] = [Unavailable("away")]
        found = await node.loader.load([Need("g:x", ())])
        with pytest.raises(Unavailable):
            group_in(found, "g:x")


async def test_a_group_in_the_version_asked_for_is_not_loaded_again() -> None:
    async with logic() as node:
        there = node.storage.group("g:x", "olga")
        await node.loader.of_version({"g:x": there.record.version})
        await node.loader.of_version({"g:x": there.record.version})
        assert node.storage.count("Load") == 1
        await node.loader.of_version({"g:x": there.record.version + 1})
        await node.loader.of_version({"g:x": 0})
        assert node.storage.count("Load") == 3
        node.loader.forget("g:x")
        assert node.loader.cached == 0
