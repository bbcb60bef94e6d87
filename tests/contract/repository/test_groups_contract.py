"""What every repository promises of what lies beside the members of groups."""

from __future__ import annotations

from dataclasses import replace

from services.common.clock import SystemClock
from services.storage.repository.contract import Repository
from services.storage.repository.group_records import (
    BanDocument,
    InviteDocument,
    InviteUse,
    JoinRequestDocument,
    Pace,
)
from services.storage.repository.records import ConversationDocument, MemberDocument, MemberKey

NOW = SystemClock().wall_ms()
LATER = NOW + 3_600_000
INVITE = InviteDocument("g:1", "aa", "ann", NOW, LATER, uses=2, op="op", stamp=3)
SETTINGS = ConversationDocument(
    "g:1", 2, version=1, stamp=1, settings=b"s", slow_s=5, asked_from=1, bans=2, dissolved=True
)


def keys(*users: str, conversation: str = "g:1") -> list[MemberKey]:
    return [MemberKey(conversation, user) for user in users]


# ---- what few groups have


async def test_the_settings_of_a_group_are_kept_and_taken_away_again(repository: Repository) -> None:
    assert await repository.conversations.swap(SETTINGS, 0)
    assert await repository.conversations.load(["g:1"]) == {"g:1": SETTINGS}
    plain = ConversationDocument("g:1", 2, version=2, stamp=2)
    assert await repository.conversations.swap(plain, 1)
    assert await repository.conversations.load(["g:1"]) == {"g:1": plain}


async def test_a_member_is_muted_and_not_any_more(repository: Repository) -> None:
    for stamp, until_ms in ((1, -1), (2, LATER), (3, 0)):
        member = MemberDocument("g:1", "ann", stamp=stamp, muted_until_ms=until_ms)
        await repository.members.write([member])
        assert await repository.members.find(keys("ann")) == {MemberKey("g:1", "ann"): member}


async def test_who_owns_and_administers_a_group_is_found(repository: Repository) -> None:
    roles = {"ann": 3, "bob": 2, "cid": 1, "dan": 2}
    await repository.members.write([MemberDocument("g:1", user, role=role, stamp=1) for user, role in roles.items()])
    await repository.members.write([MemberDocument("g:2", "eve", role=3, stamp=1)])
    await repository.members.write([MemberDocument("g:1", "dan", stamp=2, gone=True)])
    assert {member.user for member in await repository.members.leaders("g:1")} == {"ann", "bob"}
    assert await repository.members.leaders("g:3") == []


# ---- bans


async def test_bans_are_found_listed_and_lifted(repository: Repository) -> None:
    bans = repository.groups.bans
    await bans.write([BanDocument("g:1", user, stamp=2) for user in ("cid", "ann", "bob")])
    await bans.write([BanDocument("g:2", "dan", stamp=1)])
    assert await bans.find(keys("ann", "dan")) == set(keys("ann"))
    assert await bans.find([]) == set()
    assert await bans.page("g:1", "", 2) == ["ann", "bob"]
    assert await bans.page("g:1", "bob", 2) == ["cid"]
    await bans.write([BanDocument("g:1", "bob", stamp=3, gone=True)])
    assert await bans.page("g:1", "", 9) == ["ann", "cid"]


async def test_a_ban_that_is_written_late_changes_nothing(repository: Repository) -> None:
    bans = repository.groups.bans
    await bans.write([BanDocument("g:1", "ann", stamp=5, gone=True)])
    await bans.write([BanDocument("g:1", "ann", stamp=4)])
    await bans.write([BanDocument("g:1", "ann", stamp=5)])
    assert await bans.find(keys("ann")) == set()
    await bans.write([BanDocument("g:1", "ann", stamp=6)])
    await bans.write([BanDocument("g:1", "ann", stamp=6)])
    assert await bans.find(keys("ann")) == set(keys("ann"))


# ---- invites


async def test_an_invite_is_made_once_and_found_until_it_is_over(repository: Repository) -> None:
    invites = repository.groups.invites
    await invites.make(INVITE)
    await invites.make(replace(INVITE, by="bob"))
    assert await invites.find("g:1", "aa", NOW) == INVITE
    assert await invites.find("g:1", "aa", LATER) is None
    assert await invites.find("g:2", "aa", NOW) is None
    assert await invites.find("g:1", "bb", NOW) is None


