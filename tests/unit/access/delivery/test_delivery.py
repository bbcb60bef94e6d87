"""From pushes to connections: what cannot be read harms nobody else, and a large batch lets others have their turn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from protos.tidings.internal.v1 import delivery_pb2, logic_pb2
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.delivery.delivery import Delivery
from services.access.delivery.push_batch import YIELD_EVERY
from services.access.requests.send_trace import SendTrace
from services.common.clock import SystemClock
from services.common.telemetry import metrics, tracing
from tests.support.traces import ended, recording
from tests.unit.access.fakes import Wire, open_client
from tidings_protocol import client_pb2
from tidings_protocol.ids import BROADCAST
from tidings_protocol.wire.codec import JSON, PROTO, Codec

Push = delivery_pb2.Push


class Here:
    """A node's connections and what delivers to them."""

    def __init__(self) -> None:
        self.hub: Hub[Connection] = Hub()
        self.clock = SystemClock()
        self.delivery = Delivery(self.hub, self.clock, lambda _: None)

    def connect(self, user: str, codec: Codec = PROTO) -> Wire:
        client = open_client(user, codec=codec)
        self.hub.add(user, client.connection)
        return client.wire


def message(seq: int, users: Sequence[str] = (), *, conversation: str = "") -> delivery_pb2.Push:
    body = client_pb2.Message(conversation="d:ann|bob", seq=seq, sender="bob").SerializeToString()
    numbers = [seq] * len(users)
    return Push(kind=Push.MESSAGE, body=body, users=users, numbers=numbers, conversation=conversation)


def columns(*messages: tuple[int, Sequence[str]]) -> delivery_pb2.MessageColumns:
    """Messages by their seq, which is their number too, and their recipients."""
    return delivery_pb2.MessageColumns(
        bodies=[message(seq).body for seq, _ in messages],
        user_counts=[len(users) for _, users in messages],
        users=[user for _, users in messages for user in users],
        numbers=[seq for seq, users in messages for _ in users],
    )


def seqs(wire: Wire, codec: Codec) -> list[int]:
    frames = [codec.decode_server(frame) for frame in wire.frames]
    return [entry.message.seq for frame in frames for entry in frame.deliver.entries]


def unreadable() -> float:
    return float(metrics.PUSHES_UNREADABLE._value.get())


@pytest.mark.parametrize("kind", [Push.MESSAGE, Push.RECEIPT, Push.SIGNAL, Push.GROUP_INFO, Push.HIDDEN])
@pytest.mark.parametrize("where", ["user", "everybody"])
async def test_a_push_that_cannot_be_read_is_dropped_and_its_neighbours_go_out(
    kind: Push.Kind.ValueType, where: str
) -> None:
    here = Here()
    ann = here.connect("ann", JSON)
    users = ["ann"] if where == "user" else []
    conversation = BROADCAST if where == "everybody" else ""
    bad = Push(kind=kind, body=b"\xff\xff", users=users, conversation=conversation)
    before = unreadable()
    await here.delivery.deliver([message(1, ["ann"]), bad, message(2, ["ann"])])
    assert seqs(ann, JSON) == [1, 2]
    assert unreadable() == before + 1


async def test_what_a_user_has_hidden_is_told_to_their_other_devices() -> None:
    here = Here()
    ann, bob = here.connect("ann", JSON), here.connect("bob", JSON)
    hidden = client_pb2.Hidden(conversation="d:ann|bob", seqs=[3, 4], through=2)
    await here.delivery.deliver([Push(kind=Push.HIDDEN, body=hidden.SerializeToString(), users=["ann"])])
    assert [JSON.decode_server(frame).hidden for frame in ann.frames] == [hidden]
    assert bob.frames == []


async def test_what_cannot_be_read_is_counted_once_however_many_get_it() -> None:
    here = Here()
    wires = [here.connect(f"user{number}", JSON) for number in range(5)]
    before = unreadable()
    await here.delivery.deliver([Push(kind=Push.MESSAGE, body=b"\xff\xff", conversation=BROADCAST)])
    assert unreadable() == before + 1
    assert not any(wire.frames or wire.aborted for wire in wires)


async def test_a_push_with_too_few_numbers_is_dropped() -> None:
    here = Here()
    ann, bob = here.connect("ann"), here.connect("bob")
    short = message(1, ["ann", "bob"])
    del short.numbers[1:]
    before = unreadable()
    await here.delivery.deliver([short, message(2, ["bob"])])
    assert (seqs(ann, PROTO), seqs(bob, PROTO)) == ([], [2])
    assert unreadable() == before + 1


