"""The port of reactions: a set of (conversation, seq, user, reaction), and the messages whose set is ahead of the log.

Its guarantees are those of contract.py.

A set is ahead of the log while something came or went that no entry announces yet. Which sets those are is kept beside
them, from before the first of it is answered until it is announced, so that whoever owns the conversation next finds
them. A set that is to be removed is kept there too.

Units: a place is in microseconds since 1970; no two reactions to a message that one node stores have the same one.

Does not know: who may react, what is announced.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from services.storage.repository.records import MessageKey

# How many of those who reacted first are told.
FIRST_USERS = 3


class Reactor(NamedTuple):
    """A user, as one who may have reacted to this message."""

    conversation: str
    seq: int
    user: str


class ReactionKey(NamedTuple):
    """One reaction of a user to a message."""

    conversation: str
    seq: int
    user: str
    reaction: str


class StoredReaction(NamedTuple):
    """What is known of one reaction of a user to a message. `place`: when it came; `since`: when this reaction to this
    message came first, since when it never was gone. `acts`: the client ids of the last acts on it, the newest last.
    `gone`: it was taken back, and is remembered for a while, so that a late copy of an act does not bring it back.
    """

    conversation: str
    seq: int
    user: str
    reaction: str
    place: int = 0
    since: int = 0
    acts: tuple[str, ...] = ()
    gone: bool = False

    @property
    def key(self) -> ReactionKey:
        return ReactionKey(self.conversation, self.seq, self.user, self.reaction)

    @property
    def order(self) -> ReactionOrder:
        return ReactionOrder(self.place, self.user, self.reaction)


class ReactionWrite(NamedTuple):
    """What a reaction becomes, where its acts are the expected ones; None: where nothing is known of it."""

    reaction: StoredReaction
    expected: tuple[str, ...] | None = None


class ReactionCount(NamedTuple):
    """How many users (`number`) gave a message this reaction, since when, and the first of them."""

    reaction: str
    number: int
    since: int
    users: tuple[str, ...]


class ReactionOrder(NamedTuple):
    """Where a reaction stands among all that a message has, the oldest first."""

    place: int
    user: str
    reaction: str


# Before all others.
FIRST = ReactionOrder(0, "", "")


class ReactionSpan(NamedTuple):
    """Reactions to a message behind `after`, at most `limit`; `reaction` empty: of all. `newest`: from the other end,
    `after` left aside.
    """

    conversation: str
    seq: int
    reaction: str = ""
    after: ReactionOrder = FIRST
    limit: int = 50
    newest: bool = False


class AheadSet(NamedTuple):
    """The set of this message is ahead of the log; `user` was the first to act on it since."""

    conversation: str
    seq: int
    user: str

    @property
    def target(self) -> MessageKey:
        return self.conversation, self.seq


class ReactionRepository(Protocol):
    """Reactions, unique by (conversation, seq, user, reaction). What is gone is in `find` alone."""

    async def find(self, reactors: Collection[Reactor]) -> dict[Reactor, list[StoredReaction]]:
        """What is known of the reactions of each of these users to these messages, by both; also what is gone."""
        ...

    async def tallies(self, targets: Collection[MessageKey]) -> dict[MessageKey, list[ReactionCount]]:
        """What was given to each of these messages how often, by `since`."""
        ...

    async def page(self, span: ReactionSpan) -> list[StoredReaction]:
        """The reactions of the span, the oldest first; with `newest` the newest first."""
        ...

    async def write(self, writes: Sequence[ReactionWrite]) -> bool:
        """Writes each that finds what it expects; one reaction may be in `writes` once only. Whether all did."""
        ...

    async def remove(self, conversation: str, first: int, below: int, limit: int) -> int:
        """Removes all that is known of reactions to the messages from `first` on, below `below`, at most `limit` of
        them; how many.
        """
        ...

    async def mark(self, begun: Collection[AheadSet], ended: Collection[MessageKey]) -> None:
        """Notes that the sets of the first are ahead of the log, unless that is noted, and that those of the others are
        not any more.
        """
        ...

    async def ahead(self, conversation: str, seq: int, limit: int) -> list[AheadSet]:
        """The next sets that are ahead of the log after this message, in an order that stays the same, at most `limit`;
        "", 0: from the first on.
        """
        ...
