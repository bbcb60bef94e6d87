"""A message with reactions, as its owner has it in memory.

Guarantees: no I/O. Its tally is what the database has as long as `conversation` is the one that the node has in memory:
whatever puts that in doubt (another writer, a change of the ring) has the conversation loaded anew, and it is another
object then.
Does not know: when it is read, announced, forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from protos.tidings.internal.v1 import storage_pb2
from services.storage.folding.shown import state_of
from services.storage.memory.conversation import CachedConversation
from services.storage.reactions.news import News
from services.storage.reactions.tally import Tally
from services.storage.repository.records import MessageKey, StoredMessage
from tidings_protocol import client_pb2

StoreOutcome = storage_pb2.StoreOutcome

# What one weighs besides its reactions, counted in reactions.
OWN_WEIGHT = 4


class Told(NamedTuple):
    """An entry that announced reactions: its outcome, who has an inbox entry of it, and of which acts it tells, by user
    and client id; `last`: the last of them, which is answered with it.
    """

    outcome: StoreOutcome
    recipients: Sequence[str]
    acts: frozenset[tuple[str, str]]
    last: tuple[str, str]


@dataclass(slots=True, eq=False)
class ReactedMessage:
    """`announced_s`: when an entry told of it last, by this node's clock. `is_marked`: the database has noted that the
    set may be ahead of the log, as far as this node knows. `told`: the last entry.
    """

    conversation: CachedConversation
    tally: Tally
    news: News = field(default_factory=News)
    announced_s: float = -math.inf
    is_marked: bool = False
    told: Told | None = None

    @property
    def target(self) -> MessageKey:
        return self.tally.target

    @property
    def weight(self) -> int:
        recipients = len(self.told.recipients) if self.told is not None else 0
        return OWN_WEIGHT + len(self.tally) + recipients // 4

    def take_over(self, before: ReactedMessage) -> None:
        """What is known besides the tally, of the one that this one replaces. What is noted of it is in doubt."""
        self.news, self.announced_s, self.told = before.news, before.announced_s, before.told

    def is_ahead(self, message: StoredMessage) -> bool:
        """Whether the set is another one than the log has announced. `message`: the target as it is stored."""
        return self.tally.shown() != announced_in(message)

    def state(self, message: StoredMessage, now_ms: int) -> bytes:
        """The encoded state of the message with the reactions that are there now."""
        state = state_of(message, now_ms) or client_pb2.State()
        del state.reactions[:]
        state.reactions.extend(self.tally.shown())
        return state.SerializeToString()


def announced_in(message: StoredMessage) -> list[client_pb2.Reaction]:
    """The reactions to a message that the log has announced."""
    return list(storage_pb2.FoldedState.FromString(message.state).state.reactions) if message.state else []


def is_recalled(message: StoredMessage, now_ms: int) -> bool:
    """Whether it is, or its time is over: then it has no reactions."""
    state = state_of(message, now_ms)
    return state is not None and bool(state.recalled_by)
