"""What etcd's client gives and raises: keys as they are, their changes, outcomes of transactions, leases.

Does not know: what the keys mean.
"""

from __future__ import annotations

from dataclasses import dataclass


class LeaseGone(Exception):
    """etcd does not know the lease: it ran out, or was revoked."""


class Compacted(Exception):
    """The history that a watch wanted is not there any more, or not yet: list again."""


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key as it is at a revision."""

    key: str
    value: str
    revision: int
    lease: int


@dataclass(frozen=True, slots=True)
class Event:
    """A change of a key; `pair.value` is empty if it was deleted."""

    deleted: bool
    pair: KeyValue


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a transaction."""

    done: bool
    revision: int


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as etcd granted it: for longer than asked, if that is less than etcd can hold."""

    id: int
    ttl_s: int