async def test_invites_are_listed_oldest_first_by_pages(repository: Repository) -> None:
    invites = repository.groups.invites
    made = [
        replace(INVITE, invite=name, time_ms=NOW + age, by=by)
        for name, age, by in (("cc", 0, "ann"), ("aa", 1, "bob"), ("bb", 1, "ann"), ("dd", 2, "ann"))
    ]
    for each in reversed(made):
        await invites.make(each)
    await invites.make(replace(INVITE, invite="over", expires_ms=NOW + 1))
    await invites.use([InviteUse("g:1", "cc", "zoe", LATER)])
    now_ms = NOW + 2
    assert await invites.page("g:1", (0, ""), "", now_ms, 3) == made[:3]
    assert await invites.page("g:1", (NOW + 1, "bb"), "", now_ms, 3) == made[3:]
    assert await invites.page("g:1", (0, ""), "ann", now_ms, 9) == [made[0], made[2], made[3]]
    assert await invites.made_by("g:1", "ann", now_ms, 2) == [made[0], made[2]]
    assert await invites.page("g:2", (0, ""), "", now_ms, 3) == []


async def test_what_ends_an_invite_ends_none_that_is_newer(repository: Repository) -> None:
    invites = repository.groups.invites
    for name, by, stamp in (("aa", "ann", 3), ("bb", "ann", 5), ("cc", "bob", 3), ("dd", "cid", 3)):
        await invites.make(replace(INVITE, invite=name, by=by, stamp=stamp))

    async def left() -> list[str]:
        return [each.invite for each in await invites.page("g:1", (0, ""), "", NOW, 9)]

    await invites.end("g:1", by=["ann", "nobody"], below=5)
    assert await left() == ["bb", "cc", "dd"]
    await invites.end("g:1", invite="cc", by=["ann"], below=9)
    assert await left() == ["bb", "cc", "dd"]
    await invites.end("g:1", invite="cc", by=["bob"], below=9)
    assert await left() == ["bb", "dd"]
    await invites.end("g:1", invite="bb", below=9)
    assert await left() == ["dd"]
    await invites.end("g:2", below=9)
    await invites.end("g:1", below=9)
    assert await left() == []


async def test_who_came_in_by_an_invite_counts_once(repository: Repository) -> None:
    invites = repository.groups.invites
    for _ in range(2):
        await invites.use([InviteUse("g:1", "aa", "zoe", LATER), InviteUse("g:1", "aa", "ida", LATER)])
    await invites.use([InviteUse("g:1", "bb", "zoe", LATER), InviteUse("g:2", "aa", "eve", LATER)])
    assert await invites.used("g:1", ["aa", "cc"]) == {"aa": 2}
    assert await invites.used("g:1", []) == {}
    assert await invites.used_by("g:1", "aa", "zoe")
    assert not await invites.used_by("g:1", "aa", "eve")


# ---- requests to join


async def test_a_request_keeps_its_time_when_it_is_repeated(repository: Repository) -> None:
    requests = repository.groups.requests
    await requests.ask(JoinRequestDocument("g:1", "ann", "one", 5, stamp=3), since=2)
    await requests.ask(JoinRequestDocument("g:1", "ann", "two", 9, stamp=4), since=2)
    assert await requests.page("g:1", 2, (0, ""), 9) == [JoinRequestDocument("g:1", "ann", "two", 5, stamp=3)]
    await requests.ask(JoinRequestDocument("g:1", "ann", "three", 11, stamp=6), since=5)
    assert await requests.page("g:1", 5, (0, ""), 9) == [JoinRequestDocument("g:1", "ann", "three", 11, stamp=6)]


async def test_requests_are_counted_found_and_listed_oldest_first(repository: Repository) -> None:
    requests = repository.groups.requests
    made = [
        JoinRequestDocument("g:1", user, "", time_ms, stamp=4) for user, time_ms in (("zoe", 1), ("ann", 2), ("bob", 2))
    ]
    for each in reversed(made):
        await requests.ask(each, since=1)
    await requests.ask(JoinRequestDocument("g:1", "old", "", 1, stamp=2), since=1)
    await requests.ask(JoinRequestDocument("g:2", "ann", "", 1, stamp=9), since=1)
    assert await requests.page("g:1", 3, (0, ""), 2) == made[:2]
    assert await requests.page("g:1", 3, (2, "ann"), 2) == made[2:]
    assert await requests.count("g:1", 3, 9) == 3
    assert await requests.count("g:1", 3, 2) == 2
    assert await requests.find(keys("ann", "old", "eve"), 3) == set(keys("ann"))
    assert await requests.find([], 3) == set()


