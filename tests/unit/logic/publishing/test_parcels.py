"""Recipients become one parcel for each owner."""

from __future__ import annotations

from typing import Any

from protos.tidings.internal.v1 import delivery_pb2
from services.logic.groups.model import GroupMember, GroupRole, GroupSnapshot
from services.logic.groups.recipients import fanout_of
from services.logic.publishing.message_columns import OutgoingMessages
from services.logic.publishing.parcels import KafkaParcel, MailboxAddress, OutgoingPush, ParcelBatch, build_parcels
from tests.unit.logic.harness import all_pushes, pushes_of
from tidings_protocol import client_pb2
from tidings_protocol.ids import hash64

Push = delivery_pb2.Push
OWNERS = {"amy": "a-0", "bob": "a-1", "cleo": "a-0", "dan": "gone"}
MAILBOXES = {"a-0": MailboxAddress("a-0", "boot0", 5), "a-1": MailboxAddress("a-1", "boot1", 6)}


def routed(*items: OutgoingPush | OutgoingMessages, bytes_max: int = 1_000_000) -> ParcelBatch:
    return build_parcels(items, OWNERS.get, MAILBOXES, broadcast_partitions=4, parcel_bytes_max=bytes_max)


def parcel(posted: KafkaParcel) -> delivery_pb2.Parcel:
    return delivery_pb2.Parcel.FromString(posted.value)


def message(body: bytes, users: list[str], **fields: Any) -> OutgoingPush:
    numbers = list(range(1, len(users) + 1))
    return OutgoingPush(Push.MESSAGE, body, users, numbers, **fields)


def test_each_owner_gets_one_parcel_with_its_recipients_only() -> None:
    found = routed(message(b"1", ["amy", "bob", "cleo"]), message(b"2", ["bob"]))
    assert [(posted.partition, posted.broadcast) for posted in found.parcels] == [(5, False), (6, False)]
    first, second = map(parcel, found.parcels)
    assert (first.node, first.boot_id, first.hops, first.direct) == ("a-0", "boot0", 0, False)
    assert [(push.body, list(push.users), list(push.numbers)) for push in first.pushes] == [
        (b"1", ["amy", "cleo"], [1, 3])
    ]
    assert [(push.body, list(push.users), list(push.numbers)) for push in second.pushes] == [
        (b"1", ["bob"], [2]),
        (b"2", ["bob"], [1]),
    ]


def test_a_push_without_numbers_stays_without() -> None:
    [posted] = routed(OutgoingPush(Push.SIGNAL, b"s", ["amy"])).parcels
    assert list(parcel(posted).pushes[0].numbers) == []


def test_everything_about_a_push_travels_with_it() -> None:
    item = message(b"1", ["amy"], conversation="g:x", except_session="s1", trace="00-a-b-01", accepted_ms=77)
    [posted] = routed(item).parcels
    push = parcel(posted).pushes[0]
    assert (push.conversation, push.except_session, push.trace, push.accepted_ms) == (
        "g:x",
        "s1",
        "00-a-b-01",
        77,
    )
    assert posted.trace == "00-a-b-01"


def test_a_recipient_whose_slot_nobody_owns_is_left_out_and_counted() -> None:
    found = routed(message(b"1", ["amy", "dan", "nobody"]))
    assert found.unowned == 2
    assert [list(push.users) for push in parcel(found.parcels[0]).pushes] == [["amy"]]


def test_without_recipients_it_goes_to_everyone_once_on_the_conversations_partition() -> None:
    found = routed(
        OutgoingPush(Push.MESSAGE, b"1", conversation="g:big"), OutgoingPush(Push.MESSAGE, b"2", conversation="g:big")
    )
    [posted] = found.parcels
    assert posted.broadcast
    assert posted.partition == hash64("g:big") % 4
    assert [push.body for push in parcel(posted).pushes] == [b"1", b"2"]
    assert parcel(posted).node == ""


def test_presence_goes_on_one_partition_in_its_order() -> None:
    found = routed(OutgoingPush(Push.SESSIONS, b"up"), OutgoingPush(Push.SESSIONS, b"down"))
    assert [(posted.partition, posted.broadcast) for posted in found.parcels] == [(0, True)]


def test_a_parcel_that_would_be_too_large_becomes_several_in_order() -> None:
    found = routed(*(message(bytes([n]) * 400, ["amy"]) for n in range(5)), bytes_max=1000)
    assert len(found.parcels) > 1
    assert all(posted.partition == 5 for posted in found.parcels)
    assert [push.body[0] for posted in found.parcels for push in parcel(posted).pushes] == [0, 1, 2, 3, 4]
    assert all(len(posted.value) <= 1000 for posted in found.parcels)


def test_one_push_larger_than_a_parcel_still_goes() -> None:
    assert len(routed(message(bytes(5000), ["amy"]), bytes_max=1000).parcels) == 1


def columns(*bodies: bytes, users: list[str]) -> OutgoingMessages:
    count = len(bodies)
    numbers = list(range(1, count * len(users) + 1))
    return OutgoingMessages(
        list(bodies), [len(users)] * count, users * count, numbers, ["s"] * count, [77] * count, ["", "tp"][:count]
    )


