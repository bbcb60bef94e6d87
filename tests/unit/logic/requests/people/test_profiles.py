"""`profile`, on a real storage node."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1 import delivery_pb2
from tests.unit.logic.harness import Logic
from tests.unit.logic.on_storage import database_of, on_storage
from tidings_protocol import client_pb2
from tidings_protocol.client_pb2 import Profile

Request = client_pb2.ProfileRequest


async def put(node: Logic, user: str, op: str = "", /, **fields: object) -> client_pb2.ServerFrame:
    return await node.ask(user, op=op, profile=Request(set=Profile(**fields)))  # type: ignore[arg-type]


async def get(node: Logic, user: str, *users: str) -> list[Profile]:
    answer = await node.ask(user, profile=Request(get=Request.Get(users=users)))
    assert answer.HasField("profile_list")
    return list(answer.profile_list.profiles)


async def test_a_profile_that_is_set_is_what_others_get_and_watchers_hear_of_it() -> None:
    async with on_storage() as node:
        answer = await put(node, "ann", "op-1", name="Ann", avatar="https://a.example/1.png", attributes={"k": "v"})
        first = Profile(user="ann", name="Ann", avatar="https://a.example/1.png", attributes={"k": "v"}, version=1)
        assert list(answer.profile_list.profiles) == [first]
        assert await get(node, "bob", "cid", "ann", "cid") == [Profile(user="cid"), first]
        await put(node, "ann", "op-2", user="ann", name="Anne", version=1)
        assert await get(node, "bob", "ann") == [Profile(user="ann", name="Anne", version=2)]
    pushes = node.pushes(delivery_pb2.Push.PROFILES)
    told = [client_pb2.ProfileList.FromString(push.body).profiles[0].version for push in pushes]
    assert told == [1, 2]
    assert {push.except_session for push in pushes} == {"ann-session"}


async def test_another_version_than_the_present_one_is_a_conflict() -> None:
    async with on_storage() as node:
        await put(node, "ann", "op-1", name="Ann")
        assert (await put(node, "ann", "op-2", name="Anne", version=2)).error.code == "CONFLICT"
        assert (await put(node, "bob", "op-3", name="Bob", version=1)).error.code == "CONFLICT"
        assert (await put(node, "ann", "op-4", name="Anne", version=1)).profile_list.profiles[0].version == 2
    assert len(node.pushes(delivery_pb2.Push.PROFILES)) == 2


async def test_a_repeated_request_sets_it_once() -> None:
    async with on_storage() as node:
        first = await put(node, "ann", "op", name="Ann")
        assert await put(node, "ann", "op", name="Ann") == first


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"user": "bob", "name": "x"}, "FORBIDDEN"),
        ({"name": "ü" * 129}, "BAD_REQUEST"),
        ({"avatar": "http://a.example/1.png"}, "BAD_REQUEST"),
        ({"avatar": "a-media-id"}, "BAD_REQUEST"),
        ({"attributes": {f"k{n}": "" for n in range(17)}}, "TOO_LARGE"),
        ({"attributes": {"k": "x" * 4096}}, "TOO_LARGE"),
    ],
)
async def test_what_may_not_be_set(fields: dict[str, object], code: str) -> None:
    async with on_storage() as node:
        assert (await put(node, "ann", "op", **fields)).error.code == code
        assert database_of(node).profiles == {}
    assert node.pushes(delivery_pb2.Push.PROFILES) == []


async def test_where_the_backend_sets_profiles_users_do_not() -> None:
    async with on_storage(own_profile=False) as node:
        assert (await put(node, "ann", "op", name="Ann")).error.code == "FORBIDDEN"
        assert await get(node, "ann", "ann") == [Profile(user="ann")]


@pytest.mark.parametrize(
    "request_",
    [Request(), Request(get=Request.Get(users=[f"u{n}" for n in range(101)])), Request(get=Request.Get(users=["a b"]))],
)
async def test_what_may_not_be_asked(request_: Request) -> None:
    async with on_storage() as node:
        assert (await node.ask("ann", profile=request_)).error.code == "BAD_REQUEST"


async def test_one_batch_has_a_reply_for_each() -> None:
    async with on_storage() as node:
        first, second, third, fourth = await node.ask_all(
            ("ann", "", {"profile": Request(get=Request.Get(users=["bob", "ann"]))}),
            ("bob", "op", {"profile": Request(set=Profile(name="Bob"))}),
            ("cid", "", {"profile": Request()}),
            ("dan", "", {"profile": Request(get=Request.Get())}),
        )
        assert [each.name for each in first.profile_list.profiles] == ["Bob", ""]
        assert [each.name for each in second.profile_list.profiles] == ["Bob"]
        assert third.error.code == "BAD_REQUEST"
        assert fourth.HasField("profile_list")