async def test_what_drops_a_request_drops_none_that_is_newer(repository: Repository) -> None:
    requests = repository.groups.requests
    for user, stamp in (("ann", 3), ("bob", 5), ("cid", 3)):
        await requests.ask(JoinRequestDocument("g:1", user, "", 1, stamp=stamp), since=1)
    await requests.drop("g:1", ["ann", "bob", "nobody"], 5)
    assert await requests.find(keys("ann", "bob", "cid"), 1) == set(keys("bob", "cid"))
    await requests.drop("g:2", None, 9)
    await requests.drop("g:1", None, 5)
    assert await requests.count("g:1", 1, 9) == 1


# ---- paces


async def test_the_time_of_the_last_message_never_goes_back(repository: Repository) -> None:
    paces = repository.groups.paces
    await paces.write([Pace("g:1", "ann", NOW), Pace("g:1", "bob", NOW)])
    await paces.write([Pace("g:1", "ann", NOW - 5), Pace("g:1", "bob", NOW + 5)])
    found = await paces.find(keys("ann", "bob", "cid"))
    assert found == {MemberKey("g:1", "ann"): NOW, MemberKey("g:1", "bob"): NOW + 5}
    assert await paces.find([]) == {}


# ---- dissolved groups


async def test_the_members_of_a_dissolved_group_become_former_ones_in_steps(repository: Repository) -> None:
    dissolved = repository.groups.dissolved
    await repository.members.write([MemberDocument("g:1", user, stamp=1, large=True) for user in ("ann", "bob", "cid")])
    await repository.members.write([MemberDocument("g:1", "dan", stamp=1, gone=True)])
    await repository.members.write([MemberDocument("g:2", "ann", stamp=1, large=True)])
    await dissolved.note("g:1", 4)
    await dissolved.note("g:1", 4)
    assert await dissolved.some(9) == [("g:1", 4)]
    assert await dissolved.former(keys("ann", "dan", "eve")) == set(keys("ann"))
    assert [await dissolved.release("g:1", 4, 2) for _ in range(3)] == [2, 1, 0]
    assert await repository.members.all_in(["g:1"]) == {}
    assert {each.conversation for each in (await repository.members.memberships(["ann"], large_only=True))["ann"]} == {
        "g:2"
    }
    assert await dissolved.former(keys("ann", "bob", "cid", "dan", "eve")) == set(keys("ann", "bob", "cid"))
    await repository.members.write([MemberDocument("g:1", "ann", stamp=3)])
    assert await repository.members.find(keys("ann")) == {}, "a change of before its end comes too late"


async def test_former_members_that_are_written_with_the_change_are_known(repository: Repository) -> None:
    await repository.members.write([MemberDocument("g:1", "ann", stamp=1)])
    await repository.members.write([MemberDocument("g:1", "ann", stamp=2, gone=True, former=True)])
    assert await repository.members.find(keys("ann")) == {}
    assert await repository.groups.dissolved.former(keys("ann", "bob")) == set(keys("ann"))


async def test_what_lay_beside_a_dissolved_group_is_cleared_away(repository: Repository) -> None:
    groups = repository.groups
    for conversation in ("g:1", "g:2"):
        await groups.bans.write([BanDocument(conversation, "eve", stamp=1)])
        await groups.invites.make(replace(INVITE, conversation=conversation))
        await groups.invites.use([InviteUse(conversation, "aa", "zoe", LATER)])
        await groups.requests.ask(JoinRequestDocument(conversation, "ida", "", 1, stamp=1), since=1)
        await groups.dissolved.note(conversation, 2)
    await groups.dissolved.clear("g:1")
    assert await groups.dissolved.some(9) == [("g:2", 2)]
    for conversation, there in (("g:1", False), ("g:2", True)):
        assert (await groups.bans.page(conversation, "", 9) != []) is there
        assert (await groups.invites.find(conversation, "aa", NOW) is not None) is there
        assert await groups.invites.used_by(conversation, "aa", "zoe") is there
        assert await groups.requests.count(conversation, 1, 9) == int(there)