async def test_columns_that_are_not_aligned_are_dropped_and_their_neighbours_go_out() -> None:
    here = Here()
    ann = here.connect("ann")
    short = columns((1, ["ann"]), (2, ["ann"]))
    del short.user_counts[1:]
    before = unreadable()
    await here.delivery.deliver([short, message(3, ["ann"]), columns((4, ["ann"]))])
    assert seqs(ann, PROTO) == [3, 4]
    assert unreadable() == before + 1


async def test_a_message_in_columns_that_cannot_be_read_is_dropped_and_its_neighbours_go_out() -> None:
    here = Here()
    ann = here.connect("ann", JSON)
    found = columns((1, ["ann"]), (2, ["ann"]), (3, ["ann"]))
    found.bodies[1] = b"\xff\xff"
    before = unreadable()
    await here.delivery.deliver([found])
    assert seqs(ann, JSON) == [1, 3]
    assert unreadable() == before + 1


async def test_a_connection_gets_the_messages_of_a_batch_in_one_write() -> None:
    here = Here()
    ann, bob = here.connect("ann"), here.connect("bob")
    await here.delivery.deliver([columns((1, ["ann", "bob"]), (2, ["cid", "ann"])), columns((3, ["ann"]))])
    assert (seqs(ann, PROTO), seqs(bob, PROTO)) == ([1, 2, 3], [1])
    assert (len(ann.frames), len(bob.frames)) == (1, 1)


async def test_the_connection_that_sent_a_message_of_columns_does_not_get_it() -> None:
    here = Here()
    ann = here.connect("ann")
    found = columns((1, ["ann"]), (2, ["ann"]))
    found.except_sessions.extend(["session of ann", "another"])
    await here.delivery.deliver([found])
    assert seqs(ann, PROTO) == [2]


async def test_large_columns_let_others_have_their_turn() -> None:
    here = Here()
    here.connect("ann")
    found = columns(*((number, ["ann"]) for number in range(1, 5 * YIELD_EVERY)))
    assert await turns_during(asyncio.create_task(here.delivery.deliver([found]))) >= 5


async def test_a_message_of_columns_is_measured_once_when_somebody_got_it_and_leads_to_its_trace() -> None:
    with recording() as spans:
        here = Here()
        here.connect("ann")
        here.connect("bob")
        found = columns((1, ["ann", "bob"]), (2, ["stranger"]), (3, ["bob"]))
        trace = SendTrace.begin(logic_pb2.SendItem(sender="cid", conversation="d:ann|bob"))
        assert trace is not None
        found.accepted_ms.extend([here.clock.wall_ms() - 20] * 3)
        found.traces.extend(["", trace.text, trace.text])
        before = _deliveries()
        await here.delivery.deliver([found])
        assert _deliveries() == before + 2
        assert [span.name for span in ended(spans)] == ["deliver"]


async def test_a_defect_with_one_connection_ends_that_one() -> None:
    here = Here()
    ann, bob = here.connect("ann"), here.connect("bob")
    ann.fails = True
    await here.delivery.deliver([message(1, ["ann", "bob"]), Push(kind=Push.RECEIPT, users=["ann", "bob"])])
    assert ann.aborted
    assert seqs(bob, PROTO) == [1]
    assert (len(bob.frames), bob.aborted) == (2, False)


async def turns_during(work: asyncio.Future[None] | asyncio.Task[None]) -> int:
    """How often the event loop came round meanwhile."""
    turns = 0
    while not work.done():
        turns += 1
        await asyncio.sleep(0)
    await work
    return turns


async def test_a_notice_to_all_lets_others_have_their_turn_while_it_is_addressed_and_written() -> None:
    here = Here()
    for number in range(5 * YIELD_EVERY):
        here.connect(f"user{number}")
    notice = message(1, conversation=BROADCAST)
    assert await turns_during(asyncio.create_task(here.delivery.deliver([notice]))) >= 10


async def test_many_pushes_to_a_few_let_others_have_their_turn() -> None:
    here = Here()
    here.connect("ann")
    pushes = [message(number, ["ann"]) for number in range(1, 5 * YIELD_EVERY)]
    assert await turns_during(asyncio.create_task(here.delivery.deliver(pushes))) >= 5


async def test_a_delivery_is_measured_once_when_somebody_got_it_and_leads_to_its_trace() -> None:
    with recording() as spans:
        await measured_delivery(spans)


