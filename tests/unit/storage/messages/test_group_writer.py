"""Changes of groups: fenced by their notices, made once."""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.loading.documents import cached_from
from services.storage.messages.group_writer import GroupWriter
from services.storage.messages.jobs import ChangeJob
from services.storage.messages.round_result import RoundResult
from services.storage.node import Storage
from tests.unit.storage.nodes import World, change, changed, create, inbox_of, members_of, post, stored
from tidings_protocol.errors import Unavailable

Outcome = pb.ChangeOutcome
G = "g:1"


async def record_of(node: Storage, group: str = G) -> pb.ConversationRecord:
    (loaded,) = await node.loads.load([pb.LoadItem(conversation=group)])
    return loaded.record


async def test_a_group_comes_into_being_with_its_members_and_a_notice_to_all() -> None:
    world = World()
    async with world.node() as node:
        outcome = await changed(node, create(G, "ann", "bob", "cid"))
        assert outcome.status == Outcome.DONE
        record = outcome.record
        assert (record.version, record.head, record.member_count, record.exists, record.name) == (
            1,
            1,
            3,
            True,
            "friends",
        )
        assert list(outcome.notices[0].numbers) == [1, 1, 1]
        members = await members_of(node, G)
        assert {user: (m.role, m.joined_seq, m.read_seq, m.joined_ms) for user, m in members.items()} == {
            "ann": (3, 1, 1, world.clock.wall_ms()),
            "bob": (1, 1, 1, world.clock.wall_ms()),
            "cid": (1, 1, 1, world.clock.wall_ms()),
        }
        assert await inbox_of(node, "cid") == [(1, G, 1)]


async def test_a_repeated_change_is_done_once_on_any_node() -> None:
    world = World()
    async with world.node() as node:
        first = await changed(node, create(G, "ann", "bob"))
        again = await changed(node, create(G, "ann", "bob"))
        assert (again.status, again.record) == (Outcome.DONE, first.record)
        assert again.notices[0].seq == 1
    async with world.node() as node:
        late = await changed(node, create(G, "ann", "bob"))
        assert (late.status, late.record.head, late.notices[0].seq) == (Outcome.DONE, 1, 1)


async def test_another_creation_of_the_same_group_is_stale() -> None:
    async with World().node() as node:
        await changed(node, create(G, "ann"))
        assert (await changed(node, create(G, "bob", op="other"))).status == Outcome.STALE


async def test_who_joins_may_read_from_the_notice_on_and_has_read_it() -> None:
    async with World().node() as node:
        await changed(node, create(G, "ann", "bob"))
        await stored(node, post(G, "ann", "x", 1, ["ann", "bob"]))
        outcome = await changed(node, change(G, "ann", "add", 1, joins=["cid"], notices=[["ann", "bob", "cid"]]))
        assert (outcome.record.version, outcome.record.member_count) == (2, 3)
        cid = (await members_of(node, G))["cid"]
        assert (cid.joined_seq, cid.read_seq, cid.delivered_seq) == (3, 3, 3)


async def test_history_that_is_shared_is_readable_from_its_first_message() -> None:
    async with World().node() as node:
        await changed(node, create(G, "ann"))
        joins = change(G, "ann", "add", 1, notices=[["ann", "bob"]])
        joins.set.append(pb.MemberRecord(user="bob", role=1, joined_seq=1))
        await changed(node, joins)
        bob = (await members_of(node, G))["bob"]
        assert (bob.joined_seq, bob.read_seq) == (1, 2)


async def test_who_is_removed_is_gone_and_gets_the_notice() -> None:
    async with World().node() as node:
        await changed(node, create(G, "ann", "bob"))
        outcome = await changed(node, change(G, "ann", "remove", 1, removed=["bob"], notices=[["ann", "bob"]]))
        assert outcome.record.member_count == 1
        assert list(await members_of(node, G)) == ["ann"]
        assert await inbox_of(node, "bob") == [(1, G, 1), (2, G, 2)]


async def test_joining_again_begins_anew() -> None:
    async with World().node() as node:
        await changed(node, create(G, "ann", "bob"))
        await changed(node, change(G, "ann", "out", 1, removed=["bob"], notices=[["ann", "bob"]]))
        await changed(node, change(G, "ann", "in", 2, joins=["bob"], notices=[["ann", "bob"]]))
        bob = (await members_of(node, G))["bob"]
        assert (bob.joined_seq, bob.read_seq) == (3, 3)


