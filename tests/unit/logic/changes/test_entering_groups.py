"""How users come into groups, from a request to storage and back: asking, invites, being added."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import pytest

from protos.tidings.internal.v1 import delivery_pb2, storage_pb2
from services.logic.changes.invitations import INVITE_BYTES
from services.logic.groups.entering import check_invite
from services.logic.groups.model import Invite
from services.logic.people.blocks import Blocks
from services.logic.requests.groups.lists import invite_info
from services.storage.repository.group_records import JoinRequestDocument
from services.storage.repository.records import MemberKey
from tests.unit.logic.changes.test_group_order import LARGE, SMALL, act, done, info, members, refused, there
from tests.unit.logic.harness import POLICY, Logic, message
from tests.unit.logic.on_storage import acts_of, on_storage
from tests.unit.storage.nodes import World
from tidings_protocol import client_pb2
from tidings_protocol.client_pb2 import GroupSettings
from tidings_protocol.errors import NotFound

Push = delivery_pb2.Push
Request = client_pb2.GroupRequest


class Blocked(Blocks):
    """These have blocked whoever asks."""

    def __init__(self, *users: str) -> None:
        self.users = frozenset(users)

    async def blocking(self, user: str, others: Collection[str]) -> frozenset[str]:
        return self.users.intersection(others) - {user}


async def ask(node: Logic, group: str, user: str, text: str = "") -> client_pb2.GroupInfo:
    return (await done(node, user, join=Request.Join(conversation=group, text=text))).group_info


async def needs_approval(node: Logic, group: str, *, approval: bool = True) -> None:
    update = Request.Update(conversation=group, settings=GroupSettings(approval=approval))
    await done(node, "olga", update=update)


async def asking(node: Logic, group: str, user: str = "olga") -> dict[str, str]:
    page = (await done(node, user, join_requests=Request.JoinRequests(conversation=group))).join_request_page
    return {each.user: each.text for each in page.requests}


async def told(node: Logic) -> list[tuple[list[str], client_pb2.GroupInfo]]:
    """The pushes of group_info, once all that was noted is told."""
    for _ in range(40):
        await asyncio.sleep(0)
    return [(sorted(push.users), client_pb2.GroupInfo.FromString(push.body)) for push in node.pushes(Push.GROUP_INFO)]


async def invited(node: Logic, group: str, user: str = "olga", **fields: Any) -> client_pb2.InviteInfo:
    return (await done(node, user, invite=Request.Invite(conversation=group, **fields))).invite_info


# ---- asking to join


@pytest.mark.parametrize("others", [SMALL, LARGE])
@pytest.mark.parametrize("is_open", [True, False])
async def test_who_asks_is_in_when_an_admin_says_so(others: list[str], is_open: bool) -> None:
    async with there(others, open=is_open) as (node, group):
        await needs_approval(node, group)
        answer = await ask(node, group, "eve", "let me in")
        assert (answer.conversation, answer.role) == (group, 0)
        assert answer.name == ("Tea" if is_open else ""), "a group that is not open tells nobody its name"
        await ask(node, group, "ada")
        assert await asking(node, group, "adam") == {"eve": "let me in", "ada": ""}
        assert (await info(node, "olga", group)).join_requests == 2
        assert (await info(node, "mia", group)).join_requests == 0
        pushes = await told(node)
        assert {user for users, _ in pushes for user in users} == {"olga", "adam"}
        assert {pushed.join_requests for _, pushed in pushes[-2:]} == {2}
        assert {tuple(users): pushed.role for users, pushed in pushes[-2:]} == {("olga",): 3, ("adam",): 2}
        decide = Request.Decide(conversation=group, users=["eve", "unknown"], accept=True)
        await done(node, "adam", decide=decide)
        assert set(await members(node, group)) == {"olga", "eve", *others}
        assert await asking(node, group) == {"ada": ""}
        assert {pushed.join_requests for _, pushed in (await told(node))[-2:]} == {1}
        assert acts_of(node)[-1] == ("add", "adam", ("eve",))


async def test_who_is_refused_is_told_so_and_may_ask_again() -> None:
    async with there(SMALL) as (node, group):
        await needs_approval(node, group)
        await ask(node, group, "eve")
        await told(node)
        await done(node, "olga", decide=Request.Decide(conversation=group, users=["eve"]))
        assert (["eve"], client_pb2.GroupInfo(conversation=group)) in await told(node)
        assert await asking(node, group) == {}
        await ask(node, group, "eve", "please")
        assert await asking(node, group) == {"eve": "please"}


async def test_a_request_is_withdrawn_by_leaving_and_repeats_are_one() -> None:
    world = World()
    async with there(SMALL, world) as (node, group):
        await needs_approval(node, group)
        await ask(node, group, "eve", "one")
        world.clock.advance(1)
        await ask(node, group, "ada")
        world.clock.advance(1)
        await ask(node, group, "eve", "two")
        assert list((await asking(node, group)).items()) == [("eve", "two"), ("ada", "")]
        await done(node, "eve", leave=Request.Leave(conversation=group))
        assert await asking(node, group) == {"ada": ""}
        assert (await told(node))[-1][1].join_requests == 1


async def test_requests_come_by_pages_oldest_first() -> None:
    world = World()
    async with there(SMALL, world) as (node, group):
        await needs_approval(node, group)
        for user in ("zoe", "eve", "ada"):
            await ask(node, group, user)
            world.clock.advance(1)
        seen: list[str] = []
        after, more = "", True
        while more:
            request = Request.JoinRequests(conversation=group, after=after, limit=2)
            page = (await done(node, "olga", join_requests=request)).join_request_page
            seen += [each.user for each in page.requests]
            after, more = page.next, page.more
        assert seen == ["zoe", "eve", "ada"]
        broken = Request.JoinRequests(conversation=group, after="nonsense")
        assert await refused(node, "olga", join_requests=broken) == "BAD_REQUEST"


@pytest.mark.parametrize("others", [SMALL, LARGE])
async def test_a_request_falls_when_its_asker_gets_in_or_is_banned_and_all_when_approval_ends(
    others: list[str],
) -> None:
    async with there(others) as (node, group):
        await needs_approval(node, group)
        for user in ("eve", "ada", "ida", "zoe"):
            await ask(node, group, user)
        await done(node, "olga", add=Request.Add(conversation=group, users=["eve"]))
        assert set(await asking(node, group)) == {"ada", "ida", "zoe"}
        await done(node, "olga", ban=Request.Ban(conversation=group, users=["ada"], banned=True))
        assert set(await asking(node, group)) == {"ida", "zoe"}
        invite = await invited(node, group)
        await done(node, "ida", join=Request.Join(conversation=group, invite=invite.invite))
        assert set(await asking(node, group)) == {"zoe"}
        await needs_approval(node, group, approval=False)
        assert await asking(node, group) == {}
        assert set(await members(node, group)) == {"olga", "eve", "ida", *others}
        await needs_approval(node, group)
        assert await asking(node, group) == {}
        assert await refused(node, "ada", join=Request.Join(conversation=group)) == "FORBIDDEN"


async def test_only_owner_and_admins_see_and_decide() -> None:
    async with there(SMALL) as (node, group):
        await needs_approval(node, group)
        await ask(node, group, "eve")
        for user in ("mia", "eve"):
            assert await refused(node, user, join_requests=Request.JoinRequests(conversation=group)) == "FORBIDDEN"
            decide = Request.Decide(conversation=group, users=["eve"], accept=True)
            assert await refused(node, user, decide=decide) == "FORBIDDEN"
        long = Request.Join(conversation=group, text="x" * 1025)
        assert await refused(node, "ada", join=long) == "TOO_LARGE"


async def test_only_so_many_may_ask_at_a_time() -> None:
    assert POLICY.requests_max == 1000
    async with there(SMALL) as (node, group):
        await needs_approval(node, group)
        called: Any = node.storage
        since = called.database.conversations[group].stamp
        for number in range(998):
            request = JoinRequestDocument(group, f"u{number}", "", 1, since)
            called.database.beside.requests[MemberKey(group, request.user)] = request
        await ask(node, group, "eve")
        await ask(node, group, "ada")
        reply = await act(node, "zoe", join=Request.Join(conversation=group))
        assert (reply.error.code, reply.error.retry_after_ms > 0) == ("OVERLOADED", True)
        assert (await ask(node, group, "ada", "again")).conversation == group
        assert (await info(node, "olga", group)).join_requests == 1000


async def test_whom_a_full_group_cannot_take_in_goes_on_asking() -> None:
    async with there([f"u{number}" for number in range(17)] + ["adam"]) as (node, group):
        await done(node, "olga", add=Request.Add(conversation=group, users=[f"v{number}" for number in range(18)]))
        await done(node, "olga", add=Request.Add(conversation=group, users=[f"w{number}" for number in range(12)]))
        await needs_approval(node, group)
        for user in ("eve", "ada"):
            await ask(node, group, user)
        decide = Request.Decide(conversation=group, users=["eve", "ada"], accept=True)
        assert list((await done(node, "olga", decide=decide)).ok.refused) == ["ada"]
        assert await asking(node, group) == {"ada": ""}
        assert await refused(node, "olga", decide=decide) == "FORBIDDEN"


# ---- invites


@pytest.mark.parametrize("others", [SMALL, LARGE])
@pytest.mark.parametrize("approval", [True, False])
async def test_an_invite_lets_anybody_into_any_group_at_once(others: list[str], approval: bool) -> None:
    async with there(others) as (node, group):
        await needs_approval(node, group, approval=approval)
        made = await invited(node, group)
        assert (len(made.invite), made.by, made.HasField("uses_left")) == (2 * INVITE_BYTES, "olga", False)
        seen = await done(node, "eve", info=Request.Info(conversation=group, invite=made.invite))
        expected = client_pb2.GroupInfo(conversation=group, name="Tea", member_count=len(others) + 1)
        assert seen.group_info == expected
        joined = await done(node, "eve", join=Request.Join(conversation=group, invite=made.invite))
        assert joined.group_info.role == client_pb2.Member.MEMBER
        again = await done(node, "eve", join=Request.Join(conversation=group, invite="whatever"))
        assert again.group_info.role == client_pb2.Member.MEMBER, "who is in already needs no invite"


@pytest.mark.parametrize("others", [SMALL, LARGE])
async def test_an_invite_lets_in_as_many_as_it_says_and_a_second_time_takes_none(others: list[str]) -> None:
    async with there(others) as (node, group):
        made = await invited(node, group, uses=2)
        assert made.uses_left == 2
        join = Request.Join(conversation=group, invite=made.invite)
        for _ in range(3):
            await done(node, "eve", join=join)
            await done(node, "eve", leave=Request.Leave(conversation=group))
        page = (await done(node, "olga", invites=Request.Invites(conversation=group))).invite_page
        assert [invite.uses_left for invite in page.invites] == [1]
        await done(node, "ada", join=join)
        assert await refused(node, "zoe", join=join) == "NOT_FOUND"
        assert await refused(node, "zoe", info=Request.Info(conversation=group, invite=made.invite)) == "NOT_FOUND"
        await done(node, "eve", join=join)


@pytest.mark.parametrize("others", [SMALL, LARGE])
async def test_of_many_who_come_at_once_an_invite_lets_in_no_more_than_it_says(others: list[str]) -> None:
    async with there(others) as (node, group):
        made = await invited(node, group, uses=2)
        users = ("eve", "ada", "zoe", "ida")
        join = Request(join=Request.Join(conversation=group, invite=made.invite))
        replies = await asyncio.gather(*(node.ask(user, group=join) for user in users))
        codes = sorted(reply.error.code for reply in replies)
        assert codes == ["", "", "NOT_FOUND", "NOT_FOUND"]


async def test_an_invite_ends_by_its_time() -> None:
    world = World()
    async with there(SMALL, world) as (node, group):
        short, week = await invited(node, group, ttl_s=60), await invited(node, group)
        assert week.expires_ms == world.clock.wall_ms() + 7 * 24 * 3600 * 1000
        world.clock.advance(61)
        gone = Request.Join(conversation=group, invite=short.invite)
        assert await refused(node, "eve", join=gone) == "NOT_FOUND"
        page = (await done(node, "olga", invites=Request.Invites(conversation=group))).invite_page
        assert [invite.invite for invite in page.invites] == [week.invite]
        await done(node, "eve", join=Request.Join(conversation=group, invite=week.invite))


@pytest.mark.parametrize("others", [SMALL, LARGE])
async def test_the_invites_of_a_member_end_with_membership(others: list[str]) -> None:
    async with there(others) as (node, group):
        await done(node, "olga", update=Request.Update(conversation=group, settings=GroupSettings(members_add=True)))
        for leaves in (
            ("mia", {"leave": Request.Leave(conversation=group)}),
            ("olga", {"remove": Request.Remove(conversation=group, users=["mia"])}),
            ("olga", {"ban": Request.Ban(conversation=group, users=["mia"], banned=True)}),
        ):
            made = await invited(node, group, "mia")
            user, request = leaves
            await done(node, user, **request)
            await done(node, "olga", ban=Request.Ban(conversation=group, users=["mia"]))
            await done(node, "olga", add=Request.Add(conversation=group, users=["mia"]))
            join = Request.Join(conversation=group, invite=made.invite)
            assert await refused(node, "eve", join=join) == "NOT_FOUND", "also when its maker is back"


async def test_who_may_invite_list_and_withdraw() -> None:
    async with there(SMALL) as (node, group):
        for user in ("mia", "eve"):
            assert await refused(node, user, invite=Request.Invite(conversation=group)) == "FORBIDDEN"
        await done(node, "olga", update=Request.Update(conversation=group, settings=GroupSettings(members_add=True)))
        mine, other, owners = [await invited(node, group, user) for user in ("mia", "max", "olga")]
        for user, shown in (("mia", [mine]), ("olga", [mine, other, owners]), ("adam", [mine, other, owners])):
            page = (await done(node, user, invites=Request.Invites(conversation=group))).invite_page
            assert {each.invite for each in page.invites} == {each.invite for each in shown}
        assert await refused(node, "eve", invites=Request.Invites(conversation=group)) == "FORBIDDEN"
        withdraw = Request.Uninvite(conversation=group, invite=other.invite)
        assert await refused(node, "mia", uninvite=withdraw) == "FORBIDDEN"
        await done(node, "max", uninvite=withdraw)
        await done(node, "max", uninvite=withdraw)  # a repeat
        await done(node, "mia", uninvite=Request.Uninvite(conversation=group))
        page = (await done(node, "olga", invites=Request.Invites(conversation=group))).invite_page
        assert [each.invite for each in page.invites] == [owners.invite], "a member withdraws their own only"
        await done(node, "adam", uninvite=Request.Uninvite(conversation=group))
        for made in (mine, other, owners):
            join = Request.Join(conversation=group, invite=made.invite)
            assert await refused(node, "eve", join=join) == "NOT_FOUND"


async def test_an_invite_is_asked_for_within_bounds_and_a_repeat_gives_the_first() -> None:
    async with there(SMALL) as (node, group):
        for fields in ({"ttl_s": 367 * 24 * 3600}, {"uses": 100_001}):
            assert await refused(node, "olga", invite=Request.Invite(conversation=group, **fields)) == "BAD_REQUEST"
        invite = Request.Invite(conversation=group, uses=3)
        first, again = [(await done(node, "olga", "op", invite=invite)).invite_info for _ in range(2)]
        assert first == again
        for _ in range(POLICY.invites_of_member_max - 1):
            await invited(node, group)
        assert await refused(node, "olga", invite=invite) == "BAD_REQUEST"
        await invited(node, group, "adam")


async def test_an_invite_to_another_group_opens_none() -> None:
    async with there(SMALL) as (node, group):
        other = (await done(node, "olga", create=Request.Create(name="Other"))).group_info.conversation
        made = await invited(node, other)
        join = Request.Join(conversation=group, invite=made.invite)
        assert await refused(node, "eve", join=join) == "NOT_FOUND"
        nowhere = Request.Join(conversation="g:nowhere", invite=made.invite)
        assert await refused(node, "eve", join=nowhere) == "NOT_FOUND"


def test_an_invite_that_is_used_up_lets_in_only_who_came_by_it_before() -> None:
    check_invite("g:x", "i", Invite("i", "olga", uses=1, used=1, is_second=True))
    for gone in (None, Invite("i", "olga", uses=1, used=1), Invite("other", "olga")):
        with pytest.raises(NotFound):
            check_invite("g:x", "i", gone)


# ---- being added


async def test_members_add_others_where_the_group_says_so() -> None:
    async with there(SMALL) as (node, group):
        add = Request.Add(conversation=group, users=["eve"])
        assert await refused(node, "mia", add=add) == "FORBIDDEN"
        await done(node, "olga", update=Request.Update(conversation=group, settings=GroupSettings(members_add=True)))
        await done(node, "mia", add=add)
        assert "eve" in await members(node, group)


async def test_who_has_blocked_is_not_added_and_the_asker_is_told_whom() -> None:
    async with on_storage(blocks=Blocked("eve", "zoe")) as node:
        made = await done(node, "olga", "op", create=Request.Create(name="Tea", members=["mia", "eve"]))
        assert (list(made.group_info.refused), made.group_info.member_count) == (["eve"], 2)
        again = await done(node, "olga", "op", create=Request.Create(name="Tea", members=["mia", "eve"]))
        assert again.group_info == made.group_info
        group = made.group_info.conversation
        added = await done(node, "olga", "op 2", add=Request.Add(conversation=group, users=["zoe", "max"]))
        again = await done(node, "olga", "op 2", add=Request.Add(conversation=group, users=["zoe", "max"]))
        assert list(added.ok.refused) == list(again.ok.refused) == ["zoe"]
        there = await done(node, "olga", add=Request.Add(conversation=group, users=["zoe", "mia"]))
        assert list(there.ok.refused) == ["zoe"], "another one is in, if not by this"
        assert await refused(node, "olga", add=Request.Add(conversation=group, users=["eve"])) == "FORBIDDEN"
        assert await refused(node, "olga", create=Request.Create(name="Tea", members=["eve"])) == "FORBIDDEN"
        assert set(await members(node, group)) == {"olga", "mia", "max"}


async def test_a_group_takes_in_as_many_as_it_can() -> None:
    async with there([f"u{number}" for number in range(17)] + ["adam"]) as (node, group):
        await done(node, "olga", add=Request.Add(conversation=group, users=[f"v{number}" for number in range(20)]))
        users = [f"w{number}" for number in range(15)]
        added = await done(node, "olga", add=Request.Add(conversation=group, users=users))
        assert list(added.ok.refused) == users[11:]
        assert await refused(node, "olga", add=Request.Add(conversation=group, users=users[11:])) == "FORBIDDEN"
        assert (await info(node, "olga", group)).member_count == POLICY.members_max
        await node.send(message("w3", group, "hello"))


def test_an_invite_shows_what_is_left_of_its_uses() -> None:
    assert invite_info("g:x", storage_pb2.InviteRecord(invite="i", uses=3, used=5)).uses_left == 0


async def test_only_who_comes_in_by_an_invite_takes_a_use_also_if_the_group_becomes_large_by_it() -> None:
    async with there([*SMALL, "u4"]) as (node, group):
        made = await invited(node, group, uses=3)
        joined = await done(node, "eve", join=Request.Join(conversation=group, invite=made.invite))
        assert joined.group_info.large_from
        page = (await done(node, "olga", invites=Request.Invites(conversation=group))).invite_page
        assert [invite.uses_left for invite in page.invites] == [2]
