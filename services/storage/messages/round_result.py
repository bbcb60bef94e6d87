"""What a round leaves behind: the outcomes of its items, and what follows for the memory of this node.

Guarantees: a value without I/O. Of each conversation the last word counts: it is kept as it is now, or dropped.
Does not know: caches, and what is written behind (conversations.py applies it).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from protos.tidings.internal.v1 import storage_pb2
from services.storage.events.port import FedChange, FedRow
from services.storage.memory.conversation import CachedConversation
from services.storage.messages.jobs import OwnOutcome
from tidings_protocol.errors import TidingsError

RoundOutcome = storage_pb2.StoreOutcome | storage_pb2.ChangeOutcome | OwnOutcome


@dataclass(slots=True)
class RoundResult:
    """`outcomes`: by the index of the item in the batch. `kept`: conversations as they are now, by id; they replace
    what is in memory. `dropped`: ids of those whose truth is in doubt. `dirty`: those that moved. `stored`, `changed`:
    what is durable, for the feed of events, in its order.
    """

    outcomes: dict[int, RoundOutcome | TidingsError] = field(default_factory=dict)
    kept: dict[str, CachedConversation] = field(default_factory=dict)
    dropped: set[str] = field(default_factory=set)
    dirty: list[CachedConversation] = field(default_factory=list)
    stored: list[FedRow] = field(default_factory=list)
    changed: list[FedChange] = field(default_factory=list)

    def keep(self, conversation: CachedConversation) -> None:
        """Keeps what was loaded anew, or changed; what a later one replaces may still have something to write."""
        self.kept[conversation.id] = conversation
        self.dropped.discard(conversation.id)
        self.dirty.append(conversation)

    def drop(self, conversation: str) -> None:
        self.kept.pop(conversation, None)
        self.dropped.add(conversation)

    def fail(self, indexes: Iterable[int], error: TidingsError) -> None:
        """These items have this error as their outcome."""
        self.outcomes.update(dict.fromkeys(indexes, error))
