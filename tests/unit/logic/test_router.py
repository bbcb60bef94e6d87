"""Recipients become one parcel for each owner."""

from __future__ import annotations

from typing import Any

from protos.tidings.internal.v1 import delivery_pb2
from services.logic.groups.model import GroupMember, GroupRole, GroupSnapshot
from services.logic.groups.recipients import fanout_of
from services.logic.publishing.parcels import KafkaParcel, MailboxAddress, OutgoingPush, ParcelBatch, build_parcels
from tidings_protocol.ids import hash64

Push = delivery_pb2.Push
OWNERS = {"amy": "a-0", "bob": "a-1", "cleo": "a-0", "dan": "gone"}
MAILBOXES = {"a-0": MailboxAddress("a-0", "boot0", 5), "a-1": MailboxAddress("a-1", "boot1", 6)}


def routed(*items: OutgoingPush, bytes_max: int = 1_000_000) -> ParcelBatch:
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


def test_what_no_heartbeat_repairs_makes_its_parcel_lasting() -> None:
    assert not routed(message(b"1", ["amy"])).parcels[0].lasting
    assert routed(message(b"1", ["amy"]), OutgoingPush(Push.MEMBERSHIP, b"m", ["amy"])).parcels[0].lasting
    assert routed(OutgoingPush(Push.SESSIONS, b"up")).parcels[0].lasting


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
