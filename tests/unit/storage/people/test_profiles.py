"""Profiles: one version after the other, each set once."""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.node import Storage
from services.storage.people.profiles import AT_ONCE
from tests.unit.storage.nodes import World
from tidings_protocol.client_pb2 import Profile
from tidings_protocol.errors import Conflict, TidingsError, Unavailable


async def put(node: Storage, op: str, **fields: object) -> Profile | TidingsError:
    profile = Profile(user="ann", **fields)  # type: ignore[arg-type]
    [outcome] = await node.profiles.put([pb.ProfileItem(profile=profile, op=op)])
    return outcome if isinstance(outcome, TidingsError) else outcome.profile


async def test_a_profile_has_a_version_and_who_has_none_has_version_0() -> None:
    async with World().node() as node:
        assert await node.profiles.profiles(["ann", "bob", "ann"]) == [
            Profile(user="ann"),
            Profile(user="bob"),
            Profile(user="ann"),
        ]
        first = Profile(user="ann", name="Ann", avatar="https://a.example/b", attributes={"k": "v"}, version=1)
        assert await put(node, "op-1", name="Ann", avatar="https://a.example/b", attributes={"k": "v"}) == first
        assert await put(node, "op-2", name="Anne") == Profile(user="ann", name="Anne", version=2)
        assert await node.profiles.profiles(["bob", "ann"]) == [
            Profile(user="bob"),
            Profile(user="ann", name="Anne", version=2),
        ]


async def test_another_version_than_the_one_that_is_expected_is_a_conflict() -> None:
    async with World().node() as node:
        assert isinstance(await put(node, "op-1", name="x", version=1), Conflict)
        await put(node, "op-2", name="Ann")
        assert await put(node, "op-3", name="Anne", version=1) == Profile(user="ann", name="Anne", version=2)
        conflict = await put(node, "op-4", name="Anna", version=1)
        assert isinstance(conflict, Conflict)
        assert "version 2, not 1" in conflict.message
        assert [each.name for each in await node.profiles.profiles(["ann"])] == ["Anne"]


async def test_a_repeat_is_answered_as_the_first_time_also_if_that_answer_was_lost() -> None:
    world = World()
    async with world.node() as node:
        await put(node, "op-1", name="Ann")
        world.database.faults.lose_answers(1)
        assert isinstance(await put(node, "op-2", name="Anne", version=1), Unavailable)
        again = await put(node, "op-2", name="Anne", version=1)
        assert again == Profile(user="ann", name="Anne", version=2)


async def test_each_of_very_many_has_its_outcome() -> None:
    async with World().node() as node:
        items = [pb.ProfileItem(profile=Profile(user=f"u{n}"), op="op") for n in range(2 * AT_ONCE + 1)]
        outcomes = await node.profiles.put(items)
        assert [each.profile.user for each in outcomes if not isinstance(each, TidingsError)] == [
            item.profile.user for item in items
        ]
