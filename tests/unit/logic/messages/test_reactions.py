"""Reactions where there are none."""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.logic.messages.reactions import NoReactions, Reactor
from tests.unit.logic.harness import logic
from tests.unit.logic.messages.test_changes import change


async def test_where_there_are_no_reactions_each_is_refused() -> None:
    nobody: Reactor = NoReactions()
    outcomes = await nobody.react([pb.StoreItem(), pb.StoreItem()])
    assert [getattr(outcome, "code", "") for outcome in outcomes] == ["BAD_REQUEST", "BAD_REQUEST"]
    async with logic() as node:
        [outcome] = await node.send_rows(change("amy", "d:amy|bob", react="+"))
        assert outcome.fault.code == "BAD_REQUEST"
        assert node.storage.calls == [], "a set is not looked at for repeats"