async def test_a_role_changes_and_cursors_stay() -> None:
    async with World().node() as node:
        await changed(node, create(G, "ann", "bob"))
        await stored(node, post(G, "bob", "x", 1, ["ann", "bob"]))
        await changed(node, change(G, "ann", "role", 1, roles=[("bob", 2)], notices=[["ann", "bob"]]))
        bob = (await members_of(node, G))["bob"]
        assert (bob.role, bob.joined_seq, bob.read_seq) == (2, 1, 2)


async def test_a_role_does_not_bring_back_who_has_left() -> None:
    async with World().node() as node:
        await changed(node, create(G, "ann", "bob"))
        outcome = await changed(node, change(G, "ann", "role", 1, roles=[("zoe", 2)], notices=[["ann", "bob"]]))
        assert outcome.record.member_count == 2
        assert sorted(await members_of(node, G)) == ["ann", "bob"]


async def test_a_change_decided_on_an_old_version_is_stale() -> None:
    async with World().node() as node:
        await changed(node, create(G, "ann", "bob"))
        await changed(node, change(G, "ann", "one", 1, notices=[["ann"]], name="x"))
        assert (await changed(node, change(G, "ann", "two", 1, notices=[["ann"]], name="y"))).status == Outcome.STALE
        assert (await record_of(node)).name == "x"


async def test_a_stale_repeat_of_a_change_that_was_made_is_done() -> None:
    world = World()
    async with world.node() as node:
        await changed(node, create(G, "ann", "bob"))
        await changed(node, change(G, "ann", "one", 1, notices=[["ann"]], name="x"))
        await changed(node, change(G, "ann", "two", 2, notices=[["ann"]], name="y"))
    async with world.node() as node:
        again = await changed(node, change(G, "ann", "one", 1, notices=[["ann"]], name="x"))
        assert (again.status, again.notices[0].seq, again.record.name) == (Outcome.DONE, 2, "y")


async def test_a_group_that_becomes_large_is_read_by_cursor_after_the_last_notice() -> None:
    world = World()
    async with world.node() as node:
        await changed(node, create(G, "ann", "bob"))
        outcome = await changed(
            node,
            change(G, "ann", "add", 1, joins=["cid"], notices=[["ann", "bob", "cid"]] * 2, becomes_large=True),
        )
        assert [notice.seq for notice in outcome.notices] == [2, 3]
        assert outcome.record.large_from == 4
        assert all(member.large for member in world.database.members[G].values())
        large = await node.lists.large_groups_of(["ann", "bob", "cid"])
        assert [large[user][0].conversation for user in ("ann", "bob", "cid")] == [G, G, G]


async def test_a_group_created_large_is_large_from_one() -> None:
    async with World().node() as node:
        outcome = await changed(node, create(G, "ann", "bob", large=True))
        assert (outcome.record.large_from, outcome.record.member_count, outcome.record.head) == (1, 2, 1)


async def test_joins_and_leaves_of_a_large_group_need_no_notice() -> None:
    async with World().node() as node:
        await changed(node, create(G, "ann", "bob", large=True))
        await stored(node, post(G, "ann", "x", 1))
        join = change(G, "cid", "join", 1, joins=["cid"], keep_version=True)
        outcome = await changed(node, join)
        assert (outcome.record.version, outcome.record.member_count, len(outcome.notices)) == (1, 3, 0)
        (loaded,) = await node.loads.load([pb.LoadItem(conversation=G, users=["cid", "zoe"])])
        assert [(m.user, m.joined_seq, m.read_seq) for m in loaded.members] == [("cid", 3, 2)]
        assert (await changed(node, join)).record.member_count == 3
        outcome = await changed(node, change(G, "cid", "leave", 1, removed=["cid"]))
        assert (outcome.record.version, outcome.record.member_count) == (2, 2)
        (loaded,) = await node.loads.load([pb.LoadItem(conversation=G, users=["cid"])])
        assert list(loaded.members) == []


async def test_joins_of_a_large_group_that_come_together_are_made_together() -> None:
    world = World()
    async with world.node() as node:
        await changed(node, create(G, "ann", large=True))
        before = world.database.conversations[G].stamp
        users = [f"user{index}" for index in range(20)]
        outcomes = await node.conversations.change(
            [change(G, user, f"join {user}", 1, joins=[user], keep_version=True) for user in users]
        )
        assert all(isinstance(each, Outcome) and each.status == Outcome.DONE for each in outcomes)
        assert world.database.conversations[G].stamp == before + 1
        assert (await record_of(node)).member_count == 21


