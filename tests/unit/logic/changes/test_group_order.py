"""What keeps order in groups, from a request to storage and back: settings, mutes, pace, bans, their end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from protos.tidings.internal.v1 import delivery_pb2
from services.common.clock import ManualClock
from services.storage.upkeep import dissolution
from tests.unit.logic.harness import POLICY, Logic, body, logic, message
from tests.unit.logic.on_storage import acts_of, on_storage
from tests.unit.storage.nodes import World
from tidings_protocol import client_pb2
from tidings_protocol.client_pb2 import GroupSettings

Push = delivery_pb2.Push
Request = client_pb2.GroupRequest
SMALL = ["adam", "mia", "max"]
LARGE = ["adam", "mia", "max", "u4", "u5", "u6"]


async def act(node: Logic, user: str, op: str = "", **fields: Any) -> client_pb2.ServerFrame:
    return await node.ask(user, op, group=Request(**fields))


async def done(node: Logic, user: str, op: str = "", **fields: Any) -> client_pb2.ServerFrame:
    reply = await act(node, user, op, **fields)
    assert not reply.HasField("error"), reply.error
    return reply


async def refused(node: Logic, user: str, **fields: Any) -> str:
    reply = await act(node, user, **fields)
    assert reply.HasField("error"), reply
    return reply.error.code


async def code_of_send(node: Logic, user: str, group: str, text: str) -> str:
    [outcome] = await node.send(message(user, group, text))
    return outcome.fault.code


@asynccontextmanager
async def there(others: list[str], world: World | None = None, **settings: Any) -> AsyncIterator[tuple[Logic, str]]:
    """A group of olga's with these others, of whom adam is an admin."""
    async with on_storage(world) as node:
        made = await done(node, "olga", create=Request.Create(name="Tea", members=others, **settings))
        group = made.group_info.conversation
        role = Request.SetRole(conversation=group, user="adam", role=client_pb2.Member.ADMIN)
        await done(node, "olga", set_role=role)
        node.pushes()
        acts_of(node)
        yield node, group


async def info(node: Logic, user: str, group: str) -> client_pb2.GroupInfo:
    return (await done(node, user, info=Request.Info(conversation=group))).group_info


async def members(node: Logic, group: str) -> dict[str, client_pb2.Member]:
    page = (await done(node, "olga", members=Request.Members(conversation=group))).member_page
    return {member.user: member for member in page.members}


def notices(pushes: list[delivery_pb2.Push]) -> list[dict[str, Any]]:
    return [json.loads(body(push).content.data) for push in pushes]


# ---- settings


@pytest.mark.parametrize("others", [SMALL, LARGE])
async def test_settings_change_together_and_all_hear_which(others: list[str]) -> None:
    async with there(others) as (node, group):
        settings = GroupSettings(name="Coffee", description="black", slow_s=0, muted=True, attributes={"c": "brown"})
        reply = await done(node, "adam", "op", update=Request.Update(conversation=group, settings=settings))
        assert reply.group_info.settings.description == "black"
        [notice, *_] = notices(node.pushes())
        assert (notice["act"], notice["by"], notice["name"]) == ("update", "adam", "Coffee")
        told = {"name": "Coffee", "description": "black", "muted": True, "attributes": {"c": "brown"}}
        assert notice["settings"] == told
        found = await info(node, "mia", group)
        assert (found.name, found.settings.name, found.settings.muted) == ("Coffee", "Coffee", True)
        assert dict(found.settings.attributes) == {"c": "brown"}
        assert all(found.settings.HasField(name) for name in ("open", "slow_s", "approval", "avatar"))
        again = await done(node, "adam", "op", update=Request.Update(conversation=group, settings=settings))
        assert again.group_info.name == "Coffee"
        assert [each[0] for each in acts_of(node)] == ["update"]


async def test_what_is_not_given_stays_and_an_empty_value_removes_an_attribute() -> None:
    async with there(SMALL) as (node, group):
        for settings in (
            GroupSettings(description="one", attributes={"a": "1", "b": "2"}),
            GroupSettings(avatar="m:1", attributes={"a": "", "c": "3"}),
        ):
            await done(node, "olga", update=Request.Update(conversation=group, settings=settings))
        found = (await info(node, "mia", group)).settings
        assert (found.description, found.avatar, found.name) == ("one", "m:1", "Tea")
        assert dict(found.attributes) == {"b": "2", "c": "3"}


