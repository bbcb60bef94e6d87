"""Streams from logic to a real storage node and back."""

from __future__ import annotations

from protos.tidings.internal.v1 import delivery_pb2, logic_pb2
from protos.tidings.internal.v1.common_pb2 import Special
from tests.unit.logic.harness import Logic, message
from tests.unit.logic.messages.test_changes_on_storage import group
from tests.unit.logic.messages.test_stream_parts import codes, part
from tests.unit.logic.on_storage import on_storage
from tests.unit.storage.nodes import World
from tidings_protocol import client_pb2

CHAT = "d:amy|bob"


def stream(sender: str, conversation: str, text: str = "", *, client_id: str = "stream") -> logic_pb2.SendItem:
    item = message(sender, conversation, text, client_id=client_id, special=Special(streaming=True))
    item.content = client_pb2.Content(text=text, streaming=True).SerializeToString()
    return item


def finish(sender: str, conversation: str, parts: int, *, client_id: str = "end") -> logic_pb2.SendItem:
    change = client_pb2.Change(seq=1, finish=client_pb2.Change.Finish(parts=parts))
    item = message(sender, conversation, "", client_id=client_id, special=Special(change=change.SerializeToString()))
    item.content = b""
    return item


async def history(node: Logic, user: str, conversation: str = CHAT) -> list[client_pb2.Message]:
    reply = await node.ask(user, history=client_pb2.History(conversation=conversation, after=0))
    return [entry.message for entry in reply.page.entries]


async def test_a_text_grows_while_it_is_read_and_is_whole_in_the_end() -> None:
    async with on_storage() as node:
        [sent] = await node.send_rows(stream("amy", CHAT, "well, "))
        assert (sent.fault.code, sent.seq) == ("", 1)
        assert (
            codes(await node.parts.take([part("amy", CHAT, 1, "I "), part("amy", CHAT, 2, "think")])) == [("", 0)] * 2
        )
        assert codes(await node.parts.take([part("amy", CHAT, 5)])) == [("BAD_REQUEST", 3)]
        await node.all_told()
        pushes = node.pushes(delivery_pb2.Push.STREAM_PART)
        assert {client_pb2.StreamPart.FromString(push.body).part for push in pushes} == {1, 2}
        [early] = await node.send_rows(finish("amy", CHAT, 3))
        assert (early.fault.code, early.fault.next_part, early.fault.excused) == ("BAD_REQUEST", 3, True)
        [ended] = await node.send_rows(finish("amy", CHAT, 2))
        assert not client_pb2.State.FromString(ended.state).streaming
        (shown,) = await history(node, "bob")
        assert (shown.content.text, shown.state.streaming, shown.state.parts) == ("well, I think", False, 2)
        [again] = await node.send_rows(finish("amy", CHAT, 2))
        assert (again.seq, again.duplicate) == (ended.seq, True)


async def test_who_is_removed_or_muted_goes_on_no_more() -> None:
    world = World()
    async with on_storage(world) as node:
        name = await group(node, "amy", "bob", "cid")
        sent = await node.send_rows(stream("bob", name, client_id="b"), stream("cid", name, client_id="c"))
        items = [part("bob", name, 1, seq=sent[0].seq), part("cid", name, 1, seq=sent[1].seq)]
        assert codes(await node.parts.take(items)) == [("", 0)] * 2
        mute = client_pb2.GroupRequest.Mute(conversation=name, users=["bob"], until_ms=world.clock.wall_ms() + 60_000)
        await node.ask("amy", op="mute", group=client_pb2.GroupRequest(mute=mute))
        remove = client_pb2.GroupRequest.Remove(conversation=name, users=["cid"])
        await node.ask("amy", op="remove", group=client_pb2.GroupRequest(remove=remove))
        items = [part("bob", name, 2, seq=sent[0].seq), part("cid", name, 2, seq=sent[1].seq)]
        assert codes(await node.parts.take(items)) == [("FORBIDDEN", 0)] * 2
        world.clock.advance(61)
        assert codes(await node.parts.take(items[:1])) == [("", 0)]


async def test_whoever_is_blocked_goes_on_no_more() -> None:
    world = World()
    async with on_storage(world) as node:
        await node.send_rows(stream("amy", CHAT))
        assert codes(await node.parts.take([part("amy", CHAT, 1)])) == [("", 0)]
        block = client_pb2.BlockRequest(set=client_pb2.BlockRequest.Set(users=["amy"], blocked=True))
        reply = await node.ask("bob", op="block", block=block)
        assert reply.WhichOneof("body") == "ok"
        world.clock.advance(3)  # as for signals: within two seconds, everywhere
        assert codes(await node.parts.take([part("amy", CHAT, 2)])) == [("FORBIDDEN", 0)]
