"""Preferences: set by members, kept, ended by messages and reads."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.node import Storage
from services.storage.people.preferences import LOOK
from services.storage.repository.records import SYSTEM
from tests.unit.storage.nodes import World, change, changed, create, members_of, post, send, stored
from tidings_protocol import client_pb2
from tidings_protocol.errors import Forbidden, NotFound, TidingsError
from tidings_protocol.ids import slot_of

CHAT = "d:ann|bob"
Preferences = client_pb2.ConversationPreferences


async def prefer(node: Storage, user: str, conversation: str, **given: object) -> Preferences:
    item = pb.PreferItem(user=user, prefer=client_pb2.Prefer(conversation=conversation, **given))  # type: ignore[arg-type]
    [outcome] = await node.preferences.prefer([item])
    if isinstance(outcome, TidingsError):
        raise outcome
    return outcome.preferences


async def now(node: Storage, user: str, conversation: str) -> Preferences:
    """The preferences as a list shows them."""
    [loaded] = await node.loads.load([pb.LoadItem(conversation=conversation, users=[user], narrow=True)])
    entry = pb.ConversationEntry(
        record=loaded.record, me=next((member for member in loaded.members if member.user == user), None)
    )
    return (await node.preferences.of(user, [entry]))[conversation]


async def read(node: Storage, user: str, conversation: str, seq: int = 1) -> pb.MarkOutcome:
    [outcome] = await node.cursors.mark([pb.MarkItem(conversation=conversation, user=user, read_seq=seq, durable=True)])
    return outcome


async def test_what_is_given_is_set_and_the_rest_stays() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "bob", "a"))
        first = await prefer(node, "ann", CHAT, muted_until_ms=-1, pinned=True)
        assert first == Preferences(conversation=CHAT, muted_until_ms=-1, pinned=True)
        second = await prefer(node, "ann", CHAT, pinned=False, archived=True, draft="Hel", marked_unread=True)
        assert second == Preferences(
            conversation=CHAT, muted_until_ms=-1, archived=True, draft="Hel", marked_unread=True
        )
        assert await now(node, "ann", CHAT) == second
        assert await prefer(node, "ann", CHAT, draft="", muted_until_ms=0, archived=False) == Preferences(
            conversation=CHAT, marked_unread=True
        )


async def test_nothing_given_sets_nothing() -> None:
    world = World()
    async with world.node() as node:
        item = pb.PreferItem(user="ann", prefer=client_pb2.Prefer(conversation=CHAT))
        [outcome] = await node.preferences.prefer([item])
        assert isinstance(outcome, pb.PreferOutcome)
        assert not outcome.HasField("preferences")
        assert world.database.preferences == {}


async def test_a_direct_chat_without_messages_has_preferences_too() -> None:
    world = World()
    async with world.node() as node:
        await prefer(node, "bob", CHAT, draft="Hello", hidden=True)
        assert CHAT not in world.database.conversations
        await stored(node, send("ann", "bob", "a"))
        assert await now(node, "bob", CHAT) == Preferences(conversation=CHAT, draft="Hello")


async def test_only_who_is_in_a_conversation_has_preferences_there() -> None:
    async with World().node() as node:
        await changed(node, create("g:1", "ann", "bob"))
        for conversation, refusal in (("g:1", Forbidden), (CHAT, Forbidden), ("g:2", NotFound)):
            with pytest.raises(refusal):
                await prefer(node, "eve", conversation, pinned=True)
        await prefer(node, "eve", "b:all", pinned=True)
        outcomes = await node.preferences.prefer(
            [
                pb.PreferItem(user=user, prefer=client_pb2.Prefer(conversation="g:1", pinned=True))
                for user in ("eve", "bob")
            ]
        )
        assert isinstance(outcomes[0], Forbidden)
        assert isinstance(outcomes[1], pb.PreferOutcome)
        assert outcomes[1].preferences.pinned


async def test_a_large_group_is_no_other_case() -> None:
    async with World().node() as node:
        await changed(node, create("g:1", "ann", "bob", large=True))
        assert (await prefer(node, "bob", "g:1", pinned=True)).pinned
        with pytest.raises(Forbidden):
            await prefer(node, "eve", "g:1", pinned=True)


async def test_a_hidden_conversation_comes_back_with_the_next_message_and_not_with_a_notice() -> None:
    async with World().node() as node:
        await changed(node, create("g:1", "ann", "bob"))
        assert (await prefer(node, "bob", "g:1", hidden=True)).hidden
        made = await changed(node, change("g:1", "ann", "op", 1, notices=[("ann", "bob")], name="friends"))
        assert (await now(node, "bob", "g:1")).hidden
        await stored(node, post("g:1", "ann", "x", made.record.version, ("ann", "bob")))
        assert not (await now(node, "bob", "g:1")).hidden
        assert (await prefer(node, "bob", "g:1", hidden=True)).hidden
        assert not (await prefer(node, "bob", "g:1", hidden=False)).hidden


async def test_a_message_behind_very_many_notices_is_found() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "bob", "first"))
        await prefer(node, "bob", CHAT, hidden=True)
        notices = [send("ann", "bob", f"n{n}") for n in range(LOOK + 5)]
        for notice in notices:
            notice.kind = SYSTEM
        await stored(node, *notices)
        assert (await now(node, "bob", CHAT)).hidden
        await stored(node, send("ann", "bob", "last"))
        assert not (await now(node, "bob", CHAT)).hidden


async def test_all_but_draft_and_hiding_is_kept_over_leaving_and_coming_back() -> None:
    world = World()
    async with world.node() as node:
        await changed(node, create("g:1", "ann", "bob"))
        await prefer(node, "bob", "g:1", muted_until_ms=-1, pinned=True, marked_unread=True, draft="Hel", hidden=True)
        left = await changed(node, change("g:1", "bob", "leave", 1, removed=["bob"], notices=[("ann",)]))
        world.clock.advance(1)
        await changed(node, change("g:1", "bob", "join", left.record.version, joins=["bob"], notices=[("ann", "bob")]))
        kept = Preferences(conversation="g:1", muted_until_ms=-1, pinned=True, marked_unread=True)
        assert await now(node, "bob", "g:1") == kept
        kept.draft = "New"
        assert await prefer(node, "bob", "g:1", draft="New") == kept


async def test_a_new_role_is_no_coming_back() -> None:
    async with World().node() as node:
        await changed(node, create("g:1", "ann", "bob"))
        await prefer(node, "bob", "g:1", draft="Hel")
        bob = (await members_of(node, "g:1"))["bob"]
        item = change("g:1", "ann", "role", 1, notices=[("ann", "bob")])
        item.set.add(user="bob", role=2, joined_seq=bob.joined_seq, joined_ms=bob.joined_ms)
        await changed(node, item)
        assert (await now(node, "bob", "g:1")).draft == "Hel"


async def test_a_mark_is_gone_with_the_next_read_even_if_that_moves_nothing() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "bob", "a"))
        await read(node, "bob", CHAT)
        await prefer(node, "bob", CHAT, marked_unread=True, pinned=True)
        await prefer(node, "ann", CHAT, marked_unread=True)
        outcome = await read(node, "bob", CHAT)
        assert not outcome.moved
        assert outcome.preferences == Preferences(conversation=CHAT, pinned=True)
        assert (await now(node, "ann", CHAT)).marked_unread
        assert not (await read(node, "bob", CHAT)).HasField("preferences")


async def test_a_read_of_who_marks_nothing_costs_no_command_more() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a"), send("ann", "bob", "b"))
        await prefer(node, "ann", CHAT, marked_unread=True)
        before = world.database.faults.commands
        await read(node, "bob", CHAT, 1)
        assert world.database.faults.commands == before + 1  # the position itself


async def test_a_mark_is_found_after_the_conversation_was_loaded_anew() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a"))
        await prefer(node, "bob", CHAT, marked_unread=True)
    async with world.node() as node:
        assert (await read(node, "bob", CHAT)).HasField("preferences")
        assert not (await now(node, "bob", CHAT)).marked_unread


async def test_a_mark_that_another_node_made_in_the_owners_place_is_found_by_the_owner() -> None:
    world = World()
    world.hood.owner_of = lambda slot: "two" if slot == slot_of(CHAT) else "one"
    async with world.node("one") as one, world.node("two") as two:
        await stored(two, send("ann", "bob", "a"))
        await read(two, "bob", CHAT)
        await prefer(one, "bob", CHAT, marked_unread=True)
        assert await one.invalidation.flush()
        assert (await read(two, "bob", CHAT)).HasField("preferences")


async def test_a_mark_that_could_not_be_taken_away_is_taken_away_by_the_repeat() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a"))
        await read(node, "bob", CHAT)
        await prefer(node, "bob", CHAT, marked_unread=True)
        world.database.faults.away = True
        assert (await read(node, "bob", CHAT)).fault.code == "UNAVAILABLE"
        world.database.faults.away = False
        assert (await read(node, "bob", CHAT)).HasField("preferences")


async def test_preferences_that_were_never_set_are_not_there() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "bob", "a"), send("ann", "cid", "a"))
        await prefer(node, "ann", CHAT, pinned=True)
        entries = [
            pb.ConversationEntry(record=pb.ConversationRecord(conversation=key, shown=1)) for key in (CHAT, "d:ann|cid")
        ]
        assert list(await node.preferences.of("ann", entries)) == [CHAT]
        assert await node.preferences.of("bob", entries) == {}
        assert await node.preferences.of("ann", []) == {}