async def test_what_is_so_already_is_no_change() -> None:
    async with there(SMALL) as (node, group):
        settings = GroupSettings(name="Tea", open=False, attributes={"x": ""})
        assert (await done(node, "adam", update=Request.Update(conversation=group, settings=settings))).group_info.name
        assert node.pushes() == []


@pytest.mark.parametrize("name", ["open", "channel", "share_history", "approval", "members_add"])
async def test_some_settings_are_the_owners_alone(name: str) -> None:
    async with there(SMALL) as (node, group):
        settings = GroupSettings()
        setattr(settings, name, True)
        update = Request.Update(conversation=group, settings=settings)
        assert await refused(node, "adam", update=update) == "FORBIDDEN"
        assert await refused(node, "mia", update=update) == "FORBIDDEN"
        await done(node, "olga", update=update)
        assert getattr((await info(node, "mia", group)).settings, name) is True


async def test_settings_that_no_group_may_have_are_refused() -> None:
    async with there(SMALL) as (node, group):
        for settings, code in (
            (GroupSettings(description="x" * 1025), "TOO_LARGE"),
            (GroupSettings(avatar="x" * 2049), "TOO_LARGE"),
            (GroupSettings(name="x" * 257), "BAD_REQUEST"),
            (GroupSettings(slow_s=24 * 3600 + 1), "BAD_REQUEST"),
            (GroupSettings(attributes={str(each): "x" for each in range(17)}), "TOO_LARGE"),
            (GroupSettings(attributes={"x": "y" * 4096}), "TOO_LARGE"),
            (GroupSettings(attributes={"": "y"}), "BAD_REQUEST"),
        ):
            assert await refused(node, "olga", update=Request.Update(conversation=group, settings=settings)) == code
        full = GroupSettings(attributes={str(each): "x" for each in range(16)})
        await done(node, "olga", update=Request.Update(conversation=group, settings=full))
        more = GroupSettings(attributes={"one": "more"})
        assert await refused(node, "olga", update=Request.Update(conversation=group, settings=more)) == "TOO_LARGE"


# ---- mutes


@pytest.mark.parametrize("others", [SMALL, LARGE])
async def test_who_is_muted_by_name_neither_sends_nor_signals_until_the_time_is_over(others: list[str]) -> None:
    world = World()
    async with there(others, world) as (node, group):
        until_ms = world.clock.wall_ms() + 60_000
        await done(node, "adam", mute=Request.Mute(conversation=group, users=["mia", "eve"], until_ms=until_ms))
        heard = {user for push in node.pushes() for user in push.users}
        assert heard == (set() if others is LARGE else {"olga", *SMALL})
        assert await code_of_send(node, "mia", group, "one") == "FORBIDDEN"
        assert await code_of_send(node, "max", group, "two") == ""
        assert (await info(node, "mia", group)).muted_until_ms == until_ms
        assert (await info(node, "max", group)).muted_until_ms == 0
        assert (await members(node, group))["mia"].muted_until_ms == until_ms
        world.clock.advance(61)
        assert await code_of_send(node, "mia", group, "three") == ""
        assert (await info(node, "mia", group)).muted_until_ms == 0
        assert (await members(node, group))["mia"].muted_until_ms == 0
        assert acts_of(node)[0] == ("mute", "adam", ("mia",))


async def test_a_mute_for_ever_lasts_and_ends_by_an_unmute() -> None:
    world = World()
    async with there(SMALL, world) as (node, group):
        await done(node, "olga", mute=Request.Mute(conversation=group, users=["adam", "mia"], until_ms=-1))
        [notice, *_] = notices(node.pushes())
        assert (notice["act"], notice["untilMs"], notice["users"]) == ("mute", "-1", ["adam", "mia"])
        world.clock.advance(10**7)
        for user in ("adam", "mia"):
            assert await code_of_send(node, user, group, "one") == "FORBIDDEN"
        again = await done(node, "olga", mute=Request.Mute(conversation=group, users=["mia"], until_ms=-1))
        assert again.HasField("ok")
        assert node.pushes() == []
        await done(node, "olga", mute=Request.Mute(conversation=group, users=["adam", "mia"], until_ms=0))
        assert {notice["act"] for notice in notices(node.pushes())} == {"unmute"}
        assert await code_of_send(node, "mia", group, "two") == ""


