"""What people do for themselves alone: hide, prefer; and who has read what."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.talk import (
    People,
    act,
    change,
    created,
    edit,
    hide,
    listed,
    live,
    page,
    read,
    recall,
    refusal,
    say,
    still_waiting,
    synced,
)
from tests.support.device.pipes import WAYS, Way
from tests.support.device.wire import Wire
from tidings_protocol.client_pb2 import (
    Ack,
    BlockRequest,
    ConversationPreferences,
    GroupRequest,
    Hidden,
    Hide,
    ListConversations,
    Message,
    Ping,
    Prefer,
    Profile,
    ProfileRequest,
    ReaderPage,
    ReadersRequest,
    UserPage,
)
from tidings_protocol.ids import direct

pytestmark = pytest.mark.e2e
Name = Callable[[str], str]
each_way = pytest.mark.parametrize("way", WAYS)


async def prefer(wire: Wire, conversation: str, **fields: object) -> str:
    """Sets these; how it is refused."""
    asked = Prefer(conversation=conversation, **fields)  # type: ignore[arg-type]
    return await refusal(wire.request(prefer=asked))


async def names(wire: Wire) -> list[str]:
    found = (await wire.request(conversations=ListConversations(limit=200))).conversation_page.conversations
    return [each.conversation for each in found]


async def readers(wire: Wire, conversation: str, seq: int, **fields: object) -> ReaderPage:
    asked = ReadersRequest(conversation=conversation, seq=seq, **fields)  # type: ignore[arg-type]
    return (await wire.request(readers=asked)).reader_page


async def blocked(wire: Wire, *users: str, on: bool = True) -> str:
    return await refusal(wire.request(block=BlockRequest(set=BlockRequest.Set(users=users, blocked=on))))


async def blocks(wire: Wire, **fields: object) -> UserPage:
    listing = BlockRequest.List(**fields)  # type: ignore[arg-type]
    return (await wire.request(block=BlockRequest(list=listing))).user_page


# ---- hide


@each_way
async def test_what_is_hidden_is_shown_to_this_user_no_more(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        (laptop,) = await people.come("bob", device="laptop", visiting=True)
        chat = direct(name("ann"), name("bob"))
        for text in ("one", "two", "three"):
            await say(ann, chat, text, mentions=[name("bob")])
        await edit(ann, chat, 3, "drei", mentions=[name("bob")])
        await hide(bob, chat, 3, 77)
        assert (await laptop.push("hidden")).hidden == Hidden(conversation=chat, seqs=[3])
        await bob.request(ping=Ping())
        assert bob.pushed("hidden") == []
        for wire in (bob, laptop):
            assert [entry.message.seq for entry in (await page(wire, chat)).entries] == [1, 2]
            with_changes = [entry.message for entry in (await page(wire, chat, changes=True)).entries]
            assert [each.seq for each in with_changes if each.message_id] == [1, 2]
            assert b"drei" not in (await page(wire, chat, changes=True)).SerializeToString()
            entries = await synced(wire)
            assert [entry.number for entry in entries] == [1, 2, 3, 4]
            assert [entry.message for entry in entries[2:]] == [
                Message(conversation=chat, seq=3),
                Message(conversation=chat, seq=4),
            ]
            mine = await listed(wire, chat)
            assert (mine.last.seq, mine.unread, mine.unread_mentions, mine.head) == (2, 2, 2, 4)
        assert len((await page(ann, chat)).entries) == 3
        assert (await listed(ann, chat)).last.content.text == "drei"
        later = await edit(ann, chat, 3, "trois")
        assert await live(bob, chat, later.seq) == Message(conversation=chat, seq=later.seq)
        later = await recall(ann, chat, 3)
        assert await live(laptop, chat, later.seq) == Message(conversation=chat, seq=later.seq)


@each_way
async def test_all_up_to_a_place_is_hidden_and_it_is_cut_to_the_head(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        (laptop,) = await people.come("bob", device="laptop")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "one")
        await say(ann, chat, "two")
        await hide(bob, chat, through=99)
        assert (await laptop.push("hidden")).hidden == Hidden(conversation=chat, through=2)
        mine = await listed(bob, chat)
        assert (mine.hidden_through, mine.unread, mine.HasField("last")) == (2, 0, False)
        assert list((await page(bob, chat)).entries) == []
        await hide(bob, chat, through=1)
        assert (await listed(bob, chat)).hidden_through == 2, "not undone"
        await say(ann, chat, "three")
        assert [entry.message.seq for entry in (await page(bob, chat)).entries] == [3]
        assert (await listed(bob, chat)).last.seq == 3


@each_way
async def test_too_many_seqs_are_a_bad_request_and_strangers_are_forbidden(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with People(cluster, name, way) as people:
        ann, eve = await people.come("ann", "eve")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "one")
        assert await refusal(hide(ann, chat, *range(1, 202))) == "BAD_REQUEST"
        assert await refusal(hide(ann, chat, *range(1, 201))) == ""
        assert await refusal(eve.request(hide=Hide(conversation=chat, seqs=[1]))) == "FORBIDDEN"
        assert await refusal(hide(ann, f"g:{name('none')}", 1)) == "NOT_FOUND"


@each_way
async def test_ones_own_messages_are_hidden_from_oneself_alone(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "mine")
        await hide(ann, chat, 1)
        assert list((await page(ann, chat)).entries) == []
        assert [entry.message.content.text for entry in (await page(bob, chat)).entries] == ["mine"]
        assert await still_waiting(bob) != []
        assert (await edit(ann, chat, 1, "still mine")).seq == 2


# ---- prefer


@each_way
async def test_what_is_not_given_stays(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        (ann,) = await people.come("ann")
        (laptop,) = await people.come("ann", device="laptop", visiting=True)
        chat = direct(name("ann"), name("bob"))
        until_ms = int(time.time() * 1000) + 3_600_000
        assert await prefer(ann, chat, pinned=True, muted_until_ms=until_ms, draft="Dear") == ""
        wanted = ConversationPreferences(conversation=chat, pinned=True, muted_until_ms=until_ms, draft="Dear")
        assert (await laptop.push("preferences")).preferences == wanted
        assert await prefer(ann, chat, archived=True) == ""
        wanted.archived = True
        assert (await laptop.push("preferences")).preferences == wanted
        assert await prefer(ann, chat, pinned=False, muted_until_ms=0, draft="") == ""
        wanted = ConversationPreferences(conversation=chat, archived=True)
        assert (await laptop.push("preferences")).preferences == wanted
        await ann.request(ping=Ping())
        assert ann.pushed("preferences") == []
        await say(ann, chat, "hello")
        assert (await listed(ann, chat)).preferences == wanted


@each_way
async def test_what_cannot_be_preferred_is_refused(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, eve = await people.come("ann", "eve")
        chat = direct(name("ann"), name("bob"))
        group = await created(ann, [name("bob")])
        for muted in (1, -2, int(time.time() * 1000) - 60_000):
            assert await prefer(ann, chat, muted_until_ms=muted) == "BAD_REQUEST"
        assert await prefer(ann, chat, draft="é" * 2049) == "TOO_LARGE"
        assert await prefer(ann, chat, draft="é" * 2048) == ""
        assert await prefer(eve, chat, pinned=True) == "FORBIDDEN"
        assert await prefer(eve, group, pinned=True) == "FORBIDDEN"
        assert await prefer(eve, f"g:{name('none')}", pinned=True) == "NOT_FOUND"


@each_way
async def test_a_hidden_conversation_comes_back_with_the_next_message_not_with_a_change(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        group = await created(ann, [name("bob")])
        seq = (await say(ann, group, "one")).seq
        assert await prefer(bob, group, hidden=True) == ""
        assert group not in await names(bob)
        await edit(ann, group, seq, "uno")
        await change(ann, group, seq, react="+")
        await act(ann, rename=GroupRequest.Rename(conversation=group, name="crew"))
        assert group not in await names(bob)
        assert group in await names(ann)
        await say(ann, group, "two")
        assert group in await names(bob)
        assert not (await listed(bob, group)).preferences.hidden


@each_way
async def test_marked_unread_is_gone_with_the_next_read(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "one")
        await read(bob, chat, 1)
        assert await prefer(bob, chat, marked_unread=True) == ""
        mine = await listed(bob, chat)
        assert (mine.preferences.marked_unread, mine.unread) == (True, 0)
        await read(bob, chat, 1)
        assert not (await listed(bob, chat)).preferences.marked_unread


@each_way
async def test_preferences_are_kept_over_leaving_and_coming_back_but_draft_and_hidden(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        group = await created(ann, [name("bob")], open=True)
        assert await prefer(bob, group, pinned=True, muted_until_ms=-1, draft="Dear", hidden=True) == ""
        await act(bob, leave=GroupRequest.Leave(conversation=group))
        assert await prefer(bob, group, archived=True) == "FORBIDDEN"
        await act(bob, join=GroupRequest.Join(conversation=group))
        kept = (await listed(bob, group)).preferences
        assert kept == ConversationPreferences(conversation=group, pinned=True, muted_until_ms=-1)


# ---- readers


@each_way
async def test_readers_come_by_pages_without_the_sender_by_their_names(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob, cid, eve = await people.come("ann", "bob", "cid", "eve")
        group = await created(ann, [name("bob"), name("cid"), name("dee")])
        seq = (await say(bob, group, "hello")).seq
        assert (await readers(ann, group, seq)).count == 0
        await cid.post(ack=Ack(number=2))
        await read(cid, group, seq)
        await read(ann, group, seq)
        await read(bob, group, seq)
        found = await readers(bob, group, seq)
        assert (list(found.users), found.count, found.more) == ([name("ann"), name("cid")], 2, False)
        first = await readers(bob, group, seq, limit=1)
        assert (list(first.users), first.count, first.more) == ([name("ann")], 2, True)
        rest = await readers(bob, group, seq, limit=1, after=first.next)
        assert (list(rest.users), rest.more) == ([name("cid")], False)
        assert list((await readers(bob, group, seq, delivered=True)).users) == [name("ann"), name("cid")]
        for wire, target, code in ((eve, seq, "FORBIDDEN"), (ann, seq + 9, "NOT_FOUND")):
            asked = ReadersRequest(conversation=group, seq=target)
            assert await refusal(wire.request(readers=asked)) == code


async def test_of_large_groups_nobody_sees_readers(cluster: Cluster, name: Name) -> None:
    async with People(cluster, name, "json") as people:
        (ann,) = await people.come("ann")
        group = await created(ann, [name(f"m{number}") for number in range(201)])
        seq = (await say(ann, group, "hello")).seq
        asked = ReadersRequest(conversation=group, seq=seq)
        assert await refusal(ann.request(readers=asked)) == "FORBIDDEN"


# ---- block and profile: what test_people.py leaves


@each_way
async def test_blocks_are_listed_by_user_id_and_bounded(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        (ann,) = await people.come("ann")
        assert await blocked(ann, *(f"u{number}" for number in range(101))) == "BAD_REQUEST"
        assert await blocked(ann, "not a name!") == "BAD_REQUEST"
        for hundred in range(10):
            assert await blocked(ann, *(f"u{hundred}{number:02}" for number in range(100))) == ""
        assert await blocked(ann, "u1000") == "BAD_REQUEST"
        assert await blocked(ann, "u000", "u999") == "", "who is blocked already"
        first = await blocks(ann, limit=2)
        assert (list(first.users), first.more) == (["u000", "u001"], True)
        assert list((await blocks(ann, limit=2, after=first.next)).users) == ["u002", "u003"]
        assert await blocked(ann, "u000", "nobody", on=False) == ""
        assert await blocked(ann, "u1000") == ""
        assert list((await blocks(ann, limit=1)).users) == ["u001"]


@each_way
async def test_a_block_is_one_way_and_adding_leaves_the_blocker_out(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        await blocked(ann, name("bob"))
        chat = direct(name("ann"), name("bob"))
        assert await refusal(say(bob, chat, "hi")) == "FORBIDDEN"
        assert (await say(ann, chat, "hi")).seq == 1
        group = await created(bob, [])
        add = GroupRequest.Add(conversation=group, users=[name("ann"), name("cid")])
        assert list((await act(bob, add=add)).ok.refused) == [name("ann")]
        alone = GroupRequest.Add(conversation=group, users=[name("ann")])
        assert await refusal(act(bob, add=alone)) == "FORBIDDEN"
        assert group not in await names(ann)


@each_way
async def test_profiles_are_bounded_and_replace_the_version_they_name(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")

        async def set_(**fields: object) -> str:
            new = Profile(**fields)  # type: ignore[arg-type]
            return await refusal(ann.request(profile=ProfileRequest(set=new)))

        assert await set_(name="Ann", version=3) == "CONFLICT"
        assert await set_(name="Ann", attributes={"a": "1", "b": "2"}) == ""
        assert await set_(name="Anne", version=1) == ""
        assert await set_(name="Anna", version=1) == "CONFLICT"
        assert await set_(name="Anna") == ""
        assert await set_(name="x" * 257) in {"TOO_LARGE", "BAD_REQUEST"}
        assert await set_(attributes={str(n): "v" for n in range(17)}) in {"TOO_LARGE", "BAD_REQUEST"}
        assert await set_(attributes={"a": "v" * 4096}) in {"TOO_LARGE", "BAD_REQUEST"}
        assert await set_(name="Eve", user=name("eve")) in {"FORBIDDEN", "BAD_REQUEST"}
        for avatar in ("http://x.org/a.png", "javascript:alert(1)", "nothing-uploaded"):
            assert await set_(name="Anna", avatar=avatar) == "BAD_REQUEST"
        get = ProfileRequest.Get(users=[name("ann"), name("nobody")])
        found = (await bob.request(profile=ProfileRequest(get=get))).profile_list.profiles
        assert [(each.user, each.name, each.version) for each in found] == [
            (name("ann"), "Anna", 3),
            (name("nobody"), "", 0),
        ]
        many = ProfileRequest.Get(users=[f"u{number}" for number in range(101)])
        assert await refusal(bob.request(profile=ProfileRequest(get=many))) == "BAD_REQUEST"
