"""Parcels: recipients → slots → owners → one parcel for each owner and batch.

A mailbox parcel holds each message once, with those of its recipients whose slots that access node owns. What all nodes
must hear (large groups, `b:all`, presence) goes into a parcel for each broadcast partition that is touched. A batch
whose parcel for one owner grows beyond the limit of a Kafka record takes several, in order.

Guarantees: pure; the pushes of one conversation keep their order on their way to each node; a recipient whose slot
nobody owns is left out and counted (its device syncs when it connects).

Does not know: which devices are connected where (the owner does), Kafka.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from protos.tidings.internal.v1 import delivery_pb2
from tidings_protocol.ids import hash64

Push = delivery_pb2.Push
# An access node's mailbox or a broadcast partition, and whom a push there is for, with their numbers.
_Share = tuple["MailboxAddress | int", Sequence[str], Sequence[int]]
# What nobody finds out by a heartbeat or a sync.
LASTING = frozenset({Push.MEMBERSHIP, Push.SESSIONS, Push.GROUP_INFO})


class OutgoingPush(NamedTuple):
    """One thing to push. `users` with their `numbers` (or none: 0) for mailboxes; no users: broadcast.

    A broadcast goes to the members of `conversation`, or is for the nodes themselves.
    """

    kind: Push.Kind.ValueType
    body: bytes
    users: Sequence[str] = ()
    numbers: Sequence[int] = ()
    conversation: str = ""
    except_session: str = ""
    trace: str = ""
    accepted_ms: int = 0


class MailboxAddress(NamedTuple):
    """Where the parcels of an access node go."""

    node: str
    boot_id: str
    partition: int


class KafkaParcel(NamedTuple):
    """One Kafka record: on `tidings.deliver`, or on `tidings.broadcast`.

    `to`: whose mailbox it is for; None: everybody's broadcast. `lasting`: it holds what no heartbeat repairs. `trace`:
    of the first of its pushes that is traced.
    """

    partition: int
    to: MailboxAddress | None
    value: bytes
    lasting: bool
    trace: str

    @property
    def broadcast(self) -> bool:
        return self.to is None


@dataclass(slots=True)
class ParcelBatch:
    parcels: list[KafkaParcel] = field(default_factory=list)
    unowned: int = 0


def build_parcels(
    outgoing: Iterable[OutgoingPush],
    owner_of: Callable[[str], str | None],
    mailboxes: Mapping[str, MailboxAddress],
    *,
    broadcast_partitions: int,
    parcel_bytes_max: int,
) -> ParcelBatch:
    """`owner_of` is the access ring's; an owner without a mailbox counts as none."""
    routed = ParcelBatch()
    open_parcels: dict[MailboxAddress | int, _OpenParcel] = {}
    for item in outgoing:
        if item.users:
            shares = _shares(item, owner_of, mailboxes, routed)
        else:
            partition = hash64(item.conversation) % broadcast_partitions if item.conversation else 0
            shares = [(partition, (), ())]
        for address, users, numbers in shares:
            parcel = open_parcels.get(address)
            if parcel is None:
                parcel = open_parcels[address] = _OpenParcel(address)
            elif parcel.size + len(item.body) > parcel_bytes_max:
                routed.parcels.append(parcel.sealed())
                parcel = open_parcels[address] = _OpenParcel(address)
            parcel.add(item, users, numbers)
    routed.parcels.extend(parcel.sealed() for parcel in open_parcels.values())
    return routed


def _shares(
    item: OutgoingPush,
    owner_of: Callable[[str], str | None],
    mailboxes: Mapping[str, MailboxAddress],
    routed: ParcelBatch,
) -> list[_Share]:
    """Each owner once, with its recipients and their numbers."""
    by_owner: dict[str | None, tuple[list[str], list[int]]] = {}
    numbers = item.numbers or (0,) * len(item.users)
    for user, number in zip(item.users, numbers, strict=True):
        owner = owner_of(user)
        share = by_owner.get(owner)
        if share is None:
            share = by_owner[owner] = ([], [])
        share[0].append(user)
        share[1].append(number)
    found: list[_Share] = []
    for owner, (users, theirs) in by_owner.items():
        mailbox = mailboxes.get(owner) if owner is not None else None
        if mailbox is None:
            routed.unowned += len(users)
        else:
            found.append((mailbox, users, theirs if item.numbers else ()))
    return found


class _OpenParcel:
    """A parcel that is being filled; its size is an estimate from below that leaves out a few bytes a push."""

    __slots__ = ("_address", "_lasting", "_parcel", "_trace", "size")

    def __init__(self, address: MailboxAddress | int) -> None:
        self._address = address
        self._parcel = delivery_pb2.Parcel()
        if isinstance(address, MailboxAddress):
            self._parcel.node = address.node
            self._parcel.boot_id = address.boot_id
        self._lasting = False
        self._trace = ""
        self.size = 0

    def add(self, item: OutgoingPush, users: Sequence[str], numbers: Sequence[int]) -> None:
        # Made in its place: a push that is made first and appended is copied.
        self._parcel.pushes.add(
            kind=item.kind,
            body=item.body,
            users=users,
            numbers=numbers,
            except_session=item.except_session,
            conversation=item.conversation,
            trace=item.trace,
            accepted_ms=item.accepted_ms,
        )
        self._lasting = self._lasting or item.kind in LASTING
        self._trace = self._trace or item.trace
        self.size += len(item.body) + 64 + 24 * len(users)

    def sealed(self) -> KafkaParcel:
        to = self._address if isinstance(self._address, MailboxAddress) else None
        partition = self._address.partition if isinstance(self._address, MailboxAddress) else self._address
        return KafkaParcel(partition, to, self._parcel.SerializeToString(), self._lasting, self._trace)