async def measured_delivery(spans: InMemorySpanExporter) -> None:
    here = Here()
    here.connect("ann")
    here.connect("ann")
    clock, delivery = here.clock, here.delivery
    sent = logic_pb2.SendItem(sender="bob", conversation="d:ann|bob")
    trace = SendTrace.begin(sent)
    assert trace is not None
    body = client_pb2.Message(conversation="d:ann|bob", seq=1).SerializeToString()
    push = Push(kind=Push.MESSAGE, body=body, accepted_ms=clock.wall_ms() - 20, trace=trace.text)
    before = _deliveries()
    to_ann, to_nobody = Push(), Push()
    to_ann.CopyFrom(push)
    to_ann.users.append("ann")
    to_ann.numbers.append(1)
    to_nobody.CopyFrom(push)
    to_nobody.users.append("stranger")
    await delivery.deliver([to_ann, to_nobody])
    trace.acknowledged(1)
    assert _deliveries() == before + 1
    assert sorted(span.name for span in ended(spans)) == ["deliver", "send"]
    exemplars = [
        sample.exemplar.labels
        for family in metrics.DELIVERY_SECONDS.collect()
        for sample in family.samples
        if sample.exemplar is not None
    ]
    assert {"trace_id": tracing.id_of(trace.text)} in exemplars


def _deliveries() -> float:
    return next(
        sample.value
        for family in metrics.DELIVERY_SECONDS.collect()
        for sample in family.samples
        if sample.name.endswith("_count")
    )


async def test_of_a_group_that_is_dissolved_all_its_readers_here_hear_and_are_readers_no_more() -> None:
    here = Here()
    wires = {user: here.connect(user) for user in ("ann", "bob", "eve")}
    for user in ("ann", "bob"):
        here.hub.join("g:large", user)
    here.hub.join("g:other", "ann")
    info = client_pb2.GroupInfo(conversation="g:large", name="Tea")
    gone = delivery_pb2.LargeMembership(conversation="g:large")
    await here.delivery.deliver(
        [
            Push(kind=Push.GROUP_INFO, body=info.SerializeToString(), conversation="g:large"),
            Push(kind=Push.MEMBERSHIP, body=gone.SerializeToString(), conversation="g:large"),
        ]
    )
    told = {user: [PROTO.decode_server(frame).group_info for frame in wire.frames] for user, wire in wires.items()}
    assert told == {"ann": [info], "bob": [info], "eve": []}
    assert list(here.hub.readers("g:large")) == []
    assert list(here.hub.groups_of("ann")) == ["g:other"]
    joined = delivery_pb2.LargeMembership(conversation="g:other", member=True)
    await here.delivery.deliver([Push(kind=Push.MEMBERSHIP, body=joined.SerializeToString())])
    assert list(here.hub.readers("g:other")) == ["ann"], "nobody in particular joins"


async def test_preferences_go_to_the_users_other_connections() -> None:
    here = Here()
    ann, bob = here.connect("ann"), here.connect("bob")
    preferences = client_pb2.ConversationPreferences(conversation="g:1", pinned=True)
    push = Push(kind=Push.PREFERENCES, body=preferences.SerializeToString(), users=["ann"])
    await here.delivery.deliver([push])
    assert [PROTO.decode_server(frame).preferences for frame in ann.frames] == [preferences]
    assert bob.frames == []


async def test_profiles_and_blocks_are_the_business_of_who_watches() -> None:
    profiles: list[tuple[client_pb2.ProfileList, str]] = []
    blocks: list[delivery_pb2.BlockChange] = []
    delivery = Delivery(
        Hub[Connection](),
        SystemClock(),
        lambda _: None,
        on_profiles=lambda told, session: profiles.append((told, session)),
        on_blocks=blocks.append,
    )
    told = client_pb2.ProfileList(profiles=[client_pb2.Profile(user="ann", version=1)])
    change = delivery_pb2.BlockChange(user="ann", users=["bob"], blocked=True)
    await delivery.deliver(
        [
            Push(kind=Push.PROFILES, body=told.SerializeToString(), except_session="s"),
            Push(kind=Push.BLOCKS, body=change.SerializeToString()),
        ]
    )
    assert (profiles, blocks) == ([(told, "s")], [change])


async def test_of_what_a_reader_of_a_large_group_has_hidden_they_get_the_place_alone() -> None:
    here = Here()
    wires = {user: here.connect(user) for user in ("ann", "bob")}
    for user in wires:
        here.hub.join("g:large", user)
    change = client_pb2.Message(conversation="g:large", seq=9, change=client_pb2.Change(seq=3, pin=True))
    push = Push(
        kind=Push.MESSAGE, body=change.SerializeToString(), conversation="g:large", stub_users=["bob", "nobody"]
    )
    await here.delivery.deliver([push])
    told = {
        user: [PROTO.decode_server(frame).deliver.entries[0] for frame in wire.frames] for user, wire in wires.items()
    }
    assert told == {
        "ann": [client_pb2.Entry(message=change)],
        "bob": [client_pb2.Entry(message=client_pb2.Message(conversation="g:large", seq=9))],
    }
