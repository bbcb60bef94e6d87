"""Who counts as alive, from what etcd shows and when it answered. Pure: time is an argument.

A record that vanishes from etcd is a node that died, or etcd that was away for so long that leases ran out in it (it
was stopped and went on, or its data is gone). Whoever had answers from etcd all the time knows that it is the former
and puts a tombstone at once. Whoever had none for a while gives the node one lease time, from the first answer on, to
come back under its boot id.

Guarantees: a record that is there is in the membership; a missing one stays in it until `tombstoned`; `due` names those
whose time is up. Without news from etcd nothing changes.

Does not know: etcd. That only one of "has a tombstone" and "came back" happens is decided there, by a transaction.
"""

from __future__ import annotations

from collections.abc import Iterable

from services.common.registry.contract import Membership, NodeRecord

# Every lease is renewed three times in its life, so silence shorter than this cannot have made one run out.
SILENCE = 0.5
# What a node needs beyond its lease time to notice that etcd is back.
SLACK_S = 1.0

_Key = tuple[str, str]


class MembershipView:
    """The records in etcd and those that are missing from it."""

    def __init__(self, ttl_s: float) -> None:
        self.revision = 0
        self._ttl_s = ttl_s
        self._there: dict[_Key, NodeRecord] = {}
        self._missing: dict[_Key, tuple[NodeRecord, float]] = {}
        self._answered_s: float | None = None
        self._grace_until_s = 0.0

    def leases_last(self, ttl_s: float) -> None:
        """etcd keeps leases for so long, whatever it was asked for."""
        self._ttl_s = ttl_s

    def answered(self, now_s: float) -> None:
        """etcd answered something."""
        if self._answered_s is not None and now_s - self._answered_s >= self._ttl_s * SILENCE:
            self._give_grace(now_s)
        self._answered_s = now_s

    def listed(self, records: Iterable[NodeRecord], revision: int, now_s: float) -> None:
        """All records that there are at this revision."""
        if revision < self.revision:
            # etcd has lost its data, and with it every lease.
            self._give_grace(now_s)
        there = {_key(record): record for record in records}
        for key in self._there.keys() - there.keys():
            self._miss(key, now_s)
        self._there = there
        self._missing = {key: entry for key, entry in self._missing.items() if key not in there}
        self.revision = revision

    def put(self, record: NodeRecord) -> None:
        """This record is there now."""
        self._missing.pop(_key(record), None)
        self._there[_key(record)] = record

    def removed(self, kind: str, name: str, now_s: float) -> None:
        """This record is not there any more."""
        self._miss((kind, name), now_s)

    def due(self, now_s: float) -> list[NodeRecord]:
        """The missing nodes that had their time."""
        return [record for record, due_s in self._missing.values() if due_s <= now_s]

    def next_due_s(self) -> float | None:
        """When the next missing node is due; None: nobody is missing."""
        return min((due_s for _, due_s in self._missing.values()), default=None)

    def tombstoned(self, record: NodeRecord) -> None:
        """This missing node is out for good."""
        entry = self._missing.get(_key(record))
        if entry is not None and entry[0].boot_id == record.boot_id:
            del self._missing[_key(record)]

    def membership(self) -> Membership:
        """Who counts as alive."""
        missing = [record for record, _ in self._missing.values()]
        return Membership.of(self.revision, [*self._there.values(), *missing])

    def _give_grace(self, now_s: float) -> None:
        self._grace_until_s = now_s + self._ttl_s + SLACK_S
        # Who was missing already gets the same time: its way back was closed.
        self._missing = {
            key: (record, max(due_s, self._grace_until_s)) for key, (record, due_s) in self._missing.items()
        }

    def _miss(self, key: _Key, now_s: float) -> None:
        record = self._there.pop(key, None)
        if record is not None:
            self._missing[key] = (record, max(now_s, self._grace_until_s))


def _key(record: NodeRecord) -> _Key:
    return (record.kind, record.name)