async def test_who_may_mute_whom() -> None:
    async with there([*SMALL, "anna"]) as (node, group):
        role = Request.SetRole(conversation=group, user="anna", role=client_pb2.Member.ADMIN)
        await done(node, "olga", set_role=role)
        for user, other, until_ms, code in (
            ("adam", "anna", -1, "FORBIDDEN"),
            ("adam", "olga", -1, "FORBIDDEN"),
            ("adam", "adam", -1, "BAD_REQUEST"),
            ("mia", "max", -1, "FORBIDDEN"),
            ("eve", "max", -1, "FORBIDDEN"),
            ("olga", "eve", -1, "NOT_FOUND"),
            ("olga", "mia", -2, "BAD_REQUEST"),
            ("olga", "mia", 1, "BAD_REQUEST"),
        ):
            mute = Request.Mute(conversation=group, users=[other], until_ms=until_ms)
            assert await refused(node, user, mute=mute) == code
        assert await refused(node, "olga", mute=Request.Mute(conversation=group, until_ms=-1)) == "BAD_REQUEST"


async def test_a_change_of_role_keeps_a_mute_and_who_becomes_the_owner_loses_it() -> None:
    async with there(SMALL) as (node, group):
        await done(node, "olga", mute=Request.Mute(conversation=group, users=["mia"], until_ms=-1))
        for role in (client_pb2.Member.ADMIN, client_pb2.Member.OWNER):
            assert (await members(node, group))["mia"].muted_until_ms == -1
            await done(node, "olga", set_role=Request.SetRole(conversation=group, user="mia", role=role))
        assert (await members(node, group))["mia"].muted_until_ms == 0
        assert await code_of_send(node, "mia", group, "mine") == ""


async def test_in_a_muted_group_owner_and_admins_send() -> None:
    async with there(SMALL) as (node, group):
        await done(node, "adam", update=Request.Update(conversation=group, settings=GroupSettings(muted=True)))
        codes = [await code_of_send(node, user, group, "x") for user in ("olga", "adam", "mia")]
        assert codes == ["", "", "FORBIDDEN"]
        [outcome] = await node.send_rows(message("mia", group, "as a row"))
        assert outcome.fault.code == "FORBIDDEN"


# ---- pace


@pytest.mark.parametrize("others", [SMALL, LARGE])
async def test_in_a_slow_group_a_member_sends_once_in_so_many_seconds(others: list[str]) -> None:
    world = World()
    async with there(others, world) as (node, group):
        await done(node, "olga", update=Request.Update(conversation=group, settings=GroupSettings(slow_s=30)))
        [first] = await node.send_rows(message("mia", group, "one"))
        assert first.seq
        world.clock.advance(10)
        [second] = await node.send_rows(message("mia", group, "two"))
        assert (second.fault.code, second.fault.retry_after_ms) == ("FORBIDDEN", 20_000)
        [again] = await node.send_rows(message("mia", group, "one"))
        assert (again.seq, again.duplicate) == (first.seq, True)
        assert await code_of_send(node, "max", group, "mine") == ""
        for user in ("olga", "adam"):
            assert [await code_of_send(node, user, group, text) for text in "ab"] == ["", ""]
        world.clock.advance(20)
        [second] = await node.send_rows(message("mia", group, "two"))
        assert second.seq


async def test_the_pace_survives_a_restart_and_leaving_and_a_retry_is_still_a_duplicate() -> None:
    world = World()
    async with there(SMALL, world, open=True) as (node, group):
        await done(node, "olga", update=Request.Update(conversation=group, settings=GroupSettings(slow_s=30)))
        assert await code_of_send(node, "mia", group, "one") == ""
        await done(node, "mia", leave=Request.Leave(conversation=group))
        await done(node, "mia", join=Request.Join(conversation=group))
        assert await code_of_send(node, "mia", group, "two") == "FORBIDDEN"
    async with on_storage(world) as node:
        assert await code_of_send(node, "mia", group, "two") == "FORBIDDEN"
        [again] = await node.send(message("mia", group, "one"))
        assert again.duplicate
        world.clock.advance(31)
        assert await code_of_send(node, "mia", group, "two") == ""


async def test_of_two_messages_that_come_together_a_slow_group_takes_the_first() -> None:
    async with there(SMALL) as (node, group):
        await done(node, "olga", update=Request.Update(conversation=group, settings=GroupSettings(slow_s=30)))
        outcomes = await node.send_rows(message("mia", group, "one"), message("mia", group, "two"))
        assert [bool(outcome.seq) for outcome in outcomes] == [True, False]
        assert outcomes[1].fault.retry_after_ms == 30_000


