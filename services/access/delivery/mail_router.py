"""Sorting what came in the mailbox: what is for connections here, what goes to visitors' nodes, what to a new owner.

Theory of operation. A parcel was routed by a ring that logic had. If it is for another boot of a node (the mailbox had
another owner, or this node started again), all of it is routed once more. Otherwise each recipient is looked at: guests
are forwarded to where they are, and one whose slot has another owner by now goes on to that one, and to the
connections here all the same: nobody waits for the hop, and clients pass over what they have. What is forwarded is
`direct`: for one boot only, and never routed again; everything else at most `HOPS_MAX` times.

Guarantees: a recipient that is owned here gets its push here exactly as often as it came; as few records for
each target as their size allows, at a cost that grows with the recipients and no faster. A push with fewer numbers than
recipients goes no further than to delivery.py, which drops it.

Does not know: Kafka, connections, when the ring changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from protos.tidings.internal.v1 import delivery_pb2
from services.access.placement.registrations import Guests, Host

HOPS_MAX = 2
# A record beyond this is begun anew: Kafka takes about a megabyte.
PARCEL_BYTES = 512 * 1024
# What a push and a recipient have beside the body and the user's name: an estimate from above.
PUSH_BYTES = 64
RECIPIENT_BYTES = 16
TURN = 1000


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
        """In their order, at one go."""
        sorting = self.begin(parcels)
        for _ in sorting.turns():
            pass
        return sorting.sorted()

    def begin(self, parcels: Sequence[delivery_pb2.Parcel]) -> Sorting:
        """In their order, by turns."""
        return Sorting(parcels, self._me, self._owner_of, self._guests)


def is_sound(push: delivery_pb2.Push) -> bool:
    """Whether each recipient has a number, or none has."""
    return not push.numbers or len(push.numbers) >= len(push.users)


class Sorting:
    """A batch that is being sorted: go through `turns`, and others may do something in between; then it is `sorted`."""

    def __init__(
        self,
        parcels: Sequence[delivery_pb2.Parcel],
        me: Host,
        owner_of: Callable[[str], Host | None],
        guests: Guests,
    ) -> None:
        self._parcels = parcels
        self._me = me
        self._owner_of = owner_of
        self._guests = guests
        self._local: list[delivery_pb2.Push] = []
        self._onward: dict[Host, _Filling] = {}
        self._rerouted: dict[tuple[Host, int], _Filling] = {}
        self._lost = 0

    def turns(self) -> Iterator[None]:
        """Comes back after every `TURN` recipients."""
        seen, turn = 0, TURN
        for parcel in self._parcels:
            if parcel.direct and parcel.boot_id != self._me.boot_id:
                continue
            for push in parcel.pushes:
                # What turns out to be this node's own is delivered here, without a hop.
                self._local.append(push)
                if not parcel.direct and is_sound(push):
                    self._pass_on(push, parcel.hops)
                    seen += len(push.users)
                if seen >= turn:
                    turn = seen + TURN
                    yield

    def _pass_on(self, push: delivery_pb2.Push, hops: int) -> None:
        numbers = push.numbers
        for place, user in enumerate(push.users):
            number = numbers[place] if numbers else 0
            for host in self._guests.hosts_of(user):
                onward = self._onward.get(host)
                if onward is None:
                    onward = self._onward[host] = _Filling(host, direct=True)
                onward.add(push, user, number)
            owner = self._owner_of(user)
            if owner is None or owner == self._me:
                continue
            if hops >= HOPS_MAX:
                self._lost += 1
                continue
            key = (owner, hops + 1)
            rerouted = self._rerouted.get(key)
            if rerouted is None:
                rerouted = self._rerouted[key] = _Filling(owner, hops=hops + 1)
            rerouted.add(push, user, number)

    def sorted(self) -> Sorted:
        """What follows from those that were gone through."""
        return Sorted(
            self._local,
            {host: filling.parcels for host, filling in self._onward.items()},
            {key: filling.parcels for key, filling in self._rerouted.items()},
            self._lost,
        )


class _Filling:
    """The parcels for one target; the bytes are counted while they are added, since asking the parcel for its size
    costs as much as all that is in it."""

    __slots__ = ("_direct", "_hops", "_host", "_last", "_of", "_size", "parcels")

    def __init__(self, host: Host, *, hops: int = 0, direct: bool = False) -> None:
        self.parcels: list[delivery_pb2.Parcel] = []
        self._host = host
        self._hops = hops
        self._direct = direct
        self._size = 0
        self._last: delivery_pb2.Push | None = None
        self._of: delivery_pb2.Push | None = None  # what `_last` is a copy of

    def add(self, push: delivery_pb2.Push, user: str, number: int) -> None:
        """One more recipient of this push; the push itself stands there once."""
        last = self._last
        if last is None or self._of is not push:
            last = self._begin(push)
        last.users.append(user)
        self._size += len(user) + RECIPIENT_BYTES
        if push.numbers:
            last.numbers.append(number)

    def _begin(self, push: delivery_pb2.Push) -> delivery_pb2.Push:
        size = len(push.body) + PUSH_BYTES
        if not self.parcels or self._size + size > PARCEL_BYTES:
            self.parcels.append(
                delivery_pb2.Parcel(
                    node=self._host.node, boot_id=self._host.boot_id, hops=self._hops, direct=self._direct
                )
            )
            self._size = 0
        self._size += size
        # All fields but the recipients: copying those first would cost each target all of them.
        self._last = self.parcels[-1].pushes.add(
            kind=push.kind,
            body=push.body,
            except_session=push.except_session,
            conversation=push.conversation,
            trace=push.trace,
            accepted_ms=push.accepted_ms,
        )
        self._of = push
        return self._last
