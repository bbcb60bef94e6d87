"""What keeps order in groups, and how one comes into them, on the whole cluster: every refusal, in every codec."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.support.device.pipes import WAYS, Way
from tests.support.device.wire import Refused, Wire
from tidings_protocol.client_pb2 import (
    Content,
    GroupInfo,
    GroupRequest,
    GroupSettings,
    History,
    Member,
    Message,
    Read,
    Send,
    ServerFrame,
    Signal,
    Sync,
)

pytestmark = pytest.mark.e2e
Name = Callable[[str], str]
LARGE = 201


async def act(wire: Wire, **request: Any) -> ServerFrame:
    return await wire.request(group=GroupRequest(**request))


async def refused(wire: Wire, **request: Any) -> str:
    with pytest.raises(Refused) as caught:
        await act(wire, **request)
    return caught.value.code


async def created(owner: Wire, members: list[str], **fields: Any) -> str:
    create = GroupRequest.Create(name="team", members=members, **fields)
    return (await act(owner, create=create)).group_info.conversation


async def said(wire: Wire, group: str, text: str) -> int:
    return (await wire.request(send=Send(client_id=text, conversation=group, content=Content(text=text)))).sent.seq


async def silent(wire: Wire, group: str, text: str) -> Refused:
    """How a message is refused."""
    with pytest.raises(Refused) as caught:
        await said(wire, group, text)
    return caught.value


async def update(wire: Wire, group: str, **settings: Any) -> GroupInfo:
    changed = GroupRequest.Update(conversation=group, settings=GroupSettings(**settings))
    return (await act(wire, update=changed)).group_info


async def info_push(wire: Wire) -> GroupInfo:
    return (await wire.push("group_info")).group_info


async def last_act(wire: Wire) -> dict[str, Any]:
    """What the newest entry of the inbox tells of."""
    page = (await wire.request(sync=Sync(after=0, limit=500))).page
    message: Message = page.entries[-1].message
    data: dict[str, Any] = json.loads(message.content.data)
    return data


@pytest.mark.parametrize("way", WAYS, ids=str)
async def test_settings_mutes_and_pace(cluster: Cluster, name: Name, way: Way) -> None:
    async with AsyncExitStack() as stack:
        ann, adam, bob = [
            (await stack.enter_async_context(cluster.session(name(each), way)))[0] for each in ("ann", "adam", "bob")
        ]
        group = await created(ann, [name("adam"), name("bob")])
        role = GroupRequest.SetRole(conversation=group, user=name("adam"), role=Member.ADMIN)
        await act(ann, set_role=role)

        info = await update(adam, group, description="all of us", attributes={"color": "red"})
        assert (info.settings.description, dict(info.settings.attributes)) == ("all of us", {"color": "red"})
        told = await last_act(bob)
        assert (told["act"], told["settings"]) == (
            "update",
            {"description": "all of us", "attributes": {"color": "red"}},
        )
        owners = GroupRequest.Update(conversation=group, settings=GroupSettings(open=True))
        assert await refused(adam, update=owners) == "FORBIDDEN"
        assert await refused(bob, update=owners) == "FORBIDDEN"
        long = GroupRequest.Update(conversation=group, settings=GroupSettings(description="x" * 1025))
        assert await refused(ann, update=long) == "TOO_LARGE"

        for until_ms in (1, -2):
            mute = GroupRequest.Mute(conversation=group, users=[name("bob")], until_ms=until_ms)
            assert await refused(adam, mute=mute) == "BAD_REQUEST"
        mute = GroupRequest.Mute(conversation=group, users=[name("bob")], until_ms=-1)
        assert await refused(bob, mute=GroupRequest.Mute(conversation=group, users=[name("ann")])) == "FORBIDDEN"
        await act(adam, mute=mute)
        assert (await silent(bob, group, "muted by name")).code == "FORBIDDEN"
        with pytest.raises(Refused):
            await bob.request(signal=Signal(conversation=group, name="typing"))
        assert (await act(bob, info=GroupRequest.Info(conversation=group))).group_info.muted_until_ms == -1
        page = (await act(ann, members=GroupRequest.Members(conversation=group))).member_page
        assert {member.muted_until_ms for member in page.members if member.user == name("bob")} == {-1}
        assert all(member.joined_ms for member in page.members)
        await act(adam, mute=GroupRequest.Mute(conversation=group, users=[name("bob")]))
        await said(bob, group, "not muted any more")

        await update(adam, group, muted=True)
        assert (await silent(bob, group, "the group is muted")).retry_after_ms == 0
        await said(adam, group, "an admin speaks")
        await update(adam, group, muted=False, slow_s=3600)
        first = await said(bob, group, "once")
        error = await silent(bob, group, "twice")
        assert (error.code, 0 < error.retry_after_ms <= 3_600_000) == ("FORBIDDEN", True)
        again = (await bob.request(send=Send(client_id="once", conversation=group, content=Content(text="once")))).sent
        assert (again.seq, again.duplicate) == (first, True)
        await said(ann, group, "the owner")
        await said(ann, group, "as often as they like")


@pytest.mark.parametrize("way", WAYS, ids=str)
async def test_asking_invites_and_bans(cluster: Cluster, name: Name, way: Way) -> None:
    async with AsyncExitStack() as stack:
        ann, eve, zoe = [
            (await stack.enter_async_context(cluster.session(name(each), way)))[0] for each in ("ann", "eve", "zoe")
        ]
        group = await created(ann, [name("bob")])
        join = GroupRequest.Join(conversation=group, text="it is me")
        assert await refused(eve, join=join) == "FORBIDDEN"
        await update(ann, group, approval=True)
        asked = (await act(eve, join=join)).group_info
        assert (asked.conversation, asked.role) == (group, Member.ROLE_UNSPECIFIED)
        assert (await info_push(ann)).join_requests == 1
        page = (await act(ann, join_requests=GroupRequest.JoinRequests(conversation=group))).join_request_page
        assert [(each.user, each.text) for each in page.requests] == [(name("eve"), "it is me")]
        assert await refused(eve, join_requests=GroupRequest.JoinRequests(conversation=group)) == "FORBIDDEN"
        await act(ann, decide=GroupRequest.Decide(conversation=group, users=[name("eve")]))
        assert (await info_push(eve)).role == Member.ROLE_UNSPECIFIED
        await act(eve, join=join)
        await act(ann, decide=GroupRequest.Decide(conversation=group, users=[name("eve")], accept=True))
        assert (await act(eve, info=GroupRequest.Info(conversation=group))).group_info.role == Member.MEMBER

        assert await refused(eve, invite=GroupRequest.Invite(conversation=group)) == "FORBIDDEN"
        invite = (await act(ann, invite=GroupRequest.Invite(conversation=group, uses=1))).invite_info
        assert (len(invite.invite) >= 22, invite.uses_left, invite.by) == (True, 1, name("ann"))
        seen = (await act(zoe, info=GroupRequest.Info(conversation=group, invite=invite.invite))).group_info
        assert (seen.name, seen.member_count) == ("team", 3)
        by_invite = GroupRequest.Join(conversation=group, invite=invite.invite)
        assert (await act(zoe, join=by_invite)).group_info.role == Member.MEMBER
        page_of = GroupRequest.Invites(conversation=group)
        assert [each.uses_left for each in (await act(ann, invites=page_of)).invite_page.invites] == [0]
        await act(zoe, leave=GroupRequest.Leave(conversation=group))
        await act(zoe, join=by_invite)

        ban = GroupRequest.Ban(conversation=group, users=[name("zoe")], banned=True)
        assert await refused(eve, ban=ban) == "FORBIDDEN"
        await act(ann, ban=ban)
        assert (await last_act(zoe))["act"] == "ban"
        assert await refused(zoe, join=by_invite) == "FORBIDDEN"
        add = GroupRequest.Add(conversation=group, users=[name("zoe"), name("ida")])
        assert list((await act(ann, add=add)).ok.refused) == [name("zoe")]
        assert await refused(ann, add=GroupRequest.Add(conversation=group, users=[name("zoe")])) == "FORBIDDEN"
        banned = (await act(ann, banned=GroupRequest.Banned(conversation=group))).user_page
        assert list(banned.users) == [name("zoe")]

        await act(ann, uninvite=GroupRequest.Uninvite(conversation=group))
        gone = GroupRequest.Join(conversation=group, invite=invite.invite)
        async with cluster.session(name("ida2"), way) as (stranger, _):
            assert await refused(stranger, join=gone) == "NOT_FOUND"


@pytest.mark.parametrize("size", [3, LARGE])
async def test_a_group_is_dissolved(cluster: Cluster, name: Name, size: int) -> None:
    others = [name(f"member{number}") for number in range(size - 2)]
    async with AsyncExitStack() as stack:
        ann, bob, eve = [
            (await stack.enter_async_context(cluster.session(name(each), way)))[0]
            for each, way in zip(("ann", "bob", "eve"), WAYS, strict=True)
        ]
        group = await created(ann, [name("bob"), *others], client_id=f"of {size}")
        await said(bob, group, "before")
        assert await refused(bob, dissolve=GroupRequest.Dissolve(conversation=group)) == "FORBIDDEN"
        await act(ann, dissolve=GroupRequest.Dissolve(conversation=group))
        if size == LARGE:
            gone = await info_push(bob)
            assert (gone.conversation, gone.role) == (group, Member.ROLE_UNSPECIFIED)
        else:
            assert (await last_act(bob))["act"] == "dissolve"
        for wire, code in ((ann, "FORBIDDEN"), (bob, "FORBIDDEN"), (eve, "NOT_FOUND")):
            assert (await silent(wire, group, "after")).code == code
            assert await refused(wire, info=GroupRequest.Info(conversation=group)) == code
            for request in ({"history": History(conversation=group)}, {"read": Read(conversation=group, seq=1)}):
                with pytest.raises(Refused) as caught:
                    await wire.request(**request)
                assert caught.value.code == code
        create = GroupRequest.Create(name="team", client_id=f"of {size}")
        assert (await act(ann, create=create)).group_info == GroupInfo(conversation=group), "never used again"


async def test_who_guesses_invites_is_banned_and_who_is_too_fast_is_not(cluster: Cluster, name: Name) -> None:
    async with cluster.session(name("ann")) as (ann, _), cluster.session(name("bob")) as (bob, _):
        group = await created(ann, [name("bob")])
        await update(ann, group, slow_s=3600)
        await said(bob, group, "once")
        for number in range(70):
            assert (await silent(bob, group, f"again {number}")).retry_after_ms > 0
        await bob.request(read=Read(conversation=group, seq=1))
    async with cluster.session(name("eve")) as (eve, _):
        for number in range(60):
            guess = GroupRequest.Join(conversation=group, invite=f"{number:032x}")
            assert await refused(eve, join=guess) == "NOT_FOUND"
        await eve.post(group=GroupRequest(info=GroupRequest.Info(conversation=group, invite="one more")))
        assert (await eve.end()).code == 4006
