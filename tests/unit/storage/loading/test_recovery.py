"""What a node that takes over does with messages and changes that it finds half done, and to whom it gives what."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.folding.writer import FoldWriter
from services.storage.limits import Limits
from services.storage.loading.documents import ConversationDocuments, cached_from
from services.storage.loading.duplicates import RecentSends
from services.storage.loading.recovery import Recovery
from services.storage.messages.jobs import ChangeJob
from services.storage.node import Storage
from services.storage.repository.memory import Faults
from services.storage.repository.records import ClientKey, ConversationDocument, StoredMessage
from tests.unit.storage.nodes import World, change, changed, create, inbox_of, members_of, post, send, stored
from tidings_protocol.content import notice_client_id
from tidings_protocol.errors import TidingsError, Unavailable

CHAT = "d:ann|bob"
Outcome = pb.StoreOutcome
G = "g:1"


async def record_of(node: Storage, group: str = G) -> pb.ConversationRecord:
    (loaded,) = await node.loads.load([pb.LoadItem(conversation=group)])
    return loaded.record


async def _away(_: object) -> object:
    raise Unavailable("gone")


async def position_of(node: Storage, user: str, chat: str = CHAT) -> tuple[int, int]:
    """(read, delivered)"""
    (loaded,) = await node.loads.load([pb.LoadItem(conversation=chat)])
    me = next(member for member in loaded.members if member.user == user)
    return me.read_seq, me.delivered_seq


async def load(node: Storage, conversation: str) -> pb.LoadOutcome:
    (loaded,) = await node.loads.load([pb.LoadItem(conversation=conversation, narrow=True)])
    assert not loaded.HasField("fault")
    return loaded


@pytest.mark.parametrize("joined_seq", [0, 1], ids=["history of their own", "shared history"])
async def test_who_joins_quietly_after_a_group_became_large_gets_nothing_from_before(joined_seq: int) -> None:
    world = World()
    async with AsyncExitStack() as stack:
        node = await world.crashed(stack)
        await changed(node, create("g:1", "ann", "bob"))
        await stored(node, post("g:1", "ann", "x", 1, ["ann", "bob"]))
        large = change("g:1", "ann", "large", 1, notices=[["ann", "bob"]], becomes_large=True)
        await changed(node, large)
        world.clock.advance(0.001)
        quiet = change("g:1", "ann", "add", 2, joins=["eve"], keep_version=True)
        quiet.set[0].joined_seq = joined_seq
        await changed(node, quiet)
    async with world.node() as node:
        await load(node, "g:1")
        assert [seq for _, _, seq in await inbox_of(node, "bob")] == [1, 2, 3]
        assert await inbox_of(node, "eve") == []


async def test_who_was_removed_and_came_back_gets_what_was_stored_while_they_were_a_member() -> None:
    world = World()
    everyone = ["ann", "bob", "eve"]
    async with AsyncExitStack() as stack:
        faults = Faults()
        node = await stack.enter_async_context(world.node(faults=faults))
        stack.callback(setattr, faults, "away", True)
        await changed(node, create("g:1", *everyone))

        async def no_entries(command: str) -> None:
            if command == "inbox.insert":
                raise Unavailable("gone")

        faults.delay = no_entries
        await node.conversations.store([post("g:1", "ann", "x", 1, everyone)])
        faults.delay = None
        messages = world.database.messages["g:1"]
        out = change("g:1", "ann", "out", 1, removed=["eve"], notices=[everyone])
        back = change("g:1", "ann", "back", 2, joins=["eve"], notices=[everyone])
        for seq, made in enumerate((out, back), start=3):
            messages[seq] = messages[2]._replace(seq=seq, client_id=made.op, change=made.SerializeToString(), kind=2)
    async with world.node() as node:
        await load(node, "g:1")
        assert [seq for _, _, seq in await inbox_of(node, "eve")] == [1, 2, 3, 4]


async def test_a_take_over_moves_the_positions_of_senders_by_the_same_rule() -> None:
    world = World()
    async with AsyncExitStack() as stack:
        node = await world.crashed(stack)
        await stored(node, send("ann", "bob", "a"), send("ann", "bob", "b"), send("bob", "ann", "c"))
    async with world.node() as node:
        assert await position_of(node, "ann") == (2, 2)
        assert await position_of(node, "bob") == (0, 0)


async def test_what_a_crash_left_without_entries_is_delivered_when_the_conversation_is_loaded() -> None:
    world = World()
    async with AsyncExitStack() as stack:
        node = await world.crashed(stack)
        await stored(node, send("ann", "bob", "warm"))

        async def dies(command: str) -> None:
            if command == "inbox.insert":
                raise Unavailable("gone")

        world.database.faults.delay = None
        node.conversations._repository.inboxes._faults.delay = dies  # type: ignore[attr-defined]
        (lost,) = await node.conversations.store([send("ann", "bob", "x")])
        assert isinstance(lost, Outcome)
        assert lost.status == Outcome.FAILED
    async with world.node() as node:
        (loaded,) = await node.loads.load([pb.LoadItem(conversation=CHAT)])
        assert loaded.record.head == 2
        assert await inbox_of(node, "bob") == [(1, CHAT, 1), (2, CHAT, 2)]
        assert await inbox_of(node, "ann") == [(1, CHAT, 1), (2, CHAT, 2)]


async def test_after_a_crash_what_was_delivered_is_not_delivered_again() -> None:
    world = World()
    async with AsyncExitStack() as stack:
        node = await world.crashed(stack)
        await stored(node, *(send("ann", "bob", f"c{index}") for index in range(100)))
    assert world.database.conversations[CHAT].settled == 0
    async with world.node() as node:
        await stored(node, send("bob", "ann", "answer"))
        assert [seq for _, _, seq in await inbox_of(node, "bob")] == list(range(1, 102))


async def test_a_clean_stop_leaves_everything_settled() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "x"), send("ann", "bob", "y"))
    document = world.database.conversations[CHAT]
    assert (document.head, document.settled, document.last_ms) == (2, 2, world.clock.wall_ms())
    assert world.database.members[CHAT]["ann"].read_seq == 2


async def test_a_change_whose_writer_died_after_the_notice_is_made_by_the_next_load() -> None:
    world = World()
    async with AsyncExitStack() as stack:
        node = await world.crashed(stack)
        await changed(node, create(G, "ann", "bob"))
        faults = world.hood.nodes["one"]._storage.conversations._repository.conversations._faults  # type: ignore[attr-defined]

        async def dies(command: str) -> None:
            if command == "conversations.swap":
                raise Unavailable("gone")

        faults.delay = dies
        add = change(G, "ann", "add", 1, joins=["cid"], removed=["bob"], notices=[["ann", "bob", "cid"]])
        assert (await changed(node, add)).status == pb.ChangeOutcome.FAILED
    assert "cid" not in world.database.members[G]
    async with world.node() as node:
        assert sorted(await members_of(node, G)) == ["ann", "cid"]
        record = await record_of(node)
        assert (record.version, record.member_count, record.head) == (2, 2, 2)
        assert [await inbox_of(node, user) for user in ("bob", "cid")] == [[(1, G, 1), (2, G, 2)], [(1, G, 2)]]
        again = await changed(node, add)
        assert (again.status, again.record.version) == (pb.ChangeOutcome.DONE, 2)


async def test_a_change_that_failed_after_its_notice_is_made_by_the_next_load_of_the_same_node() -> None:
    world = World()
    async with world.node() as node:
        await changed(node, create(G, "ann", "bob"))

        async def fails(command: str) -> None:
            if command == "conversations.swap":
                raise Unavailable("just now")

        world.database.faults.delay = fails
        assert (
            await changed(node, change(G, "ann", "out", 1, removed=["bob"], notices=[["ann"]]))
        ).status == pb.ChangeOutcome.FAILED
        world.database.faults.delay = None
        await node.behind.flush()
        assert list(await members_of(node, G)) == ["ann"]
        assert (await record_of(node)).version == 2


async def test_members_that_were_not_all_written_are_written_by_the_next_load() -> None:
    world = World()
    async with AsyncExitStack() as stack:
        node = await world.crashed(stack)
        await changed(node, create(G, "ann", large=True))
        faults = node.conversations._repository.members._faults  # type: ignore[attr-defined]

        async def dies(command: str) -> None:
            if command == "members.write":
                raise Unavailable("gone")

        faults.delay = dies
        join = change(G, "cid", "join", 1, joins=["cid"], keep_version=True)
        assert (await changed(node, join)).status == pb.ChangeOutcome.FAILED
    async with world.node() as node:
        (loaded,) = await node.loads.load([pb.LoadItem(conversation=G, users=["cid"])])
        assert [member.user for member in loaded.members] == ["cid"]
        assert loaded.record.member_count == 2
        assert (await changed(node, join)).record.member_count == 2


async def test_the_second_notice_of_a_change_whose_writer_died_is_written_by_the_next_load() -> None:
    world = World()
    async with AsyncExitStack() as stack:
        node = await world.crashed(stack)
        await changed(node, create(G, "ann", "bob"))
        faults = node.conversations._repository.messages._faults  # type: ignore[attr-defined]
        faults.cut(1)
        faults.delay = None
        add = change(G, "ann", "add", 1, joins=["cid"], notices=[["ann", "cid"], ["ann", "bob"]], becomes_large=True)
        node.conversations.loader.load = _away  # type: ignore[method-assign,assignment]
        assert isinstance((await node.conversations.change([add]))[0], TidingsError)
    assert len(world.database.messages[G]) == 2
    async with world.node() as node:
        record = await record_of(node)
        assert (record.head, record.large_from, record.member_count) == (3, 4, 3)
        assert ClientKey(G, "ann", notice_client_id("add", 1)) in world.database.clients
        assert [await inbox_of(node, user) for user in ("bob", "cid")] == [[(1, G, 1), (2, G, 3)], [(1, G, 2)]]


async def test_a_message_before_a_change_goes_to_those_who_were_members_then() -> None:
    world = World(limits=Limits(flush_interval_s=1e6))
    swap = change(G, "ann", "swap", 1, joins=["cid"], removed=["bob"], notices=[["ann", "bob", "cid"]])
    async with AsyncExitStack() as stack:
        node = await world.crashed(stack)
        await changed(node, create(G, "ann", "bob"))
        await node.behind.flush()
        faults = node.conversations._repository.inboxes._faults  # type: ignore[attr-defined]

        async def dies(command: str) -> None:
            if command == "inbox.insert":
                raise Unavailable("gone")

        faults.delay = dies
        lost, late = await asyncio.gather(
            node.conversations.store([post(G, "ann", "x", 1, ["ann", "bob"])]), node.conversations.change([swap])
        )
        assert isinstance(lost[0], pb.StoreOutcome)
        assert isinstance(late[0], pb.ChangeOutcome)
        assert (lost[0].status, late[0].status) == (pb.StoreOutcome.FAILED, pb.ChangeOutcome.FAILED)
    assert (world.database.conversations[G].version, world.database.conversations[G].settled) == (2, 1)
    async with world.node() as node:
        await stored(node, post(G, "cid", "y", 2, ["ann", "cid"]))
        assert [seq for _, _, seq in await inbox_of(node, "ann")] == [1, 2, 3, 4]
        assert [seq for _, _, seq in await inbox_of(node, "bob")] == [1, 2, 3]
        assert [seq for _, _, seq in await inbox_of(node, "cid")] == [3, 4]


async def test_a_tail_is_what_comes_after_what_is_settled_however_long_it_is() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, *(send("ann", "bob", f"x{number}") for number in range(5)))
        repository = world.database.repository()
        documents = ConversationDocuments(repository, world.clock)
        recovery = Recovery(repository, documents, node.conversations._fanout, RecentSends(10), FoldWriter(repository))
        document = ConversationDocument("d:ann|bob", 1, settled=3)
        before = world.database.faults.commands
        tails = await recovery.tails(["d:ann|bob", "d:ann|none"], {"d:ann|bob": document})
        assert [message.seq for message in tails["d:ann|bob"]] == [4, 5]
        assert tails["d:ann|none"] == []  # no document, so no message: it is not read
        assert world.database.faults.commands == before + 1


async def test_what_another_node_completes_at_the_same_time_is_left_to_it() -> None:
    """The second notice is not there yet when it is looked for, and is when it is inserted."""
    world = World()
    async with world.node() as node:
        repository = world.database.repository()
        documents = ConversationDocuments(repository, world.clock)
        recovery = Recovery(repository, documents, node.conversations._fanout, RecentSends(10), FoldWriter(repository))
        made = change(G, "ann", "op", 0, joins=["ann"], notices=[["ann"], ["ann"]])
        job = ChangeJob(cached_from(G, None, ()), [0], [made])
        (first, second) = job.draft_notices()
        notices = [
            StoredMessage(G, seq, "ann", draft.key.client_id, 5, draft.content, draft.kind, draft.change)
            for seq, draft in ((1, first), (2, second))
        ]
        await repository.messages.insert(notices[:1])

        async def comes_between(command: str) -> None:
            if command == "messages.insert":
                world.database.faults.delay = None
                await repository.messages.insert(notices[1:])

        world.database.faults.delay = comes_between
        with pytest.raises(Unavailable):
            await recovery.replay(cached_from(G, None, ()), notices[:1])
        assert len(world.database.messages[G]) == 2
        tail = list(notices)
        assert (await recovery.replay(cached_from(G, None, ()), tail)).document.version == 1
