"""Retention at random places, then every device catches up: pages always move, and show all that is left once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.node import Storage
from services.storage.upkeep.retention import RetentionPolicy
from tests.unit.storage.nodes import World, send, stored
from tidings.core.messages.inbox import Inbox, Item
from tidings_protocol import client_pb2

DAY_S = 24 * 3600.0
PEERS = ("ann", "cid", "dan")

# Who writes to bob, how many messages, of how many bytes, and how many days pass before.
bursts = st.lists(
    st.tuples(st.sampled_from(PEERS), st.integers(1, 40), st.sampled_from([1, 300, 3000]), st.integers(0, 4)),
    min_size=1,
    max_size=6,
)


@given(
    bursts=bursts,
    message_days=st.integers(0, 6),
    inbox_days=st.integers(0, 6),
    lost=st.sets(st.integers(1, 240)),
    cursor=st.integers(0, 240),
    limit=st.integers(1, 9),
    bytes_max=st.sampled_from([1, 2000, 100_000]),
)
async def test_whatever_retention_took_every_device_catches_up(
    bursts: list[tuple[str, int, int, int]],
    message_days: int,
    inbox_days: int,
    lost: set[int],
    cursor: int,
    limit: int,
    bytes_max: int,
) -> None:
    """`lost`: numbers of entries whose messages are gone and which are there themselves, as between two sweeps."""
    world = World()
    policy = RetentionPolicy(message_days, inbox_days, interval_s=1e6, step=7, pause_s=0)
    async with world.node(policy=policy) as node:
        for burst, (sender, count, size, days) in enumerate(bursts):
            world.clock.advance(days * DAY_S)
            await stored(node, *(send(sender, "bob", f"{burst}.{index}", "x" * size) for index in range(count)))
        await node.retention.sweep()
        entries = world.database.inboxes["bob"]
        for number in lost & entries.keys():
            world.database.messages[entries[number].conversation].pop(entries[number].seq, None)
        left = [
            number
            for number, entry in sorted(entries.items())
            if number > cursor and entry.seq in world.database.messages[entry.conversation]
        ]
        assert await caught_up(node, cursor, limit, bytes_max) == left
        assert await caught_up_by_the_library(node, cursor, limit, bytes_max) == left


async def caught_up(node: Storage, after: int, limit: int, bytes_max: int) -> list[int]:
    """What a device is shown that goes on from `next` for as long as there is more."""
    shown: list[int] = []
    while True:
        item = pb.InboxItem(user="bob", after=after, limit=limit, bytes_max=bytes_max)
        (page,) = await node.pages.inbox([item])
        numbers = [entry.number for entry in page.entries]
        assert page.entries or not page.more or page.next > after, "a page always moves"
        assert len(numbers) <= limit
        assert numbers == sorted(numbers)
        assert not numbers or page.next >= numbers[-1]
        skipped = set(range(after + 1, page.next + 1)) - set(numbers)
        assert page.truncated or not skipped, "what is passed over is said"
        shown += numbers
        if not page.more:
            return shown
        after = page.next


async def caught_up_by_the_library(node: Storage, cursor: int, limit: int, bytes_max: int) -> list[int]:
    """The same for the client library's own inbox, which asks from where it is in order."""
    (head,) = (await node.pages.inbox_heads(["bob"])).heads
    if cursor >= head:
        return []
    inbox = Inbox(cursor, 1000)
    inbox.note_head(head)
    shown: list[int] = []
    for _ in range(500):
        if not inbox.behind:
            return shown
        after = inbox.tip
        item = pb.InboxItem(user="bob", after=after, limit=limit, bytes_max=bytes_max)
        (found,) = await node.pages.inbox([item])
        page = client_pb2.Page(next=found.next, head=found.head, more=found.more, truncated=found.truncated)
        items = []
        for entry in found.entries:
            message = client_pb2.Message.FromString(entry.message)
            items.append(Item(message.conversation, message.seq, message, entry.number))
        shown += [placed.number for placed in inbox.page(after, page, items)]
    raise AssertionError(f"it never gets beyond {inbox.tip} of {head}")