# ---- bans


@pytest.mark.parametrize("others", [SMALL, LARGE])
async def test_who_is_banned_is_out_and_nothing_brings_them_back(others: list[str]) -> None:
    async with there(others, open=True) as (node, group):
        made = await done(node, "olga", invite=Request.Invite(conversation=group))
        await done(node, "adam", ban=Request.Ban(conversation=group, users=["mia", "eve"], banned=True))
        outside = [list(push.users) for push in node.pushes(Push.GROUP_INFO)]
        assert outside == ([["mia"]] if others is LARGE else [])
        assert set(await members(node, group)) == {"olga", *others} - {"mia"}
        for user in ("mia", "eve"):
            for join in (
                Request.Join(conversation=group),
                Request.Join(conversation=group, invite=made.invite_info.invite),
            ):
                assert await refused(node, user, join=join) == "FORBIDDEN"
        assert await refused(node, "olga", add=Request.Add(conversation=group, users=["mia"])) == "FORBIDDEN"
        added = await done(node, "olga", add=Request.Add(conversation=group, users=["eve", "new"]))
        assert list(added.ok.refused) == ["eve"]
        page = (await done(node, "adam", banned=Request.Banned(conversation=group, limit=1))).user_page
        assert (list(page.users), page.more) == (["eve"], True)
        rest = Request.Banned(conversation=group, after=page.next)
        assert list((await done(node, "adam", banned=rest)).user_page.users) == ["mia"]
        await done(node, "olga", ban=Request.Ban(conversation=group, users=["mia"]))
        await done(node, "mia", join=Request.Join(conversation=group))
        assert sorted(made[0] for made in acts_of(node)) == ["add", "ban", "join", "unban"]


async def test_all_of_a_small_group_hear_of_a_ban_also_who_is_banned() -> None:
    async with there(SMALL) as (node, group):
        await done(node, "olga", "op", ban=Request.Ban(conversation=group, users=["mia"], banned=True))
        pushes = node.pushes()
        assert {user for push in pushes for user in push.users} == {"olga", *SMALL}
        assert {notice["act"] for notice in notices(pushes)} == {"ban"}
        again = await done(node, "olga", ban=Request.Ban(conversation=group, users=["mia"], banned=True))
        assert again.HasField("ok")
        assert node.pushes() == []


async def test_who_may_ban_whom_and_who_sees_them() -> None:
    async with there([*SMALL, "anna"]) as (node, group):
        role = Request.SetRole(conversation=group, user="anna", role=client_pb2.Member.ADMIN)
        await done(node, "olga", set_role=role)
        for user, other, code in (
            ("adam", "anna", "FORBIDDEN"),
            ("adam", "olga", "FORBIDDEN"),
            ("olga", "olga", "BAD_REQUEST"),
            ("mia", "max", "FORBIDDEN"),
        ):
            ban = Request.Ban(conversation=group, users=[other], banned=True)
            assert await refused(node, user, ban=ban) == code
        assert await refused(node, "mia", banned=Request.Banned(conversation=group)) == "FORBIDDEN"
        assert await refused(node, "mia", ban=Request.Ban(conversation=group, users=["eve"])) == "FORBIDDEN"


async def test_as_many_may_be_banned_as_the_policy_says() -> None:
    assert POLICY.bans_max == 10_000
    async with there(SMALL) as (node, group):
        called: Any = node.storage
        documents = called.database.conversations
        documents[group] = replace(documents[group], bans=9_999, stamp=documents[group].stamp + 1)
        ban = Request.Ban(conversation=group, users=["eve", "ada"], banned=True)
        assert await refused(node, "olga", ban=ban) == "BAD_REQUEST"
        await done(node, "olga", ban=Request.Ban(conversation=group, users=["eve"], banned=True))


# ---- the end


