"""Streams and expiry on real processes: a storage node is killed while a text grows, and what is over is erased."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from tests.e2e.cluster import Cluster
from tests.support.device.wire import Refused, Wire
from tidings_protocol.client_pb2 import Change, Content, History, Message, Send, StreamPart
from tidings_protocol.ids import direct

pytestmark = pytest.mark.e2e
Name = Callable[[str], str]
PARTS = [f"{number} " for number in range(1, 61)]


async def stream_all(wire: Wire, conversation: str, seq: int, kill: Callable[[], None]) -> None:
    """Sends all parts and the end, and goes on from the part that is wanted, as a client does; `kill` in the midst."""
    wanted, killed = 1, False
    async with asyncio.timeout(60):
        while True:
            for number in range(wanted, len(PARTS) + 1):
                part = StreamPart(conversation=conversation, seq=seq, part=number, text=PARTS[number - 1])
                await wire.post(stream_part=part)
                await asyncio.sleep(0.05)
                if number == 20 and not killed:
                    kill()
                    killed = True
            change = Change(client_id="end", conversation=conversation, seq=seq)
            change.finish.parts = len(PARTS)
            try:
                await wire.request(change=change)
            except Refused as refused:
                if refused.code not in {"BAD_REQUEST", "UNAVAILABLE", "OVERLOADED"}:
                    raise
                wanted = refused.next_part or wanted
                await asyncio.sleep(refused.retry_after_ms / 1000)
            else:
                return


async def test_a_text_is_whole_though_both_owners_die_while_it_grows(cluster_to_break: Cluster, name: Name) -> None:
    cluster, ann, bob = cluster_to_break, name("ann"), name("bob")
    conversation = direct(ann, bob)

    first, second = cluster.pid("storage-0"), cluster.pid("storage-1")

    def kill() -> None:
        # Whoever owns the conversation is one of them; the other one follows, and dies as well.
        os.kill(first, signal.SIGKILL)
        asyncio.get_running_loop().call_later(1.0, os.kill, second, signal.SIGKILL)

    async with cluster.session(ann) as (wire, _):
        content = Content(text="begin ", streaming=True)
        sent = (await wire.request(send=Send(client_id="s", user=bob, content=content))).sent
        await stream_all(wire, conversation, sent.seq, kill)
    async with cluster.session(bob) as (wire, _):
        (message, *_) = await history(wire, conversation)
    assert message.content.text == "begin " + "".join(PARTS)
    assert not message.state.streaming


async def test_what_is_over_is_shown_to_nobody(cluster: Cluster, name: Name) -> None:
    ann, bob = name("ann"), name("bob")
    async with cluster.session(ann) as (wire, _):
        content = Content(text="for a moment", expire_after_s=1)
        await wire.request(send=Send(client_id="s", user=bob, content=content))
        (message,) = await history(wire, direct(ann, bob))
        assert message.expires_ms == message.time_ms + 1000
        await asyncio.sleep(3)
        (message,) = await history(wire, direct(ann, bob))
    assert (message.state.recalled_by, message.HasField("content")) == ("~expiry", False)


async def history(wire: Wire, conversation: str) -> list[Message]:
    async with asyncio.timeout(30):
        while True:
            try:
                page = (await wire.request(history=History(conversation=conversation, after=0))).page
            except Refused as refused:
                await asyncio.sleep(max(0.1, refused.retry_after_ms / 1000))
            else:
                return [entry.message for entry in page.entries]
