"""What people set for themselves: preferences, blocks, profiles; and who has read what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.support.device.wire import Refused, Wire
from tidings_protocol.client_pb2 import (
    BlockRequest,
    Change,
    Content,
    ConversationPreferences,
    GroupRequest,
    ListConversations,
    Ping,
    Prefer,
    Presence,
    PresenceRequest,
    Profile,
    ProfileRequest,
    Read,
    ReadersRequest,
    Send,
    Signal,
)
from tidings_protocol.ids import direct

pytestmark = pytest.mark.e2e
Name = Callable[[str], str]


async def said(wire: Wire, text: str, **to: str) -> int:
    return (await wire.request(send=Send(client_id=text, content=Content(text=text), **to))).sent.seq


async def blocked(wire: Wire, *users: str, on: bool = True) -> None:
    await wire.request(block=BlockRequest(set=BlockRequest.Set(users=users, blocked=on)))


async def profiles(wire: Wire, *users: str, watch: bool = False) -> list[Profile]:
    get = ProfileRequest.Get(users=users, watch=watch)
    return list((await wire.request(profile=ProfileRequest(get=get))).profile_list.profiles)


async def presence_of(wire: Wire, user: str, *, watch: bool = False) -> Presence:
    request = PresenceRequest(users=[user], watch=watch)
    return (await wire.request(presence=request)).presence_list.users[0]


async def refused(wire: Wire, **body: Any) -> str:
    with pytest.raises(Refused) as refusal:
        await wire.request(**body)
    return refusal.value.code


async def test_preferences_reach_the_other_devices_and_a_read_ends_the_mark(cluster: Cluster, name: Name) -> None:
    chat = direct(name("ann"), name("bob"))
    async with (
        cluster.session(name("ann"), device="phone") as (phone, _),
        cluster.session(name("ann"), "tcp", device="laptop", visiting=True) as (laptop, _),
    ):
        draft = Prefer(conversation=chat, pinned=True, draft="Dear Bob", muted_until_ms=-1)
        assert (await phone.request(prefer=draft)).HasField("ok")
        told = ConversationPreferences(conversation=chat, pinned=True, draft="Dear Bob", muted_until_ms=-1)
        assert (await laptop.push("preferences")).preferences == told
        await said(phone, "hello", user=name("bob"))
        await laptop.request(prefer=Prefer(conversation=chat, marked_unread=True, draft=""))
        told = ConversationPreferences(conversation=chat, pinned=True, muted_until_ms=-1, marked_unread=True)
        assert (await phone.push("preferences")).preferences == told
        await phone.request(read=Read(conversation=chat, seq=1))
        told.marked_unread = False
        assert (await laptop.push("preferences")).preferences == told
        await phone.request(ping=Ping())
        assert phone.pushed("preferences") == []
        assert await refused(phone, prefer=Prefer(conversation=chat, muted_until_ms=1)) == "BAD_REQUEST"
        assert await refused(phone, prefer=Prefer(conversation=chat, draft="x" * 4097)) == "TOO_LARGE"
        theirs = direct(name("bob"), name("cid"))
        assert await refused(phone, prefer=Prefer(conversation=theirs, pinned=True)) == "FORBIDDEN"


async def test_lists_show_preferences_and_leave_out_what_is_hidden(cluster: Cluster, name: Name) -> None:
    chats = [direct(name("ann"), name(other)) for other in ("bob", "cid")]
    async with cluster.session(name("ann")) as (ann, _), cluster.session(name("cid")) as (cid, _):
        for other in ("bob", "cid"):
            await said(ann, "hello", user=name(other))
        await ann.request(prefer=Prefer(conversation=chats[0], archived=True))
        await ann.request(prefer=Prefer(conversation=chats[1], hidden=True))

        async def listed() -> dict[str, ConversationPreferences]:
            page = (await ann.request(conversations=ListConversations())).conversation_page
            found = {each.conversation: each.preferences for each in page.conversations}
            return {chat: found[chat] for chat in chats if chat in found}

        assert await listed() == {chats[0]: ConversationPreferences(conversation=chats[0], archived=True)}
        await said(cid, "there", user=name("ann"))
        assert list(await listed()) == chats


async def test_who_is_blocked_reaches_nobody_and_sees_nobody(cluster: Cluster, name: Name) -> None:
    async with cluster.session(name("ann")) as (ann, _), cluster.session(name("eve"), visiting=True) as (eve, _):
        chat = direct(name("ann"), name("bob"))
        async with cluster.session(name("bob"), "tcp") as (bob, _):
            group = (
                await ann.request(group=GroupRequest(create=GroupRequest.Create(name="team", members=[name("bob")])))
            ).group_info.conversation
            assert await said(ann, "one", user=name("bob")) == 1
            for wire in (ann, eve):
                assert (await presence_of(wire, name("bob"), watch=True)).online
            await blocked(bob, name("ann"))
            assert await refused(ann, send=Send(client_id="two", user=name("bob"), content=Content(text="two"))) == (
                "FORBIDDEN"
            )
            assert await said(ann, "one", user=name("bob")) == 1  # a repeat of what was sent before
            signal = await ann.post(signal=Signal(user=name("bob"), name="typing"))
            with pytest.raises(Refused, match="does not take messages from you"):
                await ann.reply(signal)
            assert await said(bob, "three", conversation=chat) == 2
            assert await said(ann, "four", conversation=group) == 2
            edit = Change(conversation=chat, client_id="e", seq=1, edit=Content(text="other"))
            assert await refused(ann, change=edit) == "FORBIDDEN"
            react = Change(conversation=chat, client_id="r", seq=2, react="+")
            assert await refused(ann, change=react) == "FORBIDDEN"
            create = GroupRequest.Create(name="more", members=[name("bob"), name("cid")])
            made = (await ann.request(group=GroupRequest(create=create))).group_info
            assert list(made.refused) == [name("bob")]
            pushed = (await ann.push("presence_list", timeout_s=2)).presence_list.users[0]
            seen = await presence_of(ann, name("bob"))
            assert (pushed.online, seen.online) == (False, False)
            assert seen.last_seen_ms > 0
        # Bob leaves, comes back, and leaves: that is shown to who is not blocked.
        assert not (await eve.push("presence_list")).presence_list.users[0].online
        await presence_of(ann, name("bob"), watch=True)
        async with cluster.session(name("bob")) as (bob, _):
            assert (await eve.push("presence_list")).presence_list.users[0].online
            await ann.request(ping=Ping())
            assert ann.pushed("presence_list") == []
            listed = (await bob.request(block=BlockRequest(list=BlockRequest.List()))).user_page
            assert (list(listed.users), listed.more) == ([name("ann")], False)
            await blocked(bob, name("ann"), on=False)
            assert (await ann.push("presence_list", timeout_s=2)).presence_list.users[0].online
            assert await said(ann, "two", user=name("bob")) == 3
            assert (await bob.request(block=BlockRequest(list=BlockRequest.List()))).user_page.users == []


async def test_a_profile_is_shown_to_who_watches_it_on_whichever_node(cluster: Cluster, name: Name) -> None:
    async with (
        cluster.session(name("ann"), device="phone") as (phone, welcome),
        cluster.session(name("bob"), "tcp", visiting=True) as (bob, _),
        cluster.session(name("cid")) as (cid, _),
    ):
        assert welcome.limits.own_profile
        assert await profiles(bob, name("ann"), watch=True) == [Profile(user=name("ann"))]
        await profiles(phone, name("ann"), watch=True)
        assert await profiles(cid, name("ann")) == [Profile(user=name("ann"))]
        new = Profile(name="Ann", avatar="https://example.org/ann.png", attributes={"pronoun": "she"})
        answer = (await phone.request(profile=ProfileRequest(set=new))).profile_list.profiles[0]
        assert (answer.user, answer.name, answer.version) == (name("ann"), "Ann", 1)
        assert list((await bob.push("profile_list", timeout_s=2)).profile_list.profiles) == [answer]
        assert await profiles(cid, name("ann")) == [answer]
        assert await refused(phone, profile=ProfileRequest(set=Profile(name="Anne", version=7))) == "CONFLICT"
        media = Profile(name="Ann", avatar="0123456789abcdef")
        assert await refused(phone, profile=ProfileRequest(set=media)) == "BAD_REQUEST"
        assert await profiles(bob, name("ann")) == [answer]  # and watches no more
        await phone.request(profile=ProfileRequest(set=Profile(name="Anne", version=1)))
        assert [each.version for each in await profiles(bob, name("ann"))] == [2]
        for wire in (bob, phone, cid):
            await wire.request(ping=Ping())
            assert wire.pushed("profile_list") == []


async def test_members_see_who_has_read_a_message(cluster: Cluster, name: Name) -> None:
    async with (
        cluster.session(name("ann")) as (ann, _),
        cluster.session(name("bob"), "tcp") as (bob, _),
        cluster.session(name("eve")) as (eve, _),
    ):
        create = GroupRequest.Create(name="team", members=[name("bob"), name("cid")])
        group = (await ann.request(group=GroupRequest(create=create))).group_info.conversation
        seq = await said(ann, "hello", conversation=group)
        await bob.request(read=Read(conversation=group, seq=seq))
        page = (await ann.request(readers=ReadersRequest(conversation=group, seq=seq))).reader_page
        assert (list(page.users), page.count, page.more) == ([name("bob")], 1, False)
        assert await refused(eve, readers=ReadersRequest(conversation=group, seq=seq)) == "FORBIDDEN"
        assert await refused(ann, readers=ReadersRequest(conversation=group, seq=seq + 1)) == "NOT_FOUND"
