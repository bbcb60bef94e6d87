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

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from protos.tidings.internal.v1 import delivery_pb2
from services.logic.publishing.message_columns import OutgoingMessages, add_messages, by_owner, runs
from tidings_protocol import client_pb2
from tidings_protocol.ids import hash64
from tidings_protocol.wire.body import read_message

Push = delivery_pb2.Push
# An access node's mailbox or a broadcast partition, and whom a push there is for, with their numbers.
_Share = tuple["MailboxAddress | int", Sequence[str], Sequence[int]]
# What nobody finds out by a heartbeat or a sync.
LASTING = frozenset({Push.MEMBERSHIP, Push.SESSIONS, Push.GROUP_INFO, Push.HIDDEN})
LASTING = frozenset({Push.MEMBERSHIP, Push.SESSIONS, Push.GROUP_INFO, Push.PREFERENCES, Push.PROFILES, Push.BLOCKS})


class OutgoingPush(NamedTuple):
    """One thing to push. `users` with their `numbers` (or none: 0) for mailboxes; no users: broadcast.

    A broadcast goes to the members of `conversation`, or is for the nodes themselves. `stub_users`: of these, who gets
    the place of the message alone.
    """

    kind: Push.Kind.ValueType
    body: bytes
    users: Sequence[str] = ()
    numbers: Sequence[int] = ()
    conversation: str = ""
    except_session: str = ""
    trace: str = ""
    accepted_ms: int = 0
    stub_users: Sequence[str] = ()


class MailboxAddress(NamedTuple):
    """Where the parcels of an access node go. `columns`: it reads messages in columns; else each must be a push."""

    node: str
    boot_id: str
    partition: int
    columns: bool = True


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
    building = _Building(owner_of, mailboxes, broadcast_partitions, parcel_bytes_max, sole_owner)
    for item in outgoing:
        if isinstance(item, OutgoingMessages):
            building.add_messages(item)
        else:
            building.add_push(item)
    return building.finished()


class _Building:
    """Parcels that are being filled, one for each address."""

    def __init__(
        self,
        owner_of: Callable[[str], str | None],
        mailboxes: Mapping[str, MailboxAddress],
        broadcast_partitions: int,
        bytes_max: int,
        sole_owner: str | None,
    ) -> None:
        self._owner_of = owner_of
        self._mailboxes = mailboxes
        self._broadcast_partitions = broadcast_partitions
        self._bytes_max = bytes_max
        self._sole_owner = sole_owner
        self._open: dict[MailboxAddress | int, _OpenParcel] = {}
        self._batch = ParcelBatch()

    def add_messages(self, messages: OutgoingMessages) -> None:
        """Adds each owner's rows; who has no owner is counted."""
        alone = self._sole_owner
        shares = by_owner(messages, self._owner_of) if alone is None else {alone: messages}
        for owner, share in shares.items():
            mailbox = self._mailbox_of(owner)
            if mailbox is None:
                self._batch.unowned += len(share.users)
            elif not mailbox.columns:
                for push in _as_pushes(share):
                    self._parcel_for(mailbox, len(push.body)).add(push, push.users, push.numbers)
            else:
                for run, size in runs(share, self._bytes_max):
                    self._parcel_for(mailbox, size, columns=True).add_messages(run, size)

    def add_push(self, item: OutgoingPush) -> None:
        """Adds it for each owner of recipients, with these and their numbers; who has no owner is counted."""
        for address, users, numbers in self._shares(item):
            self._parcel_for(address, len(item.body)).add(item, users, numbers)

    def finished(self) -> ParcelBatch:
        """All parcels; nothing is added after that."""
        self._batch.parcels.extend(parcel.sealed() for parcel in self._open.values())
        return self._batch

    def _parcel_for(self, address: MailboxAddress | int, size: int, *, columns: bool = False) -> _OpenParcel:
        """The parcel that takes the next so many bytes."""
        parcel = self._open.get(address)
        if parcel is not None and (parcel.size + size > self._bytes_max or (columns and parcel.has_pushes)):
            self._batch.parcels.append(parcel.sealed())
            parcel = None
        if parcel is None:
            parcel = self._open[address] = _OpenParcel(address)
        return parcel

    def _mailbox_of(self, owner: str | None) -> MailboxAddress | None:
        return self._mailboxes.get(owner) if owner is not None else None

    def _shares(self, item: OutgoingPush) -> list[_Share]:
        if not item.users:
            partition = hash64(item.conversation) % self._broadcast_partitions if item.conversation else 0
            return [(partition, (), ())]
        shares: dict[str | None, tuple[list[str], list[int]]] = {}
        numbers = item.numbers or (0,) * len(item.users)
        for user, number in zip(item.users, numbers, strict=True):
            owner = self._owner_of(user)
            share = shares.get(owner)
            if share is None:
                share = shares[owner] = ([], [])
            share[0].append(user)
            share[1].append(number)
        found: list[_Share] = []
        for owner, (users, theirs) in shares.items():
            mailbox = self._mailbox_of(owner)
            if mailbox is None:
                self._batch.unowned += len(users)
            else:
                found.append((mailbox, users, theirs if item.numbers else ()))
        return found


def _as_pushes(messages: OutgoingMessages) -> Iterator[OutgoingPush]:
    """The rows for an access node of 0.1.0."""
    users = zip(messages.users, messages.numbers, strict=True)
    for row, body in enumerate(messages.bodies):
        mine = list(islice(users, messages.user_counts[row]))
        message = client_pb2.Message()
        read_message(body, message)
        yield OutgoingPush(
            kind=Push.MESSAGE,
            body=body,
            users=[user for user, _ in mine],
            numbers=[number for _, number in mine],
            conversation=message.conversation,
            except_session=messages.except_sessions[row],
            trace=messages.traces[row] if messages.traces else "",
            accepted_ms=messages.accepted_ms[row],
        )


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
            stub_users=item.stub_users,
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
