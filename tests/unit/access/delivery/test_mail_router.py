"""What follows from a parcel in the mailbox."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from types import FrameType
from typing import Any

from protos.tidings.internal.v1 import delivery_pb2
from services.access.delivery.forwarding_table import ForwardingTable
from services.access.delivery.mail_router import YIELD_EVERY, MailRouter, Split
from services.common.registry.contract import NodeIncarnation

ME, OTHER = NodeIncarnation("access-0", "boot-a"), NodeIncarnation("access-1", "boot-b")


def push(*users: str, body: bytes = b"m") -> delivery_pb2.Push:
    return delivery_pb2.Push(body=body, users=users, numbers=range(1, len(users) + 1))


def parcel(
    *pushes: delivery_pb2.Push, boot: str = "boot-a", hops: int = 0, forwarded: bool = False
) -> delivery_pb2.Parcel:
    return delivery_pb2.Parcel(node="access-0", boot_id=boot, hops=hops, direct=forwarded, pushes=pushes)


def router(owners: dict[str, NodeIncarnation], forwarding: ForwardingTable | None = None) -> MailRouter:
    """A router for which everybody is this node's own but those who have another owner."""
    return MailRouter(
        ME,
        lambda user: owners.get(user, ME),
        lambda users: owners.keys().isdisjoint(users),
        forwarding or ForwardingTable(),
    )


def columns(*recipients: Sequence[str]) -> delivery_pb2.Parcel:
    """A parcel of messages for these, as columns; the first one is the message b"0"."""
    users = [user for row in recipients for user in row]
    messages = delivery_pb2.MessageColumns(
        bodies=[str(row).encode() for row in range(len(recipients))],
        user_counts=map(len, recipients),
        users=users,
        numbers=range(1, len(users) + 1),
    )
    return delivery_pb2.Parcel(node="access-0", boot_id="boot-a", messages=messages)


def split(
    *parcels: delivery_pb2.Parcel,
    owners: dict[str, NodeIncarnation] | None = None,
    forwarding: ForwardingTable | None = None,
) -> Split:
    owners = owners or {}
    run = router(owners, forwarding).split(parcels)
    for _ in run.steps():
        pass
    return run.result()


def recipients(found: delivery_pb2.Parcel) -> list[tuple[bytes, list[str], list[int]]]:
    return [(each.body, list(each.users), list(each.numbers)) for each in found.pushes]


def test_what_is_owned_here_stays_here() -> None:
    batch = split(parcel(push("ann", "bob")))
    assert [list(each.users) for each in batch.local] == [["ann", "bob"]]
    assert (batch.forwarded, batch.rerouted, batch.dropped) == ({}, {}, 0)


def test_forwarding_get_theirs_in_one_direct_parcel_for_each_host() -> None:
    forwarding = ForwardingTable()
    forwarding.add(OTHER, ["ann", "cid"])
    batch = split(
        parcel(push("ann", "bob", "cid"), push("bob", body=b"n"), push("cid", body=b"o")), forwarding=forwarding
    )
    (forwarded,) = batch.forwarded[OTHER]
    assert (forwarded.node, forwarded.boot_id, forwarded.direct) == ("access-1", "boot-b", True)
    assert recipients(forwarded) == [(b"m", ["ann", "cid"], [1, 3]), (b"o", ["cid"], [1])]
    assert len(batch.local) == 3


def test_whose_slot_has_moved_goes_to_the_new_owner_once_more_and_to_who_is_here() -> None:
    batch = split(parcel(push("ann", "bob"), hops=1), owners={"bob": OTHER})
    (rerouted,) = batch.rerouted[OTHER, 2]
    assert (rerouted.node, rerouted.boot_id, rerouted.hops, rerouted.direct) == ("access-1", "boot-b", 2, False)
    assert recipients(rerouted) == [(b"m", ["bob"], [2])]
    assert len(batch.local) == 1


def test_after_two_hops_it_is_given_up() -> None:
    batch = split(parcel(push("ann", "bob"), hops=2), owners={"bob": OTHER})
    assert (batch.rerouted, batch.dropped) == ({}, 1)


def test_a_parcel_for_another_boot_is_routed_again_and_a_forwarded_one_dropped() -> None:
    owners = {"ann": OTHER}
    routed, forwarded = (parcel(push("ann"), boot="earlier", forwarded=each) for each in (False, True))
    batch = split(routed, forwarded, owners=owners)
    assert len(batch.local) == 1
    assert recipients(batch.rerouted[OTHER, 1][0]) == [(b"m", ["ann"], [1])]


def test_a_forwarded_parcel_is_for_this_node_alone() -> None:
    forwarding = ForwardingTable()
    forwarding.add(OTHER, ["ann"])
    batch = split(parcel(push("ann"), forwarded=True), owners={"ann": OTHER}, forwarding=forwarding)
    assert (batch.forwarded, batch.rerouted) == ({}, {})
    assert len(batch.local) == 1


def test_pushes_without_numbers_stay_without() -> None:
    forwarding = ForwardingTable()
    forwarding.add(OTHER, ["ann"])
    signal = delivery_pb2.Push(kind=delivery_pb2.Push.SIGNAL, body=b"s", users=["ann"])
    assert recipients(split(parcel(signal), forwarding=forwarding).forwarded[OTHER][0]) == [(b"s", ["ann"], [])]


