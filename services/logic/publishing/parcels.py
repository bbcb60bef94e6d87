"""Parcels: recipients → slots → owners → one parcel for each owner and batch.

A mailbox parcel holds each message once, with those of its recipients whose slots that access node owns. What all nodes
must hear (large groups, `b:all`, presence) goes into a parcel for each broadcast partition that is touched. A batch
whose parcel for one owner grows beyond the limit of a Kafka record takes several, in order. In a parcel, messages that
come as columns stand before the pushes, so columns that come after pushes begin a new one.

Guarantees: pure; the pushes of one conversation keep their order on their way to each node; a recipient whose slot
nobody owns is left out and counted (its device syncs when it connects).

Does not know: which devices are connected where (the owner does), Kafka.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from protos.tidings.internal.v1 import delivery_pb2
from services.logic.publishing.message_columns import OutgoingMessages, add_messages, by_owner, runs
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
        """Whether all access nodes get it."""
        return self.to is None


@dataclass(slots=True)
class ParcelBatch:
    parcels: list[KafkaParcel] = field(default_factory=list)
    unowned: int = 0


def build_parcels(
    outgoing: Iterable[OutgoingPush | OutgoingMessages],
    owner_of: Callable[[str], str | None],
    mailboxes: Mapping[str, MailboxAddress],
    *,
    broadcast_partitions: int,
    parcel_bytes_max: int,
    sole_owner: str | None = None,
) -> ParcelBatch:
    """Parcels for all that is to be pushed. `owner_of` is the access ring's; an owner without a mailbox counts as none.

    `sole_owner`: who owns all slots, if it is one node alone.
    """
    routed = ParcelBatch()
    open_parcels: dict[MailboxAddress | int, _OpenParcel] = {}

    def parcel_for(address: MailboxAddress | int, size: int, *, columns: bool = False) -> _OpenParcel:
        parcel = open_parcels.get(address)
        if parcel is not None and (parcel.size + size > parcel_bytes_max or (columns and parcel.has_pushes)):
            routed.parcels.append(parcel.sealed())
            parcel = None
        if parcel is None:
            parcel = open_parcels[address] = _OpenParcel(address)
        return parcel

    for item in outgoing:
        if isinstance(item, OutgoingMessages):
            for mailbox, messages in _shared(item, owner_of, mailboxes, routed, sole_owner):
                for run, size in runs(messages, parcel_bytes_max):
                    parcel_for(mailbox, size, columns=True).add_messages(run, size)
            continue
        if item.users:
            shares = _shares(item, owner_of, mailboxes, routed)
        else:
            partition = hash64(item.conversation) % broadcast_partitions if item.conversation else 0
            shares = [(partition, (), ())]
        for address, users, numbers in shares:
            parcel_for(address, len(item.body)).add(item, users, numbers)
    routed.parcels.extend(parcel.sealed() for parcel in open_parcels.values())
    return routed


def _shared(
    messages: OutgoingMessages,
    owner_of: Callable[[str], str | None],
    mailboxes: Mapping[str, MailboxAddress],
    routed: ParcelBatch,
    sole_owner: str | None,
) -> Iterable[tuple[MailboxAddress, OutgoingMessages]]:
    """Each owner of recipients with its rows; who has no owner is counted."""
    shares = by_owner(messages, owner_of) if sole_owner is None else {sole_owner: messages}
    for owner, share in shares.items():
        mailbox = mailboxes.get(owner) if owner is not None else None
        if mailbox is None:
            routed.unowned += len(share.users)
        else:
            yield mailbox, share


def _shares(
    item: OutgoingPush,
    owner_of: Callable[[str], str | None],
    mailboxes: Mapping[str, MailboxAddress],
    routed: ParcelBatch,
) -> list[_Share]:
    """Each owner of recipients once, with these and their numbers; who has no owner is counted."""
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
    """A parcel that is being filled; its size is an estimate, of pushes one from below that leaves out a few bytes."""

    __slots__ = ("_address", "_lasting", "_parcel", "_trace", "has_pushes", "size")

    def __init__(self, address: MailboxAddress | int) -> None:
        self._address = address
        self._parcel = delivery_pb2.Parcel()
        if isinstance(address, MailboxAddress):
            self._parcel.node = address.node
            self._parcel.boot_id = address.boot_id
        self._lasting = False
        self._trace = ""
        self.has_pushes = False
        self.size = 0

    def add_messages(self, messages: OutgoingMessages, size: int) -> None:
        add_messages(self._parcel.messages, messages)
        self._trace = self._trace or messages.trace
        self.size += size

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
        self.has_pushes = True
        self._lasting = self._lasting or item.kind in LASTING
        self._trace = self._trace or item.trace
        self.size += len(item.body) + 64 + 24 * len(users)

    def sealed(self) -> KafkaParcel:
        """The parcel, encoded; nothing is added to it after that."""
        to = self._address if isinstance(self._address, MailboxAddress) else None
        partition = self._address.partition if isinstance(self._address, MailboxAddress) else self._address
        return KafkaParcel(partition, to, self._parcel.SerializeToString(), self._lasting, self._trace)
