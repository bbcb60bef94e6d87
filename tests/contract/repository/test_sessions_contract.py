"""What every repository of sessions and users promises."""

from __future__ import annotations

import asyncio

from services.storage.repository.contract import Repository
from services.storage.repository.records import (
    Acknowledged,
    ReplacedSession,
    SessionDocument,
    SessionKey,
    SessionPut,
    UserDocument,
)


def session(
    name: str, device: str = "phone", user: str = "ann", boot: str = "boot-1", since: int = 10
) -> SessionDocument:
    replaced = (ReplacedSession("s0", "access-9", "boot-0"), ReplacedSession("r0", "access-8", "boot-9"))
    return SessionDocument(
        user, device, name, 2, "access-0", boot, since, "app/1", replaced, attempt=2**63 - 1, address="2001:db8::7"
    )


async def test_a_session_takes_the_place_that_it_expects(repository: Repository) -> None:
    assert await repository.sessions.put(
        [SessionPut(session("s1"), ""), SessionPut(session("t1", "web page"), "")]
    ) == [
        True,
        True,
    ]
    assert await repository.sessions.put(
        [SessionPut(session("s2"), "s1"), SessionPut(session("t2", "web page"), "?")]
    ) == [
        True,
        False,
    ]
    assert await repository.sessions.put([SessionPut(session("s3"), "")]) == [False]
    found = await repository.sessions.of_users(["ann", "bob"])
    assert list(found) == ["ann"]
    assert sorted(found["ann"], key=lambda each: each.device) == [session("s2"), session("t1", "web page")]


async def test_of_two_sessions_that_expect_the_same_place_one_wins(repository: Repository) -> None:
    done = await asyncio.gather(*(repository.sessions.put([SessionPut(session(name), "")]) for name in ("x", "y")))
    assert sorted(done) == [[False], [True]]
    done = await asyncio.gather(*(repository.sessions.put([SessionPut(session(name), "?")]) for name in ("v", "w")))
    assert done == [[False], [False]]


async def test_a_session_that_is_in_already_is_in(repository: Repository) -> None:
    await repository.sessions.put([SessionPut(session("s1"), "")])
    assert await repository.sessions.put([SessionPut(session("s1"), "")]) == [True]


async def test_only_the_session_that_is_named_is_removed(repository: Repository) -> None:
    await repository.sessions.put([SessionPut(session("s1"), ""), SessionPut(session("t1", "web"), "")])
    await repository.sessions.remove([SessionKey("ann", "phone", "old"), SessionKey("ann", "web", "t1")])
    assert await repository.sessions.of_users(["ann"]) == {"ann": [session("s1")]}


async def test_a_session_without_anything_optional_comes_back_as_it_was(repository: Repository) -> None:
    bare = SessionDocument("ann", "phone", "s1")
    await repository.sessions.put([SessionPut(bare, "")])
    assert await repository.sessions.of_users(["ann"]) == {"ann": [bare]}


async def test_the_sessions_of_a_boot_are_found_by_pages(repository: Repository) -> None:
    mine = [
        session(f"s{n}", device, user)
        for n, (user, device) in enumerate(
            [("ann", "phone"), ("ann", "web page"), ("bob", "phone"), ("bob", "tv"), ("cid", "phone")]
        )
    ]
    other = session("t1", "tv", boot="boot-2")
    await repository.sessions.put([SessionPut(each, "") for each in (*mine, other)])
    assert await repository.sessions.boots() == {"boot-1", "boot-2"}
    found: list[SessionDocument] = []
    after = ("", "")
    while page := await repository.sessions.under("boot-1", after, 2):
        assert len(page) <= 2
        found += page
        after = page[-1].user, page[-1].device
    assert sorted(found, key=lambda each: each.session) == mine
    assert await repository.sessions.under("boot-3", ("", ""), 10) == []


async def test_users_come_into_being_once(repository: Repository) -> None:
    await repository.users.create(["ann", "bob"], 5)
    await repository.users.create(["ann"], 9, welcomed=True)
    assert await repository.users.find(["ann", "bob", "zoe"]) == {
        "ann": UserDocument("ann", 5, welcomed=True),
        "bob": UserDocument("bob", 5),
    }


async def test_a_user_is_last_seen_at_the_latest_time(repository: Repository) -> None:
    await repository.users.create(["ann"], 5)
    await repository.users.seen({"ann": 70, "zoe": 70})
    await repository.users.seen({"ann": 60})
    assert await repository.users.find(["ann", "zoe"]) == {"ann": UserDocument("ann", 5, 70)}


async def test_devices_hold_what_they_acknowledged(repository: Repository) -> None:
    await repository.users.acknowledge([Acknowledged("ann", "phone", 5), Acknowledged("ann", "web page", 7)])
    await repository.users.acknowledge([Acknowledged("ann", "phone", 4), Acknowledged("ann", "web page", 9)])
    await repository.users.acknowledge([Acknowledged("cid", "tv", 3)])
    assert await repository.users.held(["ann", "bob", "cid"]) == {"ann": 9, "cid": 3}
    assert await repository.users.held([]) == {}


async def test_users_are_walked_by_id(repository: Repository) -> None:
    await repository.users.create(["c", "a", "b"], 1)
    assert [each.user for each in await repository.users.after("", 2)] == ["a", "b"]
    assert [each.user for each in await repository.users.after("b", 2)] == ["c"]


async def test_the_epoch_is_made_once(repository: Repository) -> None:
    made = await asyncio.gather(repository.users.epoch("one"), repository.users.epoch("two"))
    assert made[0] == made[1]
    assert await repository.users.epoch("three") == made[0]
