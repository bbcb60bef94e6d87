"""What the owner of a conversation has of it in memory.

A `CachedConversation` is made by a cold load, altered only by the lane of its conversation (cursors also by marks), and
dropped whenever its truth is in doubt: after a write with an unknown outcome, after a change of the ring.

Guarantees: no I/O. `settled` is the highest seq up to which everything that follows from the messages is durable.
Does not know: when it is loaded, dropped, written behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from protos.tidings.internal.v1 import storage_pb2
from services.storage.limits import LEAD_MAX_MS
from services.storage.repository.records import (
    CHANGE,
    ConversationDocument,
    MemberCursor,
    MemberDocument,
    StoredMessage,
    Watermark,
)
from tidings_protocol.ids import ConversationKind, other_of, slot_of

# Members of a large group that are kept in memory; those looked up first are forgotten first.
KNOWN_MAX = 2000
# What a conversation weighs besides its members, counted in members: 1.1 to 1.2 KB, while a member takes 330 bytes, and
# 400 while a cursor of theirs waits to be written (tracemalloc, 20 to 200 members, each with strings of its own).
OWN_WEIGHT = 4
MEMBER_BYTES = 400
# CHANGEs of a conversation of which is remembered that they are: most of what is replied to is young.
CHANGES_MAX = 16
# What is written of the watermarks of one that has none.
UNWRITTEN = (0,) * 8
NOBODY: frozenset[str] = frozenset()


@dataclass(slots=True)
class CachedMember:
    """A member as of now, whose cursors may be ahead of what is written."""

    user: str
    role: int = 1
    joined_seq: int = 1
    joined_ms: int = 0
    read_seq: int = 0
    delivered_seq: int = 0
    muted_until_ms: int = 0

    @staticmethod
    def from_document(document: MemberDocument) -> CachedMember:
        return CachedMember(
            document.user,
            document.role,
            document.joined_seq,
            document.joined_ms,
            document.read_seq,
            document.delivered_seq,
            document.muted_until_ms,
        )

    def record(self) -> storage_pb2.MemberRecord:
        return storage_pb2.MemberRecord(
            user=self.user,
            role=self.role,
            joined_seq=self.joined_seq,
            read_seq=self.read_seq,
            delivered_seq=self.delivered_seq,
            joined_ms=self.joined_ms,
            muted_until_ms=self.muted_until_ms,
        )


@dataclass(slots=True, eq=False)
class CachedConversation:
    """`members` are all of a conversation that is not large; of a large group, and of b:all, those that were looked up.

    `moved` are the cursors that are not written yet. `exists`: its document is there. `was_ahead`: the document may
    have a time from a clock that was wrong, which is replaced though times never go back otherwise. `told`: the
    events up to this seq are published; `told_stamp`: those of changes without notices, up to this stamp. `fed` and
    `fed_stamp`: up to where the feed of events has them. `changes`: how many entries up to the head are of kind CHANGE;
    `shown`: the seq of the newest that is not. `change_seqs`: those of the CHANGEs from `changes_from` on. `blockers`:
    who of a direct chat takes no messages from the other. `marked`: who has marked it as unread, and perhaps some who
    have not any more.
    """

    id: str
    kind: ConversationKind
    document: ConversationDocument
    exists: bool = False
    head: int = 0
    settled: int = 0
    last_ms: int = 0
    first_seq: int = 0
    was_ahead: bool = False
    members: dict[str, CachedMember] = field(default_factory=dict)
    moved: dict[str, MemberCursor] = field(default_factory=dict)
    told: int = 0
    told_stamp: int = 0
    fed: int = 0
    fed_stamp: int = 0
    changes: int = 0
    shown: int = 0
    change_seqs: tuple[int, ...] = ()
    changes_from: int = 1
    written: tuple[int, ...] = UNWRITTEN
    # Who sent the newest message, and from which on all are theirs.
    run: tuple[str, int] = ("", 0)
    # Of a slow group: when its members sent last, as far as that was asked for.
    paces: dict[str, int] | None = None
    blockers: frozenset[str] = NOBODY
    marked: frozenset[str] = NOBODY
    slot: int = field(init=False)

    def __post_init__(self) -> None:
        self.slot = slot_of(self.id)

    @property
    def is_large(self) -> bool:
        """Whether it is read by cursor: nobody gets inbox entries, and not all members are in memory."""
        return self.document.large_from > 0

    @property
    def knows_all(self) -> bool:
        """Whether a user who is not in `members` is no member."""
        document = self.document
        return document.dissolved or (document.large_from == 0 and self.kind is not ConversationKind.BROADCAST)

    @property
    def ordinal(self) -> int:
        """How many entries up to the head count as unread."""
        return self.head - self.changes

    def may_read(self, user: str, seq: int) -> bool:
        """Whether this entry lies at or behind the user's joining; who is not in memory may."""
        member = self.members.get(user)
        return member is None or member.joined_seq <= seq

    def refuses(self, user: str) -> bool:
        """Whether the other one of this direct chat takes no messages from this user."""
        return bool(self.blockers) and other_of(self.id, user) in self.blockers

    @property
    def weight(self) -> int:
        """What the conversation takes in memory, counted in members."""
        return len(self.members) + OWN_WEIGHT

    @property
    def is_dirty(self) -> bool:
        """Whether something is to be written behind."""
        return bool(self.moved) or (self.exists and self.written != self._watermarks())

    def has_settled(self, seq: int) -> bool:
        """Whether all that follows from this message is durable: only then may a repeat of it be answered."""
        return seq <= self.settled

    @property
    def is_fed(self) -> bool:
        """Whether the feed of events has all that is to be told of it. Changes without notices are of large groups."""
        return self.fed >= self.head and (not self.is_large or self.fed_stamp >= self.document.stamp)

    def doubt_time(self, now_ms: int) -> None:
        """Replaces a time that leads by more than LEAD_MAX_MS: otherwise the conversation stood first in lists for
        days.
        """
        if self.last_ms > now_ms + LEAD_MAX_MS:
            self.last_ms, self.was_ahead = now_ms, True

    def stored_change(self, seq: int) -> None:
        """The entry that is the head now is a CHANGE."""
        self.changes += 1
        self.change_seqs = (*self.change_seqs[-CHANGES_MAX + 1 :], seq)
        if len(self.change_seqs) == CHANGES_MAX:
            self.changes_from = max(self.changes_from, self.change_seqs[0])

    def is_message(self, seq: int) -> bool:
        """Whether the entry, which is there, is surely no CHANGE, by what is in memory."""
        if not self.changes:
            return True
        return seq >= self.changes_from and seq not in self.change_seqs

    def learn(self, document: MemberDocument) -> CachedMember:
        """Keeps a member that was looked up or changed, with the cursors that moved since: they may be written by now,
        while the document was read, or decided, before.
        """
        before = self.members.pop(document.user, None)
        if len(self.members) >= KNOWN_MAX and not self.knows_all:
            del self.members[next(iter(self.members))]
        member = self.members[document.user] = CachedMember.from_document(document)
        for later in (before, self.moved.get(document.user)):
            if later is not None:
                member.read_seq = max(member.read_seq, later.read_seq)
                member.delivered_seq = max(member.delivered_seq, later.delivered_seq)
        return member

    def move(self, user: str, read_seq: int, delivered_seq: int) -> bool:
        """Moves a member's cursors up, not beyond the head; what is read is delivered. Whether anything moved."""
        read_seq, delivered_seq = min(read_seq, self.head), min(max(read_seq, delivered_seq), self.head)
        member = self.members.get(user)
        if member is None:
            # A member of a large group that is not in memory: the write itself never goes back.
            before = self.moved.get(user)
            if before is not None:
                read_seq, delivered_seq = max(read_seq, before.read_seq), max(delivered_seq, before.delivered_seq)
            self.moved[user] = MemberCursor(self.id, user, read_seq, delivered_seq)
            return True
        if member.read_seq >= read_seq and member.delivered_seq >= delivered_seq:
            return False
        member.read_seq = max(member.read_seq, read_seq)
        member.delivered_seq = max(member.delivered_seq, delivered_seq)
        self.moved[user] = MemberCursor(self.id, user, member.read_seq, member.delivered_seq)
        return True

    def take_over(self, before: CachedConversation) -> None:
        """Moves cursors up to where the one that this one replaces had moved them, as far as they are not written."""
        for cursor in before.moved.values():
            self.move(cursor.user, cursor.read_seq, cursor.delivered_seq)
        if before.marked:
            self.marked = self.marked | before.marked

    def take_tail(self, tail: Sequence[StoredMessage]) -> None:
        """The log goes on with these, up to its end; the newest may have a time that is not that of a message."""
        newest = tail[-1]
        self.head, self.changes = newest.seq, newest.before + (newest.kind == CHANGE)
        self.change_seqs = tuple(each.seq for each in tail if each.kind == CHANGE)[-CHANGES_MAX:]
        self.changes_from = self.change_seqs[0] if len(self.change_seqs) == CHANGES_MAX else tail[0].seq
        shown = next((each for each in reversed(tail) if each.kind != CHANGE), None)
        if shown is not None:
            self.shown, self.last_ms = shown.seq, shown.time_ms

    def sent(self, user: str, seq: int) -> bool:
        """A message of this user is in, after all others. It moves their position, unless something lies before it that
        is not their own and that no device of theirs is known to hold: then they have not seen it either. Whether it
        passed over something that they had not read.
        """
        if self.run[0] != user:
            self.run = user, seq
        before = self.run[1] - 1
        member = self.members.get(user)
        if member is None or (member.read_seq < before and member.delivered_seq < before):
            return False
        passed = member.read_seq < before
        if seq > member.read_seq or seq > member.delivered_seq:  # not, when a load looks at an older one again
            member.read_seq, member.delivered_seq = max(seq, member.read_seq), max(seq, member.delivered_seq)
            self.moved[user] = MemberCursor(self.id, user, member.read_seq, member.delivered_seq)
        return passed

    def pace(self, user: str, sent_ms: int) -> None:
        """Notes when this member of a slow group has sent last, or was found to have."""
        if self.paces is None:
            self.paces = {}
        if len(self.paces) >= KNOWN_MAX and user not in self.paces:
            del self.paces[next(iter(self.paces))]
        self.paces[user] = max(sent_ms, self.paces.get(user, 0))

    def take_watermark(self) -> Watermark | None:
        """What to write behind, as if it were written; None if there is nothing. `put_back` if it was not."""
        marks = self._watermarks()
        if not self.exists or marks == self.written:
            return None
        applied = self.document.stamp if self.written[3] != self.document.stamp else 0
        self.written = marks
        return Watermark(
            self.id,
            self.head,
            self.settled,
            self.last_ms,
            0,
            applied,
            self.was_ahead,
            self.told,
            self.told_stamp,
            self.changes,
            self.shown,
        )

    def take_cursors(self) -> list[MemberCursor]:
        moved = list(self.moved.values())
        self.moved = {}
        return moved

    def put_back(self, cursors: list[MemberCursor]) -> None:
        """Notes that the write failed: all is to be written again."""
        self.written = UNWRITTEN
        for cursor in cursors:
            later = self.moved.get(cursor.user, cursor)
            self.moved[cursor.user] = MemberCursor(
                self.id,
                cursor.user,
                max(cursor.read_seq, later.read_seq),
                max(cursor.delivered_seq, later.delivered_seq),
            )

    def record(self) -> storage_pb2.ConversationRecord:
        document = self.document
        return storage_pb2.ConversationRecord(
            conversation=self.id,
            kind=int(self.kind),
            name=document.name,
            open=document.open,
            channel=document.channel,
            share_history=document.share_history,
            large_from=document.large_from,
            head=self.head,
            version=document.version,
            member_count=document.member_count,
            first_seq=self.first_seq,
            exists=self.exists,
            last_ms=self.last_ms,
            ordinal=self.ordinal,
            shown=self.shown,
            settings=document.settings,
            bans=document.bans,
            dissolved=document.dissolved,
            blockers=sorted(self.blockers),
            pinned=[seq for seq in document.pinned if seq >= self.first_seq],
        )

    def _watermarks(self) -> tuple[int, ...]:
        document = self.document
        return (
            self.head,
            self.settled,
            self.last_ms,
            document.stamp,
            self.told,
            self.told_stamp,
            self.changes,
            self.shown,
        )
