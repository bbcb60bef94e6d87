"""Sorting what came in the mailbox: what is for connections here, what goes to visitors' nodes, what to a new owner.

Theory of operation. A parcel was routed by a ring that logic had. If it is for another boot of a node (the mailbox had
another owner, or this node started again), all of it is routed once more. Otherwise each recipient is looked at: guests
are forwarded to where they are, and one whose slot has another owner by now goes on to that one, and to the
connections here all the same: nobody waits for the hop, and clients pass over what they have. What is forwarded is
`direct`: for one boot only, and never routed again; everything else at most `HOPS_MAX` times.

Guarantees: a recipient that is owned here gets its push here exactly as often as it came; as few records for
each target as their size allows.

Does not know: Kafka, connections, when the ring changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from protos.tidings.internal.v1 import delivery_pb2
from services.access.visitors import Guests, Host

HOPS_MAX = 2
# A record beyond this is begun anew: Kafka takes about a megabyte.
PARCEL_BYTES = 512 * 1024


@dataclass(slots=True)
class Sorted:
    """What follows from a batch of parcels."""

    local: list[delivery_pb2.Push] = field(default_factory=list)  # users without a connection here are passed over
    onward: dict[Host, list[delivery_pb2.Parcel]] = field(default_factory=dict)  # to visitors' nodes
    rerouted: dict[tuple[Host, int], list[delivery_pb2.Parcel]] = field(default_factory=dict)  # to owners, by hops
    lost: int = 0  # recipients that were not routed again


class Sorter:
    """For one boot of this node. `owner_of`: who owns a user now; None if nobody does."""

    def __init__(self, me: Host, owner_of: Callable[[str], Host | None], guests: Guests) -> None:
        self._me = me
        self._owner_of = owner_of
        self._guests = guests

    def sort(self, parcels: Sequence[delivery_pb2.Parcel]) -> Sorted:
        """In their order."""
        result = Sorted()
        for parcel in parcels:
            if parcel.boot_id != self._me.boot_id:
                self._misdirected(parcel, result)
                continue
            result.local.extend(parcel.pushes)
            if not parcel.direct:
                for push in parcel.pushes:
                    self._pass_on(push, parcel.hops, result)
        return result

    def _misdirected(self, parcel: delivery_pb2.Parcel, result: Sorted) -> None:
        if parcel.direct:
            return
        for push in parcel.pushes:
            # What turns out to be this node's own is delivered here, without a hop.
            result.local.append(push)
            self._pass_on(push, parcel.hops, result)

    def _pass_on(self, push: delivery_pb2.Push, hops: int, result: Sorted) -> None:
        numbers = push.numbers
        for place, user in enumerate(push.users):
            number = numbers[place] if numbers else 0
            for host in self._guests.hosts_of(user):
                _add(result.onward.setdefault(host, []), push, user, number, host, direct=True)
            owner = self._owner_of(user)
            if owner is None or owner == self._me:
                continue
            if hops >= HOPS_MAX:
                result.lost += 1
                continue
            _add(result.rerouted.setdefault((owner, hops + 1), []), push, user, number, owner, hops=hops + 1)


def _add(
    parcels: list[delivery_pb2.Parcel],
    push: delivery_pb2.Push,
    user: str,
    number: int,
    host: Host,
    *,
    hops: int = 0,
    direct: bool = False,
) -> None:
    """One more recipient of this push for the host; the push itself stands there once."""
    last = parcels[-1].pushes[-1] if parcels else None
    if last is None or not _same(last, push):
        if not parcels or parcels[-1].ByteSize() + len(push.body) > PARCEL_BYTES:
            parcels.append(delivery_pb2.Parcel(node=host.node, boot_id=host.boot_id, hops=hops, direct=direct))
        last = parcels[-1].pushes.add()
        last.CopyFrom(push)
        del last.users[:]
        del last.numbers[:]
    last.users.append(user)
    if push.numbers:
        last.numbers.append(number)


def _same(one: delivery_pb2.Push, other: delivery_pb2.Push) -> bool:
    # Bodies of different messages differ (they hold the conversation and its number); other pushes may be alike, and
    # then it does not matter to which of them a recipient is added.
    return one.body == other.body and one.kind == other.kind and one.except_session == other.except_session