def test_what_is_too_large_for_one_record_takes_several_in_order() -> None:
    forwarding = ForwardingTable()
    forwarding.add(OTHER, ["ann"])
    pushes = [push("ann", body=bytes([number]) * 200_000) for number in range(5)]
    parcels = split(parcel(*pushes), forwarding=forwarding).forwarded[OTHER]
    assert [len(each.pushes) for each in parcels] == [2, 2, 1]
    assert [each.body[0] for found in parcels for each in found.pushes] == [0, 1, 2, 3, 4]
    assert all(found.ByteSize() < 700_000 for found in parcels)


def test_a_push_with_too_few_numbers_is_passed_on_to_nobody() -> None:
    forwarding = ForwardingTable()
    forwarding.add(OTHER, ["ann", "bob"])
    short = push("ann", "bob")
    del short.numbers[1:]
    batch = split(parcel(short, push("bob")), forwarding=forwarding)
    assert [recipients(each) for each in batch.forwarded[OTHER]] == [[(b"m", ["bob"], [1])]]
    assert len(batch.local) == 2, "delivery drops it, and says so"


def test_splitting_for_visitors_never_measures_or_copies_what_was_added_before() -> None:
    users = [f"u{number}" for number in range(3000)]
    forwarding = ForwardingTable()
    forwarding.add(OTHER, users)
    parcels = [parcel(push(user, body=user.encode())) for user in users]
    counted = c_calls(lambda: split(*parcels, forwarding=forwarding))
    whole = {"ByteSize", "SerializeToString", "CopyFrom", "MergeFrom"}
    assert {name: count for name, count in counted.items() if name in whole} == {}
    (forwarded,) = split(*parcels, forwarding=forwarding).forwarded[OTHER]
    assert [list(each.users) for each in forwarded.pushes] == [[user] for user in users]


def test_a_large_batch_is_split_in_steps() -> None:
    forwarding = ForwardingTable()
    forwarding.add(OTHER, ["ann"])
    parcels = [parcel(push("ann")) for _ in range(5 * YIELD_EVERY)]
    run = router({}, forwarding).split(parcels)
    assert sum(1 for _ in run.steps()) == 5
    assert run.result() == split(*parcels, forwarding=forwarding)


def test_columns_of_users_that_are_all_this_nodes_own_stay_columns() -> None:
    mail, others = columns(["ann", "bob"], ["cid"]), push("ann")
    mail.pushes.append(others)
    batch = split(mail)
    assert batch.local == [mail.messages, others], "the messages of a parcel come before its pushes"
    assert (batch.forwarded, batch.rerouted, batch.dropped) == ({}, {}, 0)


def test_columns_become_pushes_if_one_of_the_users_is_a_visitor_elsewhere() -> None:
    forwarding = ForwardingTable()
    forwarding.add(OTHER, ["bob"])
    batch = split(columns(["ann"], ["ann", "bob"]), columns(["ann"]), forwarding=forwarding)
    (forwarded,) = batch.forwarded[OTHER]
    assert recipients(forwarded) == [(b"1", ["bob"], [3])]
    first, second, stays = batch.local
    assert isinstance(first, delivery_pb2.Push)
    assert isinstance(second, delivery_pb2.Push)
    assert (first.body, second.body, list(second.numbers)) == (b"0", b"1", [2, 3])
    assert stays == columns(["ann"]).messages


def test_columns_become_pushes_if_one_of_the_users_has_another_owner() -> None:
    batch = split(columns(["ann"], ["bob"]), owners={"bob": OTHER})
    (rerouted,) = batch.rerouted[OTHER, 1]
    assert recipients(rerouted) == [(b"1", ["bob"], [2])]
    assert len(batch.local) == 2


def test_columns_that_were_forwarded_are_for_this_boot_alone() -> None:
    mine, earlier = columns(["ann"]), columns(["ann"])
    mine.direct = earlier.direct = True
    earlier.boot_id = "earlier"
    batch = split(mine, earlier, owners={"ann": OTHER})
    assert batch.local == [mine.messages]
    assert (batch.forwarded, batch.rerouted) == ({}, {})


def test_columns_that_are_not_aligned_are_passed_on_to_nobody() -> None:
    broken = columns(["bob"], ["bob"])
    del broken.messages.user_counts[1:]
    batch = split(broken, owners={"bob": OTHER})
    assert (batch.local, batch.rerouted) == ([broken.messages], {}), "delivery drops them, and says so"


def test_large_columns_are_looked_through_in_steps() -> None:
    mail = columns([f"u{number}" for number in range(5 * YIELD_EVERY)])
    run = router({}).split([mail])
    assert sum(1 for _ in run.steps()) == 5
    assert run.result().local == [mail.messages]


def c_calls(work: Any) -> Counter[str]:
    """What is called of compiled code meanwhile, by name."""
    counted: Counter[str] = Counter()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        del frame
        if event == "c_call":
            counted[argument.__name__] += 1

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return counted
