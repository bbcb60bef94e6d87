"""Lists of conversations in which messages were changed, hidden, or wait to be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.limits import Limits
from services.storage.node import Storage
from services.storage.pages.lists import ConversationLists
from services.storage.pages.preferences import NoPreferences
from tests.unit.storage.changed import CHAT, acted, edited, hide, put, read, said, state
from tests.unit.storage.nodes import World, changed, create, post, send, stored
from tidings_protocol.client_pb2 import ConversationPreferences


async def listed(node: Storage, user: str = "bob", **fields: object) -> list[pb.ConversationEntry]:
    (outcome,) = await node.lists.pages([pb.ConversationsItem(user=user, **fields)])  # type: ignore[arg-type]
    return list(outcome.entries)


async def test_a_list_says_what_is_unread_and_shows_the_newest_message_as_it_is_now() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a"), send("bob", "ann", "b"))
        await put(
            world,
            node,
            said(3, "newer", mentions=("bob",), state=state(5, revision=5)),
            said(4, mentions=("bob",)),
            edited(5, 3, "newer"),
            acted(6, 1, before=1, pin=True),
        )
        [entry] = await listed(node)
        assert (entry.unread, entry.unread_mentions, entry.first_mention_seq, entry.read_ordinal) == (3, 2, 3, 0)
        assert (entry.record.head, entry.record.ordinal, entry.record.shown) == (6, 4, 4)
        assert read(entry.last).seq == 4
        await node.cursors.mark([pb.MarkItem(conversation=CHAT, user="bob", read_seq=3)])
        [entry] = await listed(node)
        assert (entry.unread, entry.unread_mentions, entry.first_mention_seq, entry.read_ordinal) == (1, 1, 4, 3)
        await hide(node, "bob", 4)
        [entry] = await listed(node)
        last = read(entry.last)
        assert (last.seq, last.content.text, last.state.revision) == (3, "newer", 5)
        assert (entry.unread, entry.unread_mentions, entry.first_mention_seq, entry.hidden_through) == (0, 0, 0, 0)


async def test_what_a_user_has_hidden_is_in_nobody_elses_list() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a"), send("ann", "bob", "b"))
        assert [entry.unread for entry in await listed(node)] == [2]
        await hide(node, "bob", through=9)
        [entry] = await listed(node)
        assert (entry.last, entry.unread, entry.hidden_through) == (b"", 0, 2)
        [ann] = await listed(node, "ann")
        assert (read(ann.last).seq, ann.hidden_through) == (2, 0)
        await stored(node, send("ann", "bob", "c"))
        [entry] = await listed(node)
        assert (read(entry.last).seq, entry.unread) == (3, 1)


async def test_the_unread_of_a_large_group_are_counted_too() -> None:
    async with World().node() as node:
        await changed(node, create("g:1", "ann", "bob", large=True))
        await stored(node, post("g:1", "ann", "x", 1), post("g:1", "bob", "y", 1), post("g:1", "ann", "z", 1))
        [entry] = await listed(node)
        assert (entry.unread, read(entry.last).seq) == (2, 4)


async def test_a_change_moves_no_chat_up_the_list() -> None:
    for limits in (Limits(flush_interval_s=1e6), Limits(flush_interval_s=1e6, list_places_min=0)):
        world = World(limits=limits)
        async with world.node() as node:
            await stored(node, send("ann", "bob", "a"))
            world.clock.advance(1)
            await stored(node, send("cid", "bob", "b"))
            world.clock.advance(1)
            order = [CHAT, "d:bob|cid"][::-1]
            assert [entry.record.conversation for entry in await listed(node)] == order
            change = acted(2, 1, pin=True)._replace(time_ms=world.clock.wall_ms())
            await put(world, node, change)
            await node.conversations.get([CHAT])
            assert [entry.quiet for entry in world.database.inboxes["bob"].values()] == [False, False, True]
            assert [entry.record.conversation for entry in await listed(node)] == order


async def test_a_change_between_two_pages_brings_no_chat_again() -> None:
    world = World()
    async with world.node() as node:
        for peer in ("ann", "cid", "dan"):
            await stored(node, send(peer, "bob", "a"))
            world.clock.advance(1)
        (first,) = await node.lists.pages([pb.ConversationsItem(user="bob", limit=1)])
        await put(world, node, acted(2, 1, pin=True), acted(2, 1, conversation="d:bob|dan", pin=True))
        await node.conversations.get([CHAT, "d:bob|dan"])
        rest, token = [], first.next
        for _ in range(9):
            (page,) = await node.lists.pages([pb.ConversationsItem(user="bob", limit=1, after=token)])
            rest += [entry.record.conversation for entry in page.entries]
            token = page.next
            if not page.more:
                break
        assert rest == ["d:bob|cid", CHAT]


class Preferring:
    """bob has pinned his chat with ann, and hidden the one with cid until something is said there."""

    async def of(self, user: str, entries: Sequence[pb.ConversationEntry]) -> Mapping[str, ConversationPreferences]:
        there = [entry.record.conversation for entry in entries]
        assert (user, there, entries[0].me.user) == ("bob", ["d:bob|dan", "d:bob|cid", CHAT], "bob")
        return {
            CHAT: ConversationPreferences(conversation=CHAT, pinned=True),
            "d:bob|cid": ConversationPreferences(conversation="d:bob|cid", hidden=True),
        }


async def test_a_list_says_what_is_preferred_and_leaves_out_what_nobody_wants_to_see() -> None:
    world = World()
    async with world.node() as node:
        for peer in ("ann", "cid", "dan"):
            await stored(node, send(peer, "bob", "a"))
            world.clock.advance(1)
        lists = ConversationLists(
            world.database.repository(),
            node.conversations,
            node.loads,
            node.conversations._plain.peers,
            world.clock,
            world.limits,
            Preferring(),
        )
        (outcome,) = await lists.pages([pb.ConversationsItem(user="bob")])
        assert [(entry.record.conversation, entry.preferences.pinned) for entry in outcome.entries] == [
            ("d:bob|dan", False),
            (CHAT, True),
        ]
        assert not outcome.entries[0].HasField("preferences")
        assert len(await listed(node)) == 3
        assert await NoPreferences().of("bob", outcome.entries) == {}


async def test_a_list_of_what_was_hidden_whole_goes_on_with_its_next_page() -> None:
    world = World()
    async with world.node() as node:
        for peer in ("ann", "cid"):
            await stored(node, send(peer, "bob", "a"))
            world.clock.advance(1)
        await hide(node, "bob", 1, conversation="d:bob|cid")
        assert [(entry.record.conversation, bool(entry.last)) for entry in await listed(node)] == [
            ("d:bob|cid", False),
            (CHAT, True),
        ]
