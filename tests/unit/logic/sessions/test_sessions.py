"""Sessions begin and end; the newest of a device wins."""

from __future__ import annotations

import asyncio

import pytest

from protos.tidings.internal.v1 import delivery_pb2, logic_pb2
from tests.unit.logic.harness import Logic, logic, message
from tidings_protocol.errors import Overloaded, Unavailable


def hello(user: str, session: str, *, device: str = "phone", node: int = 0, **fields: object) -> logic_pb2.OpenItem:
    return logic_pb2.OpenItem(
        user=user,
        device=device,
        session=session,
        node=f"access-{node}",
        boot_id=f"boot-{node}",
        **fields,  # type: ignore[arg-type]
    )


def changes(node: Logic) -> list[tuple[str, bool]]:
    """(user, up) of what all nodes heard."""
    return [
        (change.user, change.up)
        for push in node.pushes(delivery_pb2.Push.SESSIONS)
        for change in delivery_pb2.SessionChanges.FromString(push.body).changes
    ]


async def test_a_session_is_stored_and_everyone_hears_of_it() -> None:
    async with logic() as node:
        await node.send(message("bob", "d:amy|bob", "hi"))
        [outcome] = await node.sessions.open([hello("amy", "s1", client="app/1")])
        assert (outcome.inbox_head, outcome.epoch, outcome.reset) == (1, "epoch", False)
        assert node.storage.sessions["amy", "phone"].client == "app/1"
        await node.sessions.close([logic_pb2.CloseItem(user="amy", device="phone", session="s1")])
        assert node.storage.sessions == {}
    assert changes(node) == [("amy", True), ("amy", False)]


async def test_many_sessions_are_one_call_and_one_record() -> None:
    async with logic() as node:
        outcomes = await node.sessions.open([hello(f"user{number}", f"s{number}") for number in range(300)])
        assert len(outcomes) == 300
        assert node.storage.calls == [("Open", 300)]
    assert len(node.parcels()) == 1


async def test_the_sessions_that_one_replaced_are_named_and_nobody_is_ended_before_it_is_welcomed() -> None:
    async with logic() as node:
        await node.sessions.open([hello("amy", "s1", node=1)])
        [outcome] = await node.sessions.open([hello("amy", "s2", node=0)])
        [other] = await node.sessions.open([hello("amy", "s3", device="laptop")])
    assert [(each.session, each.node, each.boot_id) for each in outcome.replaced] == [("s1", "access-1", "boot-1")]
    assert list(other.replaced) == []
    assert node.peers.evicted == []


async def test_a_repeated_opening_does_not_name_itself() -> None:
    async with logic() as node:
        await node.sessions.open([hello("amy", "s1")])
        [outcome] = await node.sessions.open([hello("amy", "s1")])
    assert list(outcome.replaced) == []


async def test_a_login_that_is_older_than_the_present_one_is_told_so_and_nobody_hears_of_it() -> None:
    async with logic() as node:
        await node.sessions.open([hello("amy", "s2", attempt=7)])
        [outcome] = await node.sessions.open([hello("amy", "s1", again=True)])
    assert (outcome.newer, outcome.newer_attempt) == ("s2", 7)
    assert changes(node) == [("amy", True)]


async def test_what_orders_logins_goes_to_storage_as_it_came() -> None:
    async with logic() as node:
        await node.sessions.open([hello("amy", "s1", attempt=9, since_ms=5, address="192.0.2.7")])
        record = node.storage.sessions["amy", "phone"]
    assert (record.attempt, record.since_ms, record.address) == (9, 5, "192.0.2.7")


async def test_a_login_in_the_name_of_a_boot_that_is_not_alive_is_refused_and_may_be_repeated() -> None:
    async with logic() as node:
        dead = hello("amy", "s1")
        dead.boot_id = "dead"
        refused, opened = await node.sessions.open([dead, hello("bob", "s2")])
        assert (refused.fault.code, opened.fault.code) == ("UNAVAILABLE", "")
        assert 0 < refused.fault.retry_after_ms <= 500
        assert list(node.storage.sessions) == [("bob", "phone")]
    assert changes(node) == [("bob", True)]


async def test_a_node_that_the_registry_tells_of_a_moment_later_is_served() -> None:
    async with logic() as node:
        young = hello("amy", "s1")
        young.boot_id = "young"
        opening = asyncio.ensure_future(node.sessions.open([young]))
        await asyncio.sleep(0)
        node.view.join("young")
        [outcome] = await opening
        assert not outcome.HasField("fault")


async def test_nobody_is_refused_while_the_registry_is_away() -> None:
    async with logic() as node:
        node.view.connected = False
        unknown = hello("amy", "s1")
        unknown.boot_id = "unknown"
        [outcome] = await node.sessions.open([unknown])
        assert not outcome.HasField("fault")


