"""Inbox entries at the owners of their users: the size of a call, and what is done here when an owner is left alone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.rpc.contract import MESSAGE_BYTES_MAX
from services.storage.inboxes.fanout import APPEND_MAX
from services.storage.inboxes.numbering import Append
from services.storage.owners.peers import NoPeers, NotAttempted
from tests.unit.storage.nodes import World
from tidings_protocol.errors import Unavailable

USERS = [f"{number:064}" for number in range(APPEND_MAX)]
# As long as ids may be, and numbers that take all their bytes.
CHAT = f"d:{'a' * 64}|{'u' * 64}"


class Owner(NoPeers):
    """Another node that owns all users. It numbers from 1 on, and fails from the call `fails_at` on."""

    def __init__(self, fails_at: int, error: Exception) -> None:
        self.calls: list[Sequence[pb.AppendItem]] = []
        self._fails_at = fails_at
        self._error = error

    def owner_of(self, slot: int) -> str | None:
        return "two"

    async def append(self, owner: str, batch: pb.AppendBatch) -> pb.AppendOutcomes:
        assert batch.ByteSize() <= MESSAGE_BYTES_MAX / 10
        self.calls.append(batch.items)
        if len(self.calls) >= self._fails_at:
            raise self._error
        return pb.AppendOutcomes(numbers=[item.seq - 2**40 for item in batch.items])


def appends(*seqs: int) -> list[Append]:
    return [Append(user, CHAT, 2**40 + seq, 2**62, again=True) for seq in seqs for user in USERS]


async def test_appends_that_are_larger_than_a_call_are_several_in_their_order() -> None:
    async with World().node() as node:
        fanout, owner = node.conversations._fanout, Owner(10, Unavailable("late"))
        fanout._peers = owner
        numbers = await fanout.append(appends(1, 2, 3))
        assert [len(call) for call in owner.calls] == [APPEND_MAX] * 3
        assert numbers == [1] * APPEND_MAX + [2] * APPEND_MAX + [3] * APPEND_MAX


@pytest.mark.parametrize("error", [NotAttempted("it left meanwhile"), Unavailable("late")])
async def test_what_an_owner_did_before_it_was_left_alone_is_not_done_again(error: Unavailable) -> None:
    world = World()
    async with world.node() as node:
        fanout = node.conversations._fanout
        fanout._peers = Owner(2, error)
        numbers = await fanout.append(appends(1, 2))
        assert numbers[:APPEND_MAX] == [1] * APPEND_MAX
        # The second part is appended here: to inboxes that are empty, since the owner of this test keeps nothing.
        assert numbers[APPEND_MAX:] == [1] * APPEND_MAX
        assert {entry.seq for entries in world.database.inboxes.values() for entry in entries.values()} == {2**40 + 2}
