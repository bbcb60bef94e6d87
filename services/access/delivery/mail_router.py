"""The router of the mailbox: splits parcels into what is for this node, for visitors' nodes, and for new owners.

Theory of operation. Logic routed a parcel by the ring that logic had. A parcel that is for another boot (the mailbox
had another node, or this node started again) is routed once more as a whole. Otherwise each recipient is looked up. A
push for a visitor is forwarded to the nodes where the visitor is connected. A push for a user whose slot has another
owner by now goes on to that owner, and to the connections here all the same: so no user waits for the hop, and clients
pass over what they have. Messages that come as columns stay columns if all of that is so of none of their users, which
is the rule; else they are pushes from here on. A forwarded parcel (`Parcel.direct` on the wire) is for one boot only,
and is never routed again. Any other parcel is routed again at most `HOPS_MAX` times.

Guarantees: a recipient that is owned here gets its push here exactly as often as it came. Each target gets as few
records as their size allows, at a cost that grows with the recipients and no faster. A push with fewer numbers than
recipients, or columns that are not aligned, go no further than to delivery.py, which drops them. The messages of a
parcel come before its pushes.

Does not know: Kafka, connections, when the ring changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from protos.tidings.internal.v1 import delivery_pb2
from services.access.delivery.forwarding_table import ForwardingTable
from services.access.delivery.message_columns import is_aligned, pushes_of
from services.common.registry.contract import NodeIncarnation

HOPS_MAX = 2
# A record beyond this is begun anew: Kafka takes about a megabyte.
PARCEL_BYTES = 512 * 1024
# What a push and a recipient have beside the body and the user's name: an estimate from above.
PUSH_BYTES = 64
RECIPIENT_BYTES = 16
# Other tasks of the event loop run after so many recipients.
YIELD_EVERY = 1000

# What is delivered here, in its order.
Local = delivery_pb2.Push | delivery_pb2.MessageColumns


@dataclass(slots=True)
class Split:
    """A batch of parcels, by where its pushes go."""

    local: list[Local] = field(default_factory=list)  # users without a connection here are passed over
    forwarded: dict[NodeIncarnation, list[delivery_pb2.Parcel]] = field(default_factory=dict)  # to visitors' nodes
    # To owners, by the hops that it has made then.
    rerouted: dict[tuple[NodeIncarnation, int], list[delivery_pb2.Parcel]] = field(default_factory=dict)
    dropped: int = 0  # recipients that were not routed again


class MailRouter:
    """Splits batches for one boot of this node.

    `owner_of` gives the owner of a user now, or None; `owns_all` says whether that boot owns all these users.
    """

    def __init__(
        self,
        me: NodeIncarnation,
        owner_of: Callable[[str], NodeIncarnation | None],
        owns_all: Callable[[Iterable[str]], bool],
        forwarding: ForwardingTable,
    ) -> None:
        self._me = me
        self._owner_of = owner_of
        self._owns_all = owns_all
        self._forwarding = forwarding

    def split(self, parcels: Sequence[delivery_pb2.Parcel]) -> SplitRun:
        """Begins to split the parcels in their order, in steps between which other tasks can run."""
        return SplitRun(parcels, self._me, self._owner_of, self._owns_all, self._forwarding)


def is_sound(push: delivery_pb2.Push) -> bool:
    """Whether each recipient of the push has a number, or none has."""
    return not push.numbers or len(push.numbers) >= len(push.users)


class SplitRun:
    """A batch that is being split: the caller goes through `steps`, then takes the `result`."""

    def __init__(
        self,
        parcels: Sequence[delivery_pb2.Parcel],
        me: NodeIncarnation,
        owner_of: Callable[[str], NodeIncarnation | None],
        owns_all: Callable[[Iterable[str]], bool],
        forwarding: ForwardingTable,
    ) -> None:
        self._parcels = parcels
        self._me = me
        self._owner_of = owner_of
        self._owns_all = owns_all
        self._forwarding = forwarding
        self._local: list[Local] = []
        self._forwarded: dict[NodeIncarnation, _ParcelBuilder] = {}
        self._rerouted: dict[tuple[NodeIncarnation, int], _ParcelBuilder] = {}
        self._dropped = 0
        self._seen = 0  # recipients
        self._step_ends = YIELD_EVERY

    def steps(self) -> Iterator[None]:
        """Splits `YIELD_EVERY` recipients in each step."""
        for parcel in self._parcels:
            if parcel.direct and parcel.boot_id != self._me.boot_id:
                continue
            if parcel.HasField("messages"):
                yield from self._split_messages(parcel)
            yield from self._split_pushes(parcel, parcel.pushes)

    def _split_messages(self, parcel: delivery_pb2.Parcel) -> Iterator[None]:
        columns = parcel.messages
        if parcel.direct or not is_aligned(columns):
            self._local.append(columns)
            return
        for start in range(0, len(columns.users), YIELD_EVERY):
            users = columns.users[start : start + YIELD_EVERY]
            if self._forwarding.has_any(users) or not self._owns_all(users):
                yield from self._split_pushes(parcel, pushes_of(columns))
                return
            if self._ends_step(len(users)):
                yield
        self._local.append(columns)

    def _split_pushes(self, parcel: delivery_pb2.Parcel, pushes: Iterable[delivery_pb2.Push]) -> Iterator[None]:
        for push in pushes:
            # What turns out to be this node's own is delivered here, without a hop.
            self._local.append(push)
            if not parcel.direct and is_sound(push):
                self._pass_on(push, parcel.hops)
                if self._ends_step(len(push.users)):
                    yield

    def _ends_step(self, recipients: int) -> bool:
        self._seen += recipients
        if self._seen < self._step_ends:
            return False
        self._step_ends = self._seen + YIELD_EVERY
        return True

    def _pass_on(self, push: delivery_pb2.Push, hops: int) -> None:
        numbers = push.numbers
        for place, user in enumerate(push.users):
            number = numbers[place] if numbers else 0
            for node in self._forwarding.nodes_of(user):
                forwarded = self._forwarded.get(node)
                if forwarded is None:
                    forwarded = self._forwarded[node] = _ParcelBuilder(node, forwarded=True)
                forwarded.add(push, user, number)
            owner = self._owner_of(user)
            if owner is None or owner == self._me:
                continue
            if hops >= HOPS_MAX:
                self._dropped += 1
                continue
            key = (owner, hops + 1)
            rerouted = self._rerouted.get(key)
            if rerouted is None:
                rerouted = self._rerouted[key] = _ParcelBuilder(owner, hops=hops + 1)
            rerouted.add(push, user, number)

    def result(self) -> Split:
        """The parcels that the steps so far have split."""
        return Split(
            self._local,
            {node: builder.parcels for node, builder in self._forwarded.items()},
            {key: builder.parcels for key, builder in self._rerouted.items()},
            self._dropped,
        )


class _ParcelBuilder:
    """Builds the parcels for one target.

    It counts the bytes while it adds, since asking a parcel for its size costs as much as all that is in it.
    """

    __slots__ = ("_copied", "_forwarded", "_hops", "_last", "_node", "_size", "parcels")

    def __init__(self, node: NodeIncarnation, *, hops: int = 0, forwarded: bool = False) -> None:
        self.parcels: list[delivery_pb2.Parcel] = []
        self._node = node
        self._hops = hops
        self._forwarded = forwarded
        self._size = 0
        self._last: delivery_pb2.Push | None = None
        self._copied: delivery_pb2.Push | None = None  # what `_last` is a copy of

    def add(self, push: delivery_pb2.Push, user: str, number: int) -> None:
        """Adds one more recipient of this push; the push itself stands in the parcel once."""
        last = self._last
        if last is None or self._copied is not push:
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
                    node=self._node.node, boot_id=self._node.boot_id, hops=self._hops, direct=self._forwarded
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
        self._copied = push
        return self._last