async def test_groups_of_cursors_that_the_user_is_not_in_are_named() -> None:
    async with logic() as node:
        node.storage.group("g:in", "amy", large_from=1)
        node.storage.group("g:out", "bob", large_from=1)
        cursors = {"g:in": 1, "g:out": 1, "g:none": 1, "d:amy|bob": 1, "no id": 1}
        [outcome] = await node.sessions.open([hello("amy", "s1", group_cursors=cursors)])
    assert sorted(outcome.left_groups) == ["g:none", "g:out"]


async def test_a_session_is_said_to_have_ended_when_its_record_is_gone_and_not_before() -> None:
    async with logic() as node:
        await node.sessions.open([hello("amy", "s1")])
        node.storage.fail["Close"] = [Unavailable("away")]
        closing = [logic_pb2.CloseItem(user="amy", device="phone", session="s1")]
        [outcome] = await node.sessions.close(closing)
        assert isinstance(outcome, Unavailable)
    assert changes(node) == [("amy", True)]
    async with logic() as node:
        await node.sessions.open([hello("amy", "s1")])
        assert await node.sessions.close(closing) == [None]
    assert changes(node) == [("amy", True), ("amy", False)]


async def test_the_sessions_under_a_boot_are_told_by_pages() -> None:
    async with logic() as node:
        await node.sessions.open([hello(f"user{n}", f"s{n}", node=n % 2) for n in range(6)])
        query = logic_pb2.HeldQuery(boot_id="boot-0", limit=2)
        first = await node.sessions.held(query)
        query.after_user, query.after_device = first.sessions[-1].user, first.sessions[-1].device
        second = await node.sessions.held(query)
    assert [each.session for page in (first, second) for each in page.sessions] == ["s0", "s2", "s4"]
    assert (first.more, second.more) == (True, False)


@pytest.mark.parametrize(
    ("cursor", "epoch", "reset"),
    [(0, "", False), (1, "epoch", False), (1, "", False), (2, "epoch", True), (0, "other", True), (1, "other", True)],
)
async def test_a_cursor_of_other_data_or_beyond_the_head_is_dropped(cursor: int, epoch: str, reset: bool) -> None:
    async with logic() as node:
        await node.send(message("bob", "d:amy|bob", "hi"))
        [outcome] = await node.sessions.open([hello("amy", "s1", cursor=cursor, epoch=epoch)])
        assert outcome.reset is reset


async def test_the_welcome_names_what_a_cursor_is_behind_of() -> None:
    async with logic() as node:
        for name in ("g:a", "g:b", "g:c"):
            node.storage.group(name, "amy", large_from=1)
            await node.send(message("amy", name, "1"), message("amy", name, "2"))
        node.storage.group("g:small", "amy")
        node.storage.group("g:others", "bob", large_from=1)
        await node.sender.announce(b"", "n")
        cursors = {"g:a": 1, "g:b": 2, "g:others": 0}
        [outcome] = await node.sessions.open([hello("amy", "s1", group_cursors=cursors, epoch="epoch")])
        assert dict(outcome.group_heads) == {"g:a": 2, "g:c": 2, "b:all": 1}
        assert list(outcome.large_groups) == ["g:a", "g:b", "g:c"]
        [outcome] = await node.sessions.open([hello("amy", "s2", group_cursors=cursors, epoch="other")])
        assert dict(outcome.group_heads) == {"g:a": 2, "g:b": 2, "g:c": 2, "b:all": 1}, "cursors of other data"


async def test_a_session_that_storage_refuses_has_its_fault_and_is_announced_to_nobody() -> None:
    async with logic() as node:
        node.storage.fail["Open"] = [Overloaded("100 devices", 60_000)]
        [outcome] = await node.sessions.open([hello("amy", "s1")])
        assert (outcome.fault.code, outcome.fault.retry_after_ms) == ("OVERLOADED", 60_000)
    assert changes(node) == []


async def test_presence_reaches_everyone_when_kafka_is_back() -> None:
    async with logic() as node:
        node.broker.away()
        await node.sessions.open([hello("amy", "s1")])
        node.clock.advance(60)
        node.broker.back()
    assert changes(node) == [("amy", True)]


async def test_sessions_that_begin_and_end_one_after_the_other_are_told_together() -> None:
    async with logic() as node:
        for number in range(20):
            await node.sessions.open([hello("amy", f"s{number}")])
            await node.sessions.close([logic_pb2.CloseItem(user="amy", device="phone", session=f"s{number}")])
    pushes = node.pushes(delivery_pb2.Push.SESSIONS)
    assert len(pushes) <= 2
    told = [change for push in pushes for change in delivery_pb2.SessionChanges.FromString(push.body).changes]
    assert [(change.user, change.up) for change in told] == [("amy", True), ("amy", False)] * 20
