"""Owner and admins are told of requests to join, and not too often."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from protos.tidings.internal.v1 import delivery_pb2
from services.logic.changes.join_requests import JoinRequests
from services.logic.groups.loader import GroupLoader
from services.logic.groups.model import AskToJoin
from services.logic.storage_client import StorageClient
from tests.unit.logic.changes.test_entering_groups import ask, needs_approval
from tests.unit.logic.changes.test_group_order import SMALL, there
from tests.unit.logic.harness import POLICY, Logic

Push = delivery_pb2.Push


async def turns() -> None:
    for _ in range(60):
        await asyncio.sleep(0)


def on(node: Logic, interval_s: float) -> JoinRequests:
    storage = StorageClient(node.storage, lambda _: "storage-0", timeout_s=1, budget_s=2, batch_max=500)
    return JoinRequests(storage, GroupLoader(storage, 1000), node.publisher, POLICY, interval_s=interval_s)


def count(pushes: Sequence[Any]) -> int:
    return sum(len(push.users) for push in pushes)


async def test_the_first_news_go_out_at_once_and_the_next_wait_for_their_time() -> None:
    async with there(SMALL) as (node, group):
        await needs_approval(node, group)
        await turns()
        node.pushes()
        async with on(node, interval_s=1e6) as requests:
            for _ in range(3):
                requests.note(group)
            await turns()
            assert count(node.pushes(Push.GROUP_INFO)) == 2, "the owner and the admin, once"
            requests.note(group)
            await turns()
            assert node.pushes(Push.GROUP_INFO) == []


async def test_what_comes_within_the_time_is_told_together_after_it() -> None:
    async with there(SMALL) as (node, group):
        await needs_approval(node, group)
        await turns()
        node.pushes()
        async with on(node, interval_s=0.05) as requests:
            requests.note(group)
            await turns()
            assert count(node.pushes(Push.GROUP_INFO)) == 2
            for _ in range(5):
                requests.note(group)
            await asyncio.sleep(0.08)
            await turns()
            assert count(node.pushes(Push.GROUP_INFO)) == 2


async def test_a_storage_that_is_away_spoils_no_later_news() -> None:
    async with there(SMALL) as (node, group):
        await needs_approval(node, group)
        await turns()
        node.pushes()
        storage: Any = node.storage
        async with on(node, interval_s=0) as requests:
            storage.lose.append("Load")
            requests.note(group)
            await turns()
            assert node.pushes(Push.GROUP_INFO) == []
            requests.note(group)
            await turns()
            assert count(node.pushes(Push.GROUP_INFO)) == 2


async def test_nobody_is_told_where_joining_is_not_asked_for() -> None:
    async with there(SMALL) as (node, group):
        async with on(node, interval_s=0) as requests:
            requests.note(group)
            requests.note("g:nowhere")
            await turns()
        assert node.pushes(Push.GROUP_INFO) == []


async def test_a_request_that_was_decided_on_another_version_is_not_left() -> None:
    async with there(SMALL) as (node, group):
        await needs_approval(node, group)
        await ask(node, group, "eve")
        requests = on(node, interval_s=0)
        assert not await requests.ask(AskToJoin(group, "zoe", "", version=1))
