"""Profiles, blocks, preferences, readers, and what is new in groups, against a scripted access node on real sockets."""

from __future__ import annotations

import pytest

from tests.scenario.client.events import the_next
from tests.support.cluster.fake_access import FakeAccess
from tests.support.cluster.model_server import ModelServer
from tidings import (
    Client,
    Conflict,
    Forbidden,
    NotFound,
    Preferences,
    PreferencesChanged,
    Profile,
    ProfileChanged,
    Role,
)
from tidings_protocol import client_pb2 as pb


async def test_profiles_are_set_read_and_watched_over_connections(access: FakeAccess, server: ModelServer) -> None:
    async with Client(access.ws, token="ann") as ann, Client(access.ws, token="bob") as bob:
        mine = await ann.set_profile("Ann", attributes={"town": "Ulm"})
        assert mine == Profile("ann", "Ann", "", {"town": "Ulm"}, 1)
        assert await bob.profiles(["ann", "cleo"], watch=True) == [mine, Profile("cleo")]
        await ann.set_profile("Anna", version=1)
        assert (await the_next(bob, ProfileChanged)).profile.name == "Anna"
        with pytest.raises(Conflict):
            await ann.set_profile("Annie", version=1)
        access.cut()
        server.people.set_profile(pb.Profile(user="ann", name="A."))
        while (await the_next(bob, ProfileChanged)).profile.name != "A.":
            pass  # told again with the new session
        await bob.unwatch_profiles(["ann"])
        assert all(session.profiles == {"cleo"} for session in server.sessions if session.user == "bob")


async def test_who_is_blocked_cannot_write(access: FakeAccess) -> None:
    async with Client(access.ws, token="ann") as ann, Client(access.ws, token="bob") as bob:
        await ann.block(["bob", "cleo"])
        assert await ann.blocked() == ["bob", "cleo"]
        with pytest.raises(Forbidden, match="does not take messages from you"):
            await bob.send("ann", "hi")
        await ann.unblock(["bob"])
        assert await ann.blocked() == ["cleo"]
        assert (await bob.send("ann", "hi")).seq == 1


@pytest.mark.parametrize("codec", ["proto", "json"])
async def test_what_is_not_given_of_the_preferences_stays(access: FakeAccess, codec: str) -> None:
    async with (
        Client(access.ws, token="ann", device="phone", codec=codec) as phone,
        Client(access.ws, token="ann", codec=codec) as laptop,
    ):
        await laptop.send("bob", "hi")
        await laptop.prefer("bob", pinned=True, draft="well …")
        await laptop.prefer("bob", pinned=False, muted_until_ms=-1)
        await the_next(phone, PreferencesChanged)
        told = (await the_next(phone, PreferencesChanged)).preferences
        assert told == Preferences("d:ann|bob", muted_until_ms=-1, draft="well …")
        assert told.muted(0)
        assert (await phone.conversations())[0].preferences == told


async def test_readers_of_a_message(access: FakeAccess, server: ModelServer) -> None:
    server.page_max = 1
    server.group("g:1", ["ann", "bob", "cleo"])
    async with Client(access.ws, token="ann") as ann:
        await ann.send("g:1", "hi")
        server.rooms["g:1"].read.update(bob=1, cleo=1)
        readers = await ann.readers("g:1", 1)
        assert (readers.users, readers.count) == (("bob", "cleo"), 2)
        assert (await ann.readers("g:1", 1, delivered=True)).users == ()


async def test_a_group_is_set_and_its_members_are_kept_in_order(access: FakeAccess, server: ModelServer) -> None:
    async with Client(access.ws, token="ann") as ann:
        group = await ann.create_group("crew", ["bob", "cleo"])
        changed = await ann.update_group(group.id, description="us", slow_s=5, attributes={"a": "1", "b": "2"})
        assert (changed.settings.description, changed.settings.slow_s, changed.settings.open) == ("us", 5, False)
        changed = await ann.update_group(group.id, name="team", slow_s=0, attributes={"a": ""})
        assert (changed.name, changed.settings.slow_s, changed.settings.attributes) == ("team", 0, {"b": "2"})
        await ann.mute(group.id, ["bob"])
        await ann.unmute(group.id, ["bob"])
        assert server.rooms[group.id].muted == {"bob": 0}
        await ann.ban(group.id, ["cleo"])
        assert await ann.banned(group.id) == ["cleo"]
        assert await ann.add(group.id, ["cleo", "dan"]) == ["cleo"]
        await ann.unban(group.id, ["cleo"])
        assert await ann.add(group.id, ["cleo"]) == []
        await ann.dissolve(group.id)
        assert server.rooms[group.id].members == {}


async def test_one_asks_to_join_or_has_an_invite(access: FakeAccess) -> None:
    async with Client(access.ws, token="ann") as ann, Client(access.ws, token="bob") as bob:
        group = await ann.create_group("crew")
        await ann.update_group(group.id, approval=True)
        assert (await bob.join(group.id, text="me too")).role is Role.NONE
        assert (await ann.group(group.id)).join_requests == 1
        assert [(asked.user, asked.text) for asked in await ann.join_requests(group.id)] == [("bob", "me too")]
        await ann.decide(group.id, ["bob"], accept=False)
        assert (await bob.group(group.id)).role is Role.NONE

        invite = await ann.invite(group.id, ttl_s=60, uses=3)
        assert (invite.group, invite.uses_left, invite.by) == (group.id, 3, "ann")
        assert (await bob.invited(group.id, invite.invite)).name == "crew"
        assert (await bob.join(group.id, invite=invite.invite)).role is Role.MEMBER
        unlimited = await ann.invite(group.id)
        assert unlimited.uses_left is None
        assert await ann.invites(group.id) == [invite, unlimited]
        await ann.uninvite(group.id)
        with pytest.raises(NotFound):
            await bob.join(group.id, invite=invite.invite)
