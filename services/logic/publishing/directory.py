"""Which access node owns which slot, where its mailbox is, who reads the broadcast and who does not hear Kafka.

Guarantees: as the cluster says now; made anew when the membership changes, not for each batch.

Does not know: what is told to whom.
"""

from __future__ import annotations

from collections.abc import Callable

from services.common.cluster import ClusterView
from services.common.registry.contract import NOBODY
from services.logic.publishing.parcels import MailboxAddress


class Directory:
    """The access nodes, as a publisher needs them."""

    def __init__(self, cluster: ClusterView) -> None:
        self._cluster = cluster
        self._seen = NOBODY
        self._mailboxes: dict[str, MailboxAddress] = {}
        self._readers: list[tuple[str, str]] = []
        self._deaf: list[tuple[str, str]] = []

    def owner_of(self) -> Callable[[str], str | None]:
        """A function that names the access node which owns a user; None: nobody does."""
        return self._cluster.ring("access").owner_of

    def sole_owner(self) -> str | None:
        """The access node that owns every user, if there is one alone."""
        owners = [name for name, weight in self._cluster.ring("access").members.items() if weight]
        return owners[0] if len(owners) == 1 else None

    def mailboxes(self) -> dict[str, MailboxAddress]:
        """The mailbox of each access node that has one, by the node's name."""
        self._look()
        return self._mailboxes

    def readers(self) -> list[tuple[str, str]]:
        """The (name, boot id) of every access node."""
        self._look()
        return self._readers

    def deaf(self) -> list[tuple[str, str]]:
        """The (name, boot id) of the access nodes that do not hear Kafka."""
        self._look()
        return self._deaf

    def _look(self) -> None:
        membership = self._cluster.membership
        if membership is not self._seen:
            self._seen = membership
            access = [node for node in membership.nodes if node.kind == "access"]
            self._readers = [(node.name, node.boot_id) for node in access]
            self._deaf = [(node.name, node.boot_id) for node in access if node.deaf]
            self._mailboxes = {
                node.name: MailboxAddress(node.name, node.boot_id, node.mailbox, node.columns)
                for node in access
                if node.mailbox is not None
            }