async def test_two_who_add_the_same_at_once_count_them_once() -> None:
    async with World().node() as node:
        await changed(node, create(G, "ann", "adam", large=True))
        adds = [
            change(G, admin, f"add by {admin}", 1, joins=["bob", "cid"], keep_version=True) for admin in ("ann", "adam")
        ]
        await node.conversations.change(adds)
        assert (await record_of(node)).member_count == 4


async def test_a_join_that_is_repeated_while_it_is_under_way_counts_once() -> None:
    async with World().node() as node:
        await changed(node, create(G, "ann", large=True))
        join = change(G, "bob", "join", 1, joins=["bob"], keep_version=True)
        other = change(G, "bob", "join on the next connection", 1, joins=["bob"], keep_version=True)
        outcomes = await node.conversations.change([join, join, other])
        assert [outcome.status for outcome in outcomes if isinstance(outcome, Outcome)] == [Outcome.DONE] * 3
        assert (await record_of(node)).member_count == 2


async def test_nobody_who_has_joined_meanwhile_is_left_without_an_owner() -> None:
    async with World().node() as node:
        await changed(node, create(G, "ann", large=True))
        await changed(node, change(G, "bob", "join", 1, joins=["bob"], keep_version=True))
        leave = change(G, "ann", "leave", 1, removed=["ann"])
        leave.empties = True
        assert (await changed(node, leave)).status == Outcome.STALE
        await changed(node, change(G, "bob", "leave", 1, removed=["bob"]))
        leave.version = 2
        assert (await changed(node, leave)).record.member_count == 0


async def test_two_nodes_change_one_group_and_both_changes_are_made_once() -> None:
    world = World()
    async with world.node("one") as one, world.node("two") as two:
        await changed(one, create(G, "ann", "bob"))
        first = await changed(two, change(G, "ann", "add cid", 1, joins=["cid"], notices=[["ann", "bob", "cid"]]))
        assert first.status == Outcome.DONE
        stale = await changed(one, change(G, "ann", "add dan", 1, joins=["dan"], notices=[["ann", "bob", "dan"]]))
        assert stale.status == Outcome.STALE
        second = await changed(one, change(G, "ann", "add dan", 2, joins=["dan"], notices=[["ann", "bob", "dan"]]))
        assert (second.record.version, second.record.member_count, second.record.head) == (3, 4, 3)
        two.ring_changed(frozenset(range(4096)))
        assert sorted(await members_of(two, G)) == ["ann", "bob", "cid", "dan"]


async def test_two_nodes_change_a_large_group_quietly_and_no_count_is_lost() -> None:
    world = World()
    async with world.node("one") as one, world.node("two") as two:
        await changed(one, create(G, "ann", large=True))
        await record_of(two)
        await changed(one, change(G, "bob", "join bob", 1, joins=["bob"], keep_version=True))
        outcome = await changed(two, change(G, "cid", "join cid", 1, joins=["cid"], keep_version=True))
        assert outcome.record.member_count == 3


async def test_a_change_that_fails_has_its_error_and_its_group_is_dropped_and_the_others_are_made() -> None:
    world = World()
    async with world.node() as node:
        for group in ("g:1", "g:2"):
            await changed(node, create(group, "ann", large=True))
        writer = GroupWriter(world.database.repository(), node.conversations.loader, world.clock)
        found = await node.conversations.loader.load(["g:1", "g:2"])
        jobs = []
        for group, conversation in found.items():
            assert not isinstance(conversation, Unavailable)
            join = change(group, "bob", "join", 1, joins=["bob"], keep_version=True)
            jobs.append(ChangeJob(conversation, [0], [join]))  # type: ignore[arg-type]  # what was loaded, as seen above
        swap, refused = world.database.faults, iter([True, False])

        async def refuse_one(command: str) -> None:
            if command == "conversations.swap" and next(refused, False):
                raise Unavailable("away")

        swap.delay = refuse_one
        result = RoundResult()
        await writer.write(jobs, result)
        assert sorted(job.status == Outcome.DONE for job in jobs) == [False, True]
        (failed,) = [job for job in jobs if job.error is not None]
        assert result.dropped == {failed.conversation.id}
        assert set(result.kept) == {"g:1", "g:2"} - result.dropped


async def test_a_quiet_change_of_a_version_that_is_past_is_stale() -> None:
    world = World()
    async with world.node() as node:
        writer = GroupWriter(world.database.repository(), node.conversations.loader, world.clock)
        nothing = cached_from(G, None, ())
        job = ChangeJob(nothing, [0], [change(G, "bob", "join", 1, joins=["bob"], keep_version=True)])
        result = RoundResult()
        await writer.write([job], result)
        assert (job.status, job.error, result.kept, result.dropped) == (Outcome.STALE, None, {}, set())
