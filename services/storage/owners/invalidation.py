"""What this node wrote although another one owns it, and telling that one: what it has in memory is behind.

A node that is asked for what it does not own serves it all the same, because its owner may be out of reach of whoever
asked. Unique keys make that right; but an owner that is alive after all would go on showing the head that it remembers,
and nobody would find a push that was lost. So it is told to forget, again and again until it has heard.

Guarantees: what is noted is told to whoever owns it then, after what was held back of it is written; it stays noted as
long as the owner does not answer. Beyond NOTED_MAX the oldest notes are given up, with a line in the log.
Does not know: what was written. When a node dies untold, the others drop all that they have in memory (node.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from protos.tidings.internal.v1 import storage_pb2
from services.common.gatherer import Gatherer
from services.common.telemetry import logs
from services.storage.memory.write_behind import WriteBehind
from services.storage.owners.peers import StoragePeers
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import slot_of

NOTED_MAX = 100_000
TOLD_AT_ONCE = 1000

log = logs.get_logger(__name__)


class OwnerInvalidation:
    """Notes what was written behind an owner's back."""

    def __init__(self, peers: StoragePeers, behind: WriteBehind) -> None:
        self._peers = peers
        self._behind = behind
        # (key, is a user's inbox): in the order of the noting.
        self._noted: dict[tuple[str, bool], None] = {}
        self._gatherer = Gatherer(self.flush, gather_s=0.0)

    @property
    def waiting(self) -> int:
        return len(self._noted)

    def wrote_inboxes(self, users: Iterable[str]) -> None:
        """Entries went into these inboxes."""
        for user in users:
            self._note(user, inbox=True)

    def wrote_conversations(self, conversations: Iterable[str]) -> None:
        """Messages or changes went into these."""
        for conversation in conversations:
            self._note(conversation, inbox=False)

    async def run(self) -> None:
        """Tells for ever, until it is cancelled."""
        await self._gatherer.run()

    async def flush(self) -> bool:
        """Tells once; whether nothing is left to tell."""
        if not self._noted:
            return True
        await self._behind.flush()
        parts: dict[str, list[tuple[str, bool]]] = {}
        for key in list(self._noted):
            owner = self._peers.owner_of(slot_of(key[0]))
            if owner is None:
                del self._noted[key]  # it is this node's own by now
            else:
                parts.setdefault(owner, []).append(key)
        for owner, keys in parts.items():
            for start in range(0, len(keys), TOLD_AT_ONCE):
                if not await self._tell_owner(owner, keys[start : start + TOLD_AT_ONCE]):
                    break
        return not self._noted

    async def _tell_owner(self, owner: str, keys: list[tuple[str, bool]]) -> bool:
        batch = storage_pb2.ForgetBatch(
            users=[key for key, inbox in keys if inbox],
            conversations=[key for key, inbox in keys if not inbox],
        )
        for key in keys:
            del self._noted[key]  # what is written while this is under way is noted anew
        try:
            await self._peers.forget(owner, batch)
        except TidingsError:
            self._noted.update(dict.fromkeys(keys))
            return False
        return True

    def _note(self, key: str, *, inbox: bool) -> None:
        if self._peers.owner_of(slot_of(key)) is None:
            return
        if len(self._noted) >= NOTED_MAX:
            self._noted.pop(next(iter(self._noted)))
            log.warning("an owner is not told of a write any more", waiting=len(self._noted))
        self._noted[key, inbox] = None
        self._gatherer.note()
