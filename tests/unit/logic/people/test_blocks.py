"""Who blocks whom is asked of storage, and believed for a moment."""

from __future__ import annotations

import pytest

from services.common.clock import ManualClock
from services.logic.people.blocks import KEPT_S, Blocks, Pair
from services.logic.storage_client import StorageClient
from tests.unit.logic.fake_storage import FakeStorage
from tidings_protocol.errors import Forbidden, Unavailable

CHAT = "d:ann|bob"


def blocks(storage: FakeStorage, clock: ManualClock, *, chats_max: int = 100) -> Blocks:
    client = StorageClient(storage, lambda slot: "storage-0", timeout_s=1, budget_s=2, batch_max=500)
    return Blocks(client, clock, chats_max=chats_max)


async def test_those_who_block_a_user_are_found() -> None:
    storage = FakeStorage()
    storage.blocks = {("bob", "ann"): 5, ("cid", "ann"): 6, ("ann", "dan"): 7}
    asked = blocks(storage, ManualClock())
    assert await asked.blocking("ann", ["ann", "bob", "cid", "dan"]) == {"bob", "cid"}
    pairs = [Pair("bob", "ann"), Pair("ann", "bob"), Pair("ann", "dan"), Pair("bob", "ann")]
    assert await asked.since(pairs) == {Pair("bob", "ann"): 5, Pair("ann", "dan"): 7}
    assert await asked.blocking("ann", []) == frozenset()


async def test_whoever_cannot_be_asked_about_is_no_answer() -> None:
    storage = FakeStorage()
    storage.fail["Blocked"] = [Unavailable("away", 100)]
    with pytest.raises(Unavailable):
        await blocks(storage, ManualClock()).blocking("ann", ["bob"])


async def test_a_chat_is_asked_about_once_in_a_while() -> None:
    storage, clock = FakeStorage(), ManualClock()
    asked = blocks(storage, clock)
    assert await asked.refusals([(CHAT, "ann"), (CHAT, "bob")]) == [None, None]
    storage.blocks["bob", "ann"] = 1
    assert await asked.refusals([(CHAT, "ann")]) == [None]
    assert storage.count("Load") == 1
    clock.advance(KEPT_S)
    refused, other = await asked.refusals([(CHAT, "ann"), (CHAT, "bob")])
    assert isinstance(refused, Forbidden)
    assert other is None
    assert storage.count("Load") == 2


async def test_what_is_believed_is_in_force_within_two_seconds() -> None:
    assert KEPT_S < 2


async def test_one_chat_that_cannot_be_asked_about_is_not_remembered() -> None:
    storage = FakeStorage()
    asked = blocks(storage, ManualClock())
    storage.fail["Load"] = [Unavailable("away", 100)]
    [error] = await asked.refusals([(CHAT, "ann")])
    assert isinstance(error, Unavailable)
    assert await asked.refusals([(CHAT, "ann")]) == [None]


async def test_the_chats_that_are_remembered_are_bounded() -> None:
    storage = FakeStorage()
    asked = blocks(storage, ManualClock(), chats_max=2)
    for peer in ("bob", "cid", "dan", "bob"):
        await asked.refusals([(f"d:ann|{peer}", "ann")])
    assert storage.count("Load") == 4
    await asked.refusals([("d:ann|dan", "ann")])
    assert storage.count("Load") == 4
