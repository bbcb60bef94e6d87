"""Visitors: users that are connected to one node while another owns their slot.

Theory of operation. The node that has the connection (the host) keeps `Visits`: for each of its users, which owner has
confirmed that it forwards. What should be follows from the ring and from who is connected; the difference to what is
confirmed is the next calls to make. So it does not matter how often or why it is looked at: a call that failed, an
owner that died, a ring that changed twice are all repaired by the next look. The owner keeps `Guests`: to which hosts
a user's pushes go.

A host is a boot of a node: after a restart it is another one, to which nothing is forwarded that was asked by the old.

Guarantees: a user's new owner is asked before the old one is told that the user left. Both sides are bounded by the
users that are connected; what a dead host left behind goes with `Guests.keep`.

Does not know: gRPC, Kafka, rings (it is told each user's owner).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Host:
    """One boot of one access node."""

    node: str
    boot_id: str


@dataclass(slots=True)
class Call:
    """What to tell one owner."""

    arrived: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


class Visits:
    """The host's side."""

    __slots__ = ("_confirmed", "_stale")

    def __init__(self) -> None:
        self._confirmed: dict[str, Host] = {}
        # Owners that were not yet told that a user left them, by user: few, and gone with the owner.
        self._stale: dict[str, set[Host]] = {}

    def __len__(self) -> int:
        return len(self._confirmed)

    def owner_of(self, user: str) -> Host | None:
        """Who has confirmed to forward for this user."""
        return self._confirmed.get(user)

    def unsettled(self, users: Iterable[str], wanted: Callable[[str], Host | None]) -> list[str]:
        """Those for whom there is a call to make."""
        return [user for user in users if self._confirmed.get(user) != wanted(user)]

    def known(self) -> Iterator[str]:
        """Users of whom some owner may still know."""
        yield from self._confirmed
        yield from (user for user in self._stale if user not in self._confirmed)

    def arrivals(self, users: Iterable[str], wanted: Callable[[str], Host | None]) -> dict[Host, list[str]]:
        """First: whom to ask to forward."""
        calls: dict[Host, list[str]] = {}
        for user in users:
            owner = wanted(user)
            if owner is not None and self._confirmed.get(user) != owner:
                calls.setdefault(owner, []).append(user)
        return calls

    def confirm(self, owner: Host, users: Iterable[str]) -> None:
        """This owner forwards from now on; who did before is to be told."""
        for user in users:
            before = self._confirmed.get(user)
            if before is not None and before != owner:
                self._stale.setdefault(user, set()).add(before)
            self._confirmed[user] = owner
            self._settle(owner, user)

    def departures(self, users: Iterable[str], wanted: Callable[[str], Host | None]) -> dict[Host, list[str]]:
        """Then: whom to tell that they need not forward any more."""
        calls: dict[Host, list[str]] = {}
        for user in users:
            confirmed = self._confirmed.get(user)
            if confirmed is not None and wanted(user) is None:
                calls.setdefault(confirmed, []).append(user)
            for owner in self._stale.get(user, ()):
                calls.setdefault(owner, []).append(user)
        return calls

    def released(self, owner: Host, users: Iterable[str]) -> None:
        """This owner knows that these left."""
        for user in users:
            if self._confirmed.get(user) == owner:
                del self._confirmed[user]
            self._settle(owner, user)

    def forget(self, alive: Callable[[str], bool]) -> list[str]:
        """Owners whose boot is dead know nothing any more; the users for whom one of them forwarded."""
        orphans = [user for user, owner in self._confirmed.items() if not alive(owner.boot_id)]
        for user in orphans:
            del self._confirmed[user]
        for user, owners in list(self._stale.items()):
            for owner in [owner for owner in owners if not alive(owner.boot_id)]:
                self._settle(owner, user)
        return orphans

    def clear(self) -> None:
        """This node has a new boot: nobody forwards to it yet."""
        self._confirmed.clear()
        self._stale.clear()

    def _settle(self, owner: Host, user: str) -> None:
        owners = self._stale.get(user)
        if owners is not None:
            owners.discard(owner)
            if not owners:
                del self._stale[user]


class Guests:
    """The owner's side."""

    __slots__ = ("_hosts",)

    def __init__(self) -> None:
        self._hosts: dict[str, tuple[Host, ...]] = {}

    def __len__(self) -> int:
        return len(self._hosts)

    def arrive(self, host: Host, users: Iterable[str]) -> None:
        for user in users:
            known = self._hosts.get(user, ())
            if host not in known:
                self._hosts[user] = (*known, host)

    def leave(self, host: Host, users: Iterable[str]) -> None:
        for user in users:
            self._without(user, lambda other: other == host)

    def hosts_of(self, user: str) -> tuple[Host, ...]:
        """Where to forward what this user gets."""
        return self._hosts.get(user, ())

    def keep(self, alive: Callable[[str], bool]) -> None:
        """Only hosts whose boot is alive."""
        for user in list(self._hosts):
            self._without(user, lambda other: not alive(other.boot_id))

    def _without(self, user: str, gone: Callable[[Host], bool]) -> None:
        known = self._hosts.get(user, ())
        left = tuple(host for host in known if not gone(host))
        if left:
            self._hosts[user] = left
        elif known:
            del self._hosts[user]
