"""What the log says is not told: by pages, with those who got it."""

from __future__ import annotations

from services.storage.events.debts import PAGE, DebtReader
from services.storage.events.port import FedChange, FedRow
from services.storage.events.queue import Debt
from services.storage.memory.conversation import CachedConversation
from services.storage.node import Storage
from tests.unit.storage.changing import CHAT, edit, recall
from tests.unit.storage.nodes import World, change, changed, create, post, send, stored
from tidings_protocol import client_pb2


async def debt_of(node: Storage, conversation: str, told: int = 0) -> Debt:
    found = (await node.conversations.get([conversation]))[conversation]
    assert isinstance(found, CachedConversation)
    found.told, found.told_stamp = told, 0
    members = tuple(found.members) if found.knows_all else ()
    return Debt(found, found.head, found.document.stamp, found.document.large_from, members)


async def test_pages_go_on_after_what_is_told_and_the_last_one_says_so() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, *(send("ann", "bob", str(number)) for number in range(PAGE + 2)))
        reader, debt = DebtReader(world.database.repository(), world.clock), await debt_of(node, "d:ann|bob", told=1)
        [page] = await reader.read([debt])
        assert not page.is_last
        assert [row.message.seq for row in page.rows if isinstance(row, FedRow)] == list(range(2, PAGE + 2))
        debt.conversation.told = PAGE + 1
        [page] = await reader.read([debt])
        assert page.is_last
        assert [row.message.seq for row in page.rows if isinstance(row, FedRow)] == [PAGE + 2]


async def test_several_debts_are_read_together_up_to_where_each_began() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "1"), send("ann", "cid", "1"))
        debts = [await debt_of(node, "d:ann|bob"), await debt_of(node, "d:ann|cid")]
        await stored(node, send("ann", "bob", "2"))
        debts[0].conversation.told = 0
        before = world.database.faults.commands
        pages = await DebtReader(world.database.repository(), world.clock).read(debts)
        assert world.database.faults.commands - before == 1
        rows = [row for page in pages for row in page.rows if isinstance(row, FedRow)]
        assert [(row.conversation.id, row.message.seq, list(row.recipients)) for row in rows] == [
            ("d:ann|bob", 1, ["ann", "bob"]),
            ("d:ann|cid", 1, ["ann", "cid"]),
        ]


async def test_a_message_from_before_the_group_was_large_names_its_members_of_then() -> None:
    world = World()
    async with world.node() as node:
        await changed(node, create("g:1", "ann", "bob"))
        await stored(node, post("g:1", "ann", "1", 1, ["ann", "bob"]))
        await changed(
            node, change("g:1", "ann", "add", 1, joins=["cid"], notices=[["ann", "bob", "cid"]], becomes_large=True)
        )
        await stored(node, post("g:1", "ann", "2", 2))
        [page] = await DebtReader(world.database.repository(), world.clock).read([await debt_of(node, "g:1")])
        told = {row.message.seq: sorted(row.recipients) for row in page.rows if isinstance(row, FedRow)}
        assert told == {1: ["ann", "bob"], 2: ["ann", "bob"], 3: ["ann", "bob", "cid"], 4: []}


async def test_changes_without_notices_come_with_the_last_page_by_their_stamp() -> None:
    world = World()
    async with world.node() as node:
        await changed(node, create("g:1", "ann", large=True))
        for user in ("bob", "cid"):
            item = change("g:1", user, user, 1, joins=[user], keep_version=True)
            item.acts.append(user.encode())
            await changed(node, item)
        debt = await debt_of(node, "g:1", told=1)
        [page] = await DebtReader(world.database.repository(), world.clock).read([debt])
        assert [(row.stamp, list(row.acts)) for row in page.rows if isinstance(row, FedChange)] == [
            (2, [b"bob"]),
            (3, [b"cid"]),
        ]
        debt.conversation.told_stamp = 2
        [page] = await DebtReader(world.database.repository(), world.clock).read([debt])
        assert [row.stamp for row in page.rows if isinstance(row, FedChange)] == [3]


async def test_what_is_not_plain_is_told_from_the_log_as_it_is_shown_now() -> None:
    world = World()
    async with world.node() as node:
        await stored(
            node,
            send("ann", "bob", "1", "first"),
            edit("ann", "bob", "2", 1, "second"),
            edit("ann", "bob", "3", 1, "third"),
            send("ann", "bob", "4", "gone"),
            edit("ann", "bob", "5", 4, "gone too"),
            recall("ann", "bob", "6", 4),
            send("ann", "bob", "7", "plain"),
        )
        before = world.database.faults.commands
        [page] = await DebtReader(world.database.repository(), world.clock).read([await debt_of(node, CHAT)])
        assert world.database.faults.commands - before == 2, "the targets of all pages are read at once"
    rows = [row for row in page.rows if isinstance(row, FedRow)]
    assert [bool(row.told) for row in rows] == [True] * 6 + [False]
    told = [client_pb2.Message.FromString(row.told) for row in rows[:6]]
    assert [each.content.text for each in told] == ["third", "", "", "", "", ""]
    assert [each.change.edit.text for each in told] == ["", "", "third", "", "", ""]
    assert [each.state.revision for each in told] == [3, 3, 3, 6, 6, 6]
    assert [each.state.recalled_by for each in told] == ["", "", "", "ann", "ann", "ann"]
    assert all(list(row.recipients) == ["ann", "bob"] for row in rows)
