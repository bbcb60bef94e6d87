"""What a change of a group rests on besides the group."""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.admission.circumstances import Circumstances, former_of
from services.storage.repository.contract import Repository
from tests.unit.storage.admission.test_admissions import ASKED, G, admit, ask, asked_for
from tests.unit.storage.nodes import World, change, changed, create


async def test_only_what_is_asked_for_is_told() -> None:
    async with World().node() as node:
        await asked_for(node, "bob")
        await admit(node, ask=ask("eve", 2))
        ban = change(G, "ann", "ban", 2, notices=[["ann", "bob"]])
        ban.settings.settings = ASKED
        ban.banned.append("zoe")
        await changed(node, ban)
        invite = pb.AdmitItem.Invite(invite="aa", by="bob", ttl_s=60, uses=2, version=3, own_max=5)
        await admit(node, invite=invite)
        users = ["eve", "zoe", "ida"]
        [nothing, bans, requests, invited] = await node.loads.load(
            [
                pb.LoadItem(conversation=G, users=users),
                pb.LoadItem(conversation=G, users=users, bans=True),
                pb.LoadItem(conversation=G, users=users, requests=True),
                pb.LoadItem(conversation=G, users=users, invite="aa", actor="eve"),
            ]
        )
        assert (list(nothing.banned), list(nothing.asking), nothing.requests) == ([], [], 0)
        assert (nothing.HasField("invite"), nothing.record.bans) == (False, 1)
        assert list(bans.banned) == ["zoe"]
        assert (list(requests.asking), requests.requests) == (["eve"], 1)
        assert (invited.invite.by, invited.invite.uses, invited.invite.used) == ("bob", 2, 0)


async def test_the_invite_of_one_who_is_no_member_is_not_there() -> None:
    world = World()
    async with world.node() as node:
        await changed(node, create(G, "ann", "bob"))
        await admit(node, invite=pb.AdmitItem.Invite(invite="aa", by="bob", ttl_s=60, version=1, own_max=5))
        kept = dict(world.database.beside.invites)
        await changed(node, change(G, "bob", "leave", 1, removed=["bob"], notices=[["ann", "bob"]]))
        assert world.database.beside.invites == {}
        world.database.beside.invites.update(kept)  # it was made while its maker left
        [loaded] = await node.loads.load([pb.LoadItem(conversation=G, invite="aa", actor="eve")])
        assert not loaded.HasField("invite")


async def test_a_group_without_bans_and_requests_is_not_asked_for_them() -> None:
    world = World()
    async with world.node() as node:
        await changed(node, create(G, "ann"))
        commands: list[str] = []

        async def note(name: str) -> None:
            commands.append(name)

        world.database.faults.delay = note
        await node.loads.load([pb.LoadItem(conversation=G, users=["eve"], bans=True, requests=True)])
        assert commands == []


async def test_who_was_a_member_at_the_end_is_known() -> None:
    world = World()
    async with world.node() as node:
        await changed(node, create(G, "ann", "bob"))
        end = change(G, "ann", "end", 1, removed=["ann", "bob"], notices=[["ann", "bob"]])
        end.dissolves = True
        await changed(node, end)
        repository: Repository = world.database.repository()
        assert await former_of(repository, G, ["ann", "bob", "eve"]) == {"ann", "bob"}
        assert isinstance(node.loads._circumstances, Circumstances)
        [loaded] = await node.loads.load([pb.LoadItem(conversation=G, users=["bob", "eve"])])
        assert (loaded.record.dissolved, list(loaded.former), list(loaded.members)) == (True, ["bob"], [])


async def test_the_requests_of_a_group_are_counted_once_for_many_who_ask() -> None:
    world = World()
    async with world.node() as node:
        await asked_for(node, "bob")
        await admit(node, ask=ask("eve", 2))
        commands: list[str] = []

        async def note(name: str) -> None:
            commands.append(name)

        world.database.faults.delay = note
        loaded = await node.loads.load([pb.LoadItem(conversation=G, users=["bob"], requests=True) for _ in range(9)])
        assert {outcome.requests for outcome in loaded} == {1}
        assert commands == ["requests.count"], "who is a member does not ask"
