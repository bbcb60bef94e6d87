"""Sessions begin and end; the newest of a device wins."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1 import delivery_pb2, logic_pb2
from services.common.errors import Overloaded, Unavailable
from tests.unit.logic.harness import Logic, logic, message


def hello(user: str, session: str, *, device: str = "phone", node: int = 0, **fields: object) -> logic_pb2.OpenItem:
    return logic_pb2.OpenItem(
        user=user,
        device=device,
        session=session,
        node=f"access-{node}",
        boot_id=f"boot-{node}",
        **fields,  # type: ignore[arg-type]
    )


def changes(node: Logic) -> list[tuple[str, str, bool]]:
    """(user, session, up) of what all nodes heard."""
    return [
        (change.user, change.session, change.up)
        for push in node.pushes(delivery_pb2.Push.SESSIONS)
        for change in delivery_pb2.SessionChanges.FromString(push.body).changes
    ]


async def test_a_session_is_stored_and_everyone_hears_of_it() -> None:
    async with logic() as node:
        await node.send(message("bob", "d:amy|bob", "hi"))
        [outcome] = await node.sessions.open([hello("amy", "s1", client="app/1")])
        assert (outcome.inbox_head, outcome.epoch, outcome.reset) == (1, "epoch", False)
        assert node.storage.sessions["amy", "phone"].client == "app/1"
        await node.sessions.close([logic_pb2.CloseItem(user="amy", device="phone", session="s1", boot_id="boot-0")])
        assert node.storage.sessions == {}
    assert changes(node) == [("amy", "s1", True), ("amy", "s1", False)]


async def test_many_sessions_are_one_call_and_one_record() -> None:
    async with logic() as node:
        outcomes = await node.sessions.open([hello(f"user{number}", f"s{number}") for number in range(300)])
        assert len(outcomes) == 300
        assert node.storage.calls == [("Open", 300)]
    assert len(node.parcels()) == 1


async def test_the_older_session_of_a_device_is_ended_wherever_it_is() -> None:
    async with logic() as node:
        await node.sessions.open([hello("amy", "s1", node=1)])
        await node.sessions.open([hello("amy", "s2", node=0)])
        await node.sessions.open([hello("amy", "s3", device="laptop")])
    assert [(name, session, code) for name, session, code, _ in node.peers.evicted] == [("access-1", "s1", 4501)]


async def test_a_session_on_a_dead_node_is_nobodys_trouble() -> None:
    async with logic() as node:
        item = hello("amy", "s1")
        item.boot_id = "dead"
        await node.sessions.open([item])
        [outcome] = await node.sessions.open([hello("amy", "s2")])
        assert not outcome.HasField("fault")
    assert node.peers.evicted == []


async def test_a_repeated_opening_does_not_end_itself() -> None:
    async with logic() as node:
        await node.sessions.open([hello("amy", "s1")])
        await node.sessions.open([hello("amy", "s1")])
    assert node.peers.evicted == []


async def test_a_node_that_does_not_answer_an_eviction_is_asked_once_more() -> None:
    async with logic() as node:
        node.peers.fail = [Unavailable("away")]
        await node.sessions.open([hello("amy", "s1", node=1)])
        await node.sessions.open([hello("amy", "s2")])
    assert len(node.peers.evicted) == 1


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
        await node.sending.announce(b"", "n")
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


async def test_closings_that_storage_did_not_take_are_to_be_sent_again() -> None:
    async with logic() as node:
        node.storage.fail["Close"] = [Unavailable("away")]
        with pytest.raises(Unavailable):
            await node.sessions.close([logic_pb2.CloseItem(user="amy", device="phone", session="s1")])


async def test_presence_reaches_everyone_when_kafka_is_back() -> None:
    async with logic() as node:
        node.broker.away()
        await node.sessions.open([hello("amy", "s1")])
        node.clock.advance(60)
        node.broker.back()
    assert changes(node) == [("amy", "s1", True)]
