"""How much of one conversation is unread, between what the server counted and what came since. Pure.

Guarantees: what the server counted holds up to the head of then; messages that come behind it are counted one by one.
Reading up to that head makes the server's count nothing. If another device reads a part of it, the count stays as it
was told until the list is read again: it is never too low.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from tidings import Conversation, Message


@dataclass(slots=True)
class Unread:
    """`fresh`: messages behind what the server counted, `mentioning`: of these, those that mention the person."""

    read_seq: int = 0
    counted_to: int = 0
    counted: int = 0
    counted_mentions: int = 0
    fresh: set[int] = field(default_factory=set)
    mentioning: set[int] = field(default_factory=set)

    @property
    def messages(self) -> int:
        return self.counted + len(self.fresh)

    @property
    def mentions(self) -> int:
        return self.counted_mentions + len(self.mentioning)

    def told(self, listed: Conversation) -> None:
        """The server counted."""
        upto = listed.last.seq if listed.last is not None else listed.head
        if upto >= self.counted_to:
            self.counted_to, self.counted, self.counted_mentions = upto, listed.unread, listed.mentions
        self._keep({seq for seq in self.fresh if seq > self.counted_to})
        self.read_seq = max(self.read_seq, listed.read_seq)

    def came(self, message: Message, me: str) -> None:
        """Somebody else's message is here."""
        told = message.membership
        if message.seq <= max(self.counted_to, self.read_seq) or (told is not None and told.by == me):
            return
        if message.recalled:
            return
        self.fresh.add(message.seq)
        if me in message.mentions or message.mention_all:
            self.mentioning.add(message.seq)

    def read(self, seq: int) -> None:
        """The person has read up to here, on whichever device."""
        self.read_seq = max(self.read_seq, seq)
        if self.read_seq >= self.counted_to:
            self.counted = self.counted_mentions = 0
        self._keep({seq for seq in self.fresh if seq > self.read_seq})

    def gone(self, seqs: Collection[int]) -> None:
        """These were taken back or hidden."""
        self._keep(self.fresh - set(seqs))

    def _keep(self, fresh: set[int]) -> None:
        self.fresh = fresh
        self.mentioning &= fresh
