"""Messages that are changed after they were sent, over every wire."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiokafka import AIOKafkaConsumer

from protos.tidings.v1 import events_pb2
from tests.e2e.cluster import Cluster
from tests.support.device.wire import Refused, Wire
from tidings_protocol.client_pb2 import Change, Content, Message, Send, ServerFrame, Sync

pytestmark = pytest.mark.e2e
Name = Callable[[str], str]


async def sent(wire: Wire, client_id: str, user: str, **content: object) -> ServerFrame:
    return await wire.request(send=Send(client_id=client_id, user=user, content=Content(**content)))  # type: ignore[arg-type]


async def changed(wire: Wire, client_id: str, conversation: str, seq: int, **act: object) -> ServerFrame:
    return await wire.request(
        change=Change(client_id=client_id, conversation=conversation, seq=seq, **act)  # type: ignore[arg-type]
    )


async def refusal(asked: Awaitable[ServerFrame]) -> str:
    """The code with which this is refused; empty: it is not."""
    try:
        await asked
    except Refused as refused:
        return refused.code
    return ""


async def messages(wire: Wire, count: int) -> list[Message]:
    """The next ones that come live, each once: what is repeated is told again."""
    found: dict[int, Message] = {}
    while len(found) < count:
        for entry in (await wire.push("deliver")).deliver.entries:
            found.setdefault(entry.message.seq, entry.message)
    return list(found.values())


@pytest.mark.parametrize(("mine", "theirs"), [("json", "tcp"), ("proto", "json")])
async def test_an_edit_a_pin_and_a_recall_reach_everybody_in_their_order(
    cluster: Cluster, name: Name, mine: str, theirs: str
) -> None:
    async with (
        cluster.session(name("ann"), mine, device="phone") as (ann, welcome),  # type: ignore[arg-type]
        cluster.session(name("ann"), "tcp", device="laptop") as (laptop, _),
        cluster.session(name("bob"), theirs, device="phone") as (bob, _),  # type: ignore[arg-type]
    ):
        assert (welcome.limits.edit_window_s, welcome.limits.recall_window_s) == (172_800, 172_800)
        assert (welcome.limits.media_bytes_max, welcome.limits.search, welcome.limits.streams) == (0, False, True)
        chat = (await sent(ann, "1", name("bob"), text="helo", mentions=[name("bob")])).sent.conversation
        edit = (await changed(ann, "2", chat, 1, edit=Content(text="hello"))).sent
        assert (edit.seq, edit.number, edit.state.revision, edit.client_id) == (2, 2, 2, "2")
        assert edit.state.edited_ms > 0
        assert edit.message_id
        pin = (await changed(bob, "1", chat, 1, pin=True)).sent
        assert (pin.seq, pin.state.pinned) == (3, True)
        unpin = (await changed(bob, "2", chat, 1, pin=False)).sent
        assert (unpin.seq, unpin.state.pinned) == (4, False)
        recall = (await changed(ann, "3", chat, 1, recall=Change.Recall())).sent
        assert (recall.seq, recall.state.recalled_by) == (5, name("ann"))
        again = (await changed(ann, "3", chat, 1, recall=Change.Recall())).sent
        assert (again.seq, again.duplicate, again.message_id) == (5, True, recall.message_id)

        seen = await messages(laptop, 5)
        assert [each.seq for each in seen] == [1, 2, 3, 4, 5]
        assert [each.change.WhichOneof("act") for each in seen[1:]] == ["edit", "pin", "pin", "recall"]
        assert all(each.kind == Message.CHANGE and not each.ordinal for each in seen[1:])
        assert (seen[1].change.edit.text, seen[1].state) == ("hello", edit.state)
        assert [each.seq for each in await messages(bob, 3)] == [1, 2, 5], "what bob did himself he has by `sent`"
        page = (await bob.request(sync=Sync())).page
        assert [(entry.number, entry.message.seq) for entry in page.entries] == [(n, n) for n in range(1, 6)]


async def test_what_cannot_be_changed_is_refused_with_the_right_code(cluster: Cluster, name: Name) -> None:
    async with (
        cluster.session(name("ann")) as (ann, _),
        cluster.session(name("bob"), "tcp") as (bob, _),
        cluster.session(name("eve"), "json") as (eve, _),
    ):
        chat = (await sent(ann, "1", name("bob"), text="hi")).sent.conversation
        refused: dict[str, list[Awaitable[ServerFrame]]] = {
            "FORBIDDEN": [
                changed(bob, "a", chat, 1, edit=Content(text="mine now")),
                changed(bob, "b", chat, 1, recall=Change.Recall()),
                changed(eve, "c", chat, 1, pin=True),
            ],
            "NOT_FOUND": [changed(ann, "d", chat, 7, recall=Change.Recall())],
            "BAD_REQUEST": [
                changed(ann, "1", chat, 1, pin=True),
                changed(ann, "e", chat, 1),
                changed(ann, "f", chat, 1, edit=Content()),
                changed(ann, "g", chat, 1, finish=Change.Finish()),
                changed(ann, "h", "d:b|a", 1, pin=True),
                sent(ann, "i", name("bob"), text="look", media=[{"id": "m1"}]),
            ],
        }
        for code, answers in refused.items():
            assert [await refusal(answer) for answer in answers] == [code] * len(answers)
        assert (await sent(ann, "2", name("bob"), text="and on")).sent.seq == 2
        assert (await changed(ann, "3", chat, 1, recall=Change.Recall())).sent.seq == 3
        # Many of these: that a message is recalled may be news to whoever changes it.
        for number in range(70):
            late = changed(ann, f"late{number}", chat, 1, edit=Content(text="too late"))
            assert await refusal(late) == "FORBIDDEN"
        assert (await sent(ann, "4", name("bob"), text="still here")).sent.seq == 4


async def test_the_stream_of_events_tells_changes_in_their_order_and_says_what_each_record_is(
    cluster: Cluster, name: Name
) -> None:
    async with cluster.session(name("ann")) as (ann, _):
        chat = (await sent(ann, "1", name("bob"), text="helo")).sent.conversation
        await changed(ann, "2", chat, 1, edit=Content(text="hello"))
        await changed(ann, "3", chat, 1, recall=Change.Recall())
    records = await told(cluster, chat, 3)
    assert [kind for kind, _ in records] == ["message", "change", "change"]
    first, edit, recall = (event.message for _, event in records)
    assert (first.content.text, edit.change.edit.text, edit.state.revision) == ("helo", "hello", 2)
    assert (recall.change.WhichOneof("act"), recall.change.seq, recall.state.recalled_by) == ("recall", 1, name("ann"))
    assert all(set(event.recipients) == {name("ann"), name("bob")} for _, event in records)


async def told(cluster: Cluster, conversation: str, count: int) -> list[tuple[str, events_pb2.Event]]:
    """The type and the event of so many records of this conversation."""
    kafka = next(each for each in cluster.status()["backends"] if each["name"] == "kafka")
    consumer = AIOKafkaConsumer(
        "tidings.events", bootstrap_servers=kafka["address"], auto_offset_reset="earliest", enable_auto_commit=False
    )
    found: list[tuple[str, events_pb2.Event]] = []
    async with consumer, asyncio.timeout(30):
        async for record in consumer:
            types = [value.decode() for header, value in record.headers if header == "type"]
            assert types[0] in {"message", "change", "receipt", "membership"}
            event = events_pb2.Event.FromString(record.value)
            if event.conversation == conversation and types[0] in {"message", "change"}:
                found.append((types[0], event))
            if len(found) == count:
                break
    return found