def test_messages_in_columns_go_to_the_owners_of_their_users() -> None:
    found = routed(columns(b"1", b"2", users=["amy", "bob", "dan"]), columns(b"3", users=["amy"]))
    first, second = map(parcel, found.parcels)
    assert (first.node, first.boot_id, second.node) == ("a-0", "boot0", "a-1")
    assert [(push.body, list(push.users), list(push.numbers)) for push in pushes_of(first.messages)] == [
        (b"1", ["amy"], [1]),
        (b"2", ["amy"], [4]),
        (b"3", ["amy"], [1]),
    ]
    assert [(push.body, list(push.users), list(push.numbers)) for push in pushes_of(second.messages)] == [
        (b"1", ["bob"], [2]),
        (b"2", ["bob"], [5]),
    ]
    assert found.unowned == 2
    assert [(posted.trace, posted.lasting) for posted in found.parcels] == [("tp", False)] * 2


def test_who_owns_all_users_gets_the_columns_as_they_are() -> None:
    def nobody(user: str) -> str:
        raise AssertionError(user)

    item = columns(b"1", b"2", users=["amy", "bob"])
    for mailboxes, unowned in ((MAILBOXES, 0), ({}, 4)):
        found = build_parcels(
            [item], nobody, mailboxes, broadcast_partitions=4, parcel_bytes_max=1000, sole_owner="a-1"
        )
        assert found.unowned == unowned
    [posted] = build_parcels(
        [item], nobody, MAILBOXES, broadcast_partitions=4, parcel_bytes_max=1000, sole_owner="a-1"
    ).parcels
    assert posted.to == MAILBOXES["a-1"]
    assert list(parcel(posted).messages.users) == ["amy", "bob"] * 2


def test_columns_stand_before_pushes_and_those_that_come_after_pushes_begin_a_parcel() -> None:
    found = routed(
        columns(b"1", users=["amy"]),
        columns(b"2", users=["amy"]),
        message(b"3", ["amy"]),
        message(b"4", ["amy", "bob"]),
        columns(b"5", users=["amy"]),
    )
    to_amy = [parcel(posted) for posted in found.parcels if posted.partition == 5]
    assert [[push.body for push in all_pushes(each)] for each in to_amy] == [[b"1", b"2", b"3", b"4"], [b"5"]]


def test_a_node_of_an_older_version_gets_each_message_as_a_push() -> None:
    """Else its users would see messages only by their next heartbeat, for as long as the cluster is updated."""
    body = client_pb2.Message(conversation="d:amy|bob", seq=7).SerializeToString()
    mailboxes = MAILBOXES | {"a-0": MailboxAddress("a-0", "boot0", 5, columns=False)}
    found = build_parcels(
        [columns(body, body, users=["amy", "bob"])],
        OWNERS.get,
        mailboxes,
        broadcast_partitions=4,
        parcel_bytes_max=10_000,
    )
    old, new = map(parcel, found.parcels)
    assert not old.HasField("messages")
    assert list(old.pushes) == [
        Push(
            body=body,
            users=["amy"],
            numbers=[number],
            conversation="d:amy|bob",
            except_session="s",
            accepted_ms=77,
            trace=trace,
        )
        for number, trace in ((1, ""), (3, "tp"))
    ]
    assert [len(push.users) for push in pushes_of(new.messages)] == [1, 1]


def test_columns_that_would_make_a_parcel_too_large_become_several_in_order() -> None:
    found = routed(*(columns(bytes([n]) * 400, bytes([n + 1]) * 400, users=["amy"]) for n in (0, 2, 4)), bytes_max=1000)
    bodies = [push.body[0] for posted in found.parcels for push in all_pushes(parcel(posted))]
    assert bodies == [0, 1, 2, 3, 4, 5]
    assert all(len(posted.value) <= 1000 for posted in found.parcels)
    assert len(routed(columns(bytes(5000), users=["amy"]), bytes_max=1000).parcels) == 1


def test_what_no_heartbeat_repairs_makes_its_parcel_lasting() -> None:
    assert not routed(message(b"1", ["amy"])).parcels[0].lasting
    assert not routed(OutgoingPush(Push.STREAM_PART, b"p", ["amy"])).parcels[0].lasting
    for kind in (Push.MEMBERSHIP, Push.GROUP_INFO, Push.HIDDEN, Push.PREFERENCES):
        assert routed(message(b"1", ["amy"]), OutgoingPush(kind, b"m", ["amy"])).parcels[0].lasting, kind
    for kind in (Push.SESSIONS, Push.PROFILES, Push.BLOCKS):
        assert routed(OutgoingPush(kind, b"up")).parcels[0].lasting, kind


def test_nothing_to_tell_is_no_parcel() -> None:
    assert routed().parcels == []


def test_a_direct_chat_is_for_both_and_a_chat_with_oneself_for_one() -> None:
    assert fanout_of("d:amy|bob", None).recipients == ("amy", "bob")
    assert fanout_of("d:amy|amy", None).recipients == ("amy",)
    assert fanout_of("d:amy|bob", None).version == 0


def test_a_group_is_for_its_members_until_it_is_large() -> None:
    members = {user: GroupMember(user, GroupRole.MEMBER) for user in ("amy", "bob")}
    small = fanout_of("g:x", GroupSnapshot("g:x", 4, members, 2))
    assert (small.recipients, small.version, small.by_cursor) == (("amy", "bob"), 4, False)
    large = fanout_of("g:x", GroupSnapshot("g:x", 4, members, 2, large_from=9))
    assert (large.recipients, large.version, large.by_cursor) == ((), 4, True)


def test_notices_to_everyone_are_read_by_cursor() -> None:
    assert fanout_of("b:all", None).by_cursor
