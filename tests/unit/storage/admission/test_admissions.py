"""Invites, requests to join and bans, as a storage node keeps and lists them."""

from __future__ import annotations

import asyncio
from typing import Any

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.admission import admissions
from services.storage.node import Storage
from tests.unit.storage.nodes import World, change, changed, create
from tidings_protocol.client_pb2 import GroupSettings

G = "g:1"
ASKED = GroupSettings(approval=True).SerializeToString()


async def admit(node: Storage, *, conversation: str = G, **act: Any) -> pb.AdmitOutcome:
    [outcome] = await node.admissions.admit([pb.AdmitItem(conversation=conversation, **act)])
    return outcome


def ask(user: str, version: int, open_max: int = 5) -> pb.AdmitItem.Ask:
    return pb.AdmitItem.Ask(user=user, text=f"I am {user}", version=version, open_max=open_max)


async def asked_for(node: Storage, *others: str) -> None:
    """A group in version 2, where joining is asked for."""
    await changed(node, create(G, "ann", *others))
    item = change(G, "ann", "approval", 1, notices=[["ann"]])
    item.settings.settings = ASKED
    await changed(node, item)


def users(outcome: pb.AdmitOutcome) -> list[str]:
    return [each.user for each in outcome.requests]


async def test_requests_are_kept_within_their_bound_and_a_repeat_is_no_further_one() -> None:
    async with World().node() as node:
        await asked_for(node)
        outcomes = await asyncio.gather(*(admit(node, ask=ask(f"u{number}", 2)) for number in range(9)))
        assert [outcome.fault.code for outcome in outcomes].count("OVERLOADED") == 4
        assert outcomes[8].fault.retry_after_ms == admissions.FULL_RETRY_MS
        assert not (await admit(node, ask=ask("u1", 2))).fault.code
        assert users(await admit(node, requests=pb.AdmitItem.Page())) == [f"u{number}" for number in range(5)]


async def test_what_was_decided_on_another_version_is_stale() -> None:
    async with World().node() as node:
        await changed(node, create(G, "ann"))
        assert (await admit(node, ask=ask("eve", 1))).stale, "joining is not asked for"
        invite = pb.AdmitItem.Invite(invite="aa", by="ann", ttl_s=60, version=9, own_max=5)
        assert (await admit(node, invite=invite)).stale
        assert list((await admit(node, invites=pb.AdmitItem.Page())).invites) == []


async def test_one_who_has_got_in_meanwhile_is_in_no_page_and_asks_no_more() -> None:
    world = World()
    async with world.node() as node:
        await asked_for(node)
        await admit(node, ask=ask("eve", 2))
        await admit(node, ask=ask("ida", 2))
        kept = dict(world.database.beside.requests)
        add = change(G, "ann", "add", 2, joins=["eve"], notices=[["ann", "eve"]])
        add.settings.settings = ASKED
        await changed(node, add)
        assert {key.user for key in world.database.beside.requests} == {"ida"}
        world.database.beside.requests.update(kept)  # it came in while the change was made
    async with world.node() as node:
        item = pb.LoadItem(conversation=G)
        [loaded] = await node.loads.load([item])
        assert loaded.record.member_count == 2
        assert users(await admit(node, requests=pb.AdmitItem.Page())) == ["ida"]
        assert {key.user for key in world.database.beside.requests} == {"ida"}


async def test_dropping_says_who_asked() -> None:
    async with World().node() as node:
        await asked_for(node)
        await admit(node, ask=ask("eve", 2))
        dropped = await admit(node, drop=pb.AdmitItem.Drop(users=["ida", "eve"]))
        assert list(dropped.users) == ["eve"]
        assert users(await admit(node, requests=pb.AdmitItem.Page())) == []


async def test_an_item_that_cannot_be_done_has_its_fault_and_the_others_are_done() -> None:
    async with World().node() as node:
        await asked_for(node)
        outcomes = await node.admissions.admit(
            [
                pb.AdmitItem(conversation="?", ask=ask("eve", 2)),
                pb.AdmitItem(conversation=G),
                pb.AdmitItem(conversation=G, requests=pb.AdmitItem.Page(after="x y")),
                pb.AdmitItem(conversation=G, ask=ask("eve", 2)),
            ]
        )
        assert [outcome.fault.code for outcome in outcomes] == ["BAD_REQUEST", "BAD_REQUEST", "BAD_REQUEST", ""]


async def test_nobody_asks_to_join_a_group_that_does_not_exist() -> None:
    async with World().node() as node:
        assert (await admit(node, conversation="g:no", ask=ask("eve", 0))).stale