@pytest.mark.parametrize("others", [SMALL, LARGE])
async def test_a_dissolved_group_is_forbidden_to_who_was_in_it_and_not_there_for_others(
    others: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dissolution, "STEP", 2)
    monkeypatch.setattr(dissolution, "PAUSE_S", 0)
    world = World()
    async with there(others, world, client_id="tea") as (node, group):
        first = await node.send(message("mia", group, "before"))
        for user in ("adam", "mia", "eve"):
            code = "FORBIDDEN"
            assert await refused(node, user, dissolve=Request.Dissolve(conversation=group)) == code
        await done(node, "olga", "op", dissolve=Request.Dissolve(conversation=group))
        parcels = [push for _, parcel in node.parcels() for push in parcel.pushes]
        if others is LARGE:
            assert [push.kind for push in parcels][-2:] == [Push.GROUP_INFO, Push.MEMBERSHIP]
            gone = client_pb2.GroupInfo.FromString(parcels[-2].body)
            assert (gone.conversation, gone.role, list(parcels[-2].users)) == (group, 0, [])
        assert acts_of(node)[-1][0] == "dissolve"
        # A repeat is answered as the first.
        await done(node, "olga", "op", dissolve=Request.Dissolve(conversation=group))

    async def judged(node: Logic) -> None:
        for user, code in (("mia", "FORBIDDEN"), ("olga", "FORBIDDEN"), ("eve", "NOT_FOUND")):
            assert await code_of_send(node, user, group, "after") == code
            for request in (
                {"info": Request.Info(conversation=group)},
                {"members": Request.Members(conversation=group)},
                {"join": Request.Join(conversation=group)},
                {"leave": Request.Leave(conversation=group)},
                {"dissolve": Request.Dissolve(conversation=group)},
                {"invites": Request.Invites(conversation=group)},
            ):
                assert await refused(node, user, **request) == code
            reply = await node.ask(user, history=client_pb2.History(conversation=group))
            assert reply.error.code == code
            reply = await node.ask(user, read=client_pb2.Read(conversation=group, seq=1))
            assert reply.error.code == code
            listed = await node.ask(user, conversations=client_pb2.ListConversations())
            assert list(listed.conversation_page.conversations) == []

    async with on_storage(world) as node:
        await judged(node)
        [again] = await node.send(message("mia", group, "before"))
        assert (again.seq, again.duplicate) == (first[0].seq, True)
        made = await done(node, "olga", create=Request.Create(name="Tea", client_id="tea"))
        assert made.group_info == client_pb2.GroupInfo(conversation=group)
        called: Any = node.storage
        assert await called.servicer._storage.dissolution.sweep() == 1
        assert await called.servicer._storage.dissolution.sweep() == 0
    async with on_storage(world) as node:
        await judged(node)


async def test_the_notice_of_the_end_is_the_last_message_of_a_small_group() -> None:
    async with there(SMALL) as (node, group):
        await done(node, "olga", dissolve=Request.Dissolve(conversation=group))
        pushes = node.pushes()
        assert {user for push in pushes for user in push.users} == {"olga", *SMALL}
        assert {(notice["act"], notice["name"]) for notice in notices(pushes)} == {("dissolve", "Tea")}


async def test_a_mute_is_over_by_the_clock_of_the_node() -> None:
    clock = ManualClock()
    async with logic(clock=clock) as node:
        node.storage.group("g:x", "olga", "mia")
        node.storage.conversations["g:x"].members["mia"].muted_until_ms = clock.wall_ms() + 1000
        assert await code_of_send(node, "mia", "g:x", "one") == "FORBIDDEN"
        clock.advance(2)
        assert await code_of_send(node, "mia", "g:x", "two") == ""


@pytest.mark.parametrize("others", [SMALL, LARGE])
async def test_a_repeat_with_the_same_op_is_one_change_and_is_answered_as_the_first(others: list[str]) -> None:
    async with there(others) as (node, group):
        script: list[tuple[str, dict[str, Any]]] = [
            ("mute", {"mute": Request.Mute(conversation=group, users=["mia"], until_ms=-1)}),
            ("unmute", {"mute": Request.Mute(conversation=group, users=["mia"])}),
            ("ban", {"ban": Request.Ban(conversation=group, users=["mia", "eve"], banned=True)}),
            ("unban", {"ban": Request.Ban(conversation=group, users=["mia", "eve"])}),
            ("update", {"update": Request.Update(conversation=group, settings=GroupSettings(slow_s=5))}),
            ("dissolve", {"dissolve": Request.Dissolve(conversation=group)}),
        ]
        called: Any = node.storage
        for name, request in script:
            called.lose.append("Change")
            lost = await act(node, "olga", name, **request)
            assert lost.error.code == "UNAVAILABLE"
            first = await done(node, "olga", name, **request)
            assert await done(node, "olga", name, **request) == first
        assert sorted(made[0] for made in acts_of(node)) == sorted(name for name, _ in script)
