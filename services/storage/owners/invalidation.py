"""What this node wrote although another one owns it, and telling the owner that its memory is behind.

A node that is asked for what it does not own serves it all the same, because its owner may be out of reach of whoever
asked. Unique keys make that right; but an owner that is alive after all would go on showing the head that it remembers,
and a push that was lost would never be found. So it is told to forget, again and again until it has answered.

Guarantees: what is noted is told to whoever owns it then, after what was held back of it is written; it stays noted as
long as the owner does not answer. Beyond NOTED_MAX the oldest notes are given up, with a line in the log.
Does not know: what was written. When a node dies before it could tell, the others drop their memory (ring_change.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

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


class Note(NamedTuple):
    """Something was written to this conversation, or of this user: the inbox, sessions."""

    key: str
    is_user: bool


class OwnerInvalidation:
    """Notes what was written in an owner's place, until the owner has been told."""

    def __init__(self, peers: StoragePeers, behind: WriteBehind) -> None:
        self._peers = peers
        self._behind = behind
        # In the order of the noting.
        self._noted: dict[Note, None] = {}
        self._gatherer = Gatherer(self.flush, gather_s=0.0)

    @property
    def waiting(self) -> int:
        return len(self._noted)

    def wrote_inboxes(self, users: Iterable[str]) -> None:
        """Notes that entries went into the inboxes of these users."""
        for user in users:
            self._note(user, is_user=True)

    def wrote_sessions(self, users: Iterable[str]) -> None:
        """Notes that sessions of these users began or ended."""
        for user in users:
            self._note(user, is_user=True)

    def wrote_conversations(self, conversations: Iterable[str]) -> None:
        """Notes that messages or changes went into these conversations."""
        for conversation in conversations:
            self._note(conversation, is_user=False)

    async def run(self) -> None:
        """Tells owners as soon as there is something to tell, until it is cancelled."""
        await self._gatherer.run()

    async def flush(self) -> bool:
        """Tells each owner once, and keeps what one did not hear. Whether nothing is left to tell."""
        if not self._noted:
            return True
        await self._behind.flush()
        parts: dict[str, list[Note]] = {}
        for note in list(self._noted):
            owner = self._peers.owner_of(slot_of(note.key))
            if owner is None:
                del self._noted[note]  # it is this node's own by now
            else:
                parts.setdefault(owner, []).append(note)
        for owner, notes in parts.items():
            for start in range(0, len(notes), TOLD_AT_ONCE):
                if not await self._tell_owner(owner, notes[start : start + TOLD_AT_ONCE]):
                    break
        return not self._noted

    async def _tell_owner(self, owner: str, notes: list[Note]) -> bool:
        batch = storage_pb2.ForgetBatch(
            users=[note.key for note in notes if note.is_user],
            conversations=[note.key for note in notes if not note.is_user],
        )
        for note in notes:
            del self._noted[note]  # what is written while this is under way is noted anew
        try:
            await self._peers.forget(owner, batch)
        except TidingsError:
            self._noted.update(dict.fromkeys(notes))
            return False
        return True

    def _note(self, key: str, *, is_user: bool) -> None:
        if self._peers.owner_of(slot_of(key)) is None:
            return
        if len(self._noted) >= NOTED_MAX:
            self._noted.pop(next(iter(self._noted)))
            log.warning("a write is forgotten of which its owner was not told", waiting=len(self._noted))
        self._noted[Note(key, is_user)] = None
        self._gatherer.note()
