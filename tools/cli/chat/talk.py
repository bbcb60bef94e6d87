"""One conversation of the chat, and its lines. Pure.

Does not know: where they come from (model.py), how they are drawn (render.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from tidings import ConversationKind, Message, MessageState, Preferences, Role
from tools.cli.chat.unread import Unread


@dataclass(slots=True)
class Line:
    """A message, or a note of the program (`sender` empty). `place`: what it is sorted by.

    `message`: as it is now; None while it is on its way, and of notes.
    """

    place: tuple[int, int]
    sender: str
    text: str
    time_ms: int
    seq: int = 0
    client_id: str = ""
    reply_to: int = 0
    state: MessageState | None = None
    reason: str = ""
    system: bool = False
    mentions: tuple[str, ...] = ()
    message: Message | None = None


@dataclass(slots=True)
class Talk:
    """One conversation as the chat shows it. `loaded`: its newest page of history is here.

    `new_from`: the first seq that was unread as the person came here; 0: none. `people`: who may be mentioned.
    `in_at`, `out_at`: the newest places at which the person was known to be in, and to be out.
    """

    id: str
    name: str
    kind: ConversationKind
    head: int = 0
    others_delivered: int = 0
    others_read: int = 0
    large: bool = False
    last_ms: int = 0
    loaded: bool = False
    more_before: bool = True
    lines: list[Line] = field(default_factory=list)
    typing: dict[str, float] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    counted: Unread = field(default_factory=Unread)
    new_from: int = 0
    people: set[str] = field(default_factory=set)
    preferences: Preferences | None = None
    role: Role = Role.NONE
    pinned: tuple[int, ...] = ()
    requests: int = 0
    in_at: int = 0
    out_at: int = 0

    @property
    def left(self) -> bool:
        """Whether the person is no member any more, and what is here stays to be read."""
        return self.out_at > self.in_at

    @property
    def read_seq(self) -> int:
        return self.counted.read_seq

    @property
    def unread(self) -> int:
        return self.counted.messages

    @property
    def mentions(self) -> int:
        return self.counted.mentions

    def line(self, seq: int) -> Line | None:
        """The line of this message, if it is here."""
        if seq not in self.seen:
            return None
        return next((line for line in self.lines if line.seq == seq), None)

    def newest(self, *, by: str = "") -> Line | None:
        """The newest message here (of this user) that has not been taken back."""
        for line in reversed(self.lines):
            if line.seq and line.message is not None and not line.message.recalled and by in ("", line.sender):
                return line
        return None

    @property
    def oldest(self) -> int:
        """The lowest seq that is here; 0: none."""
        return min(self.seen, default=0)

    def state_of(self, line: Line) -> MessageState | None:
        """The state of a line of our own."""
        if not line.seq:
            return line.state
        if line.seq <= self.others_read:
            return MessageState.READ
        return MessageState.DELIVERED if line.seq <= self.others_delivered else MessageState.SENT


def note_membership(talk: Talk, message: Message, me: str) -> None:
    """What a notice of the group says of the person's own membership, in whatever order notices are read."""
    told = message.membership
    if told is None:
        return
    mine = me in told.users or (told.by == me and told.act in ("create", "join", "leave"))
    if told.act == "dissolve" or (mine and told.act in ("leave", "remove", "ban")):
        talk.out_at = max(talk.out_at, message.seq)
    elif mine and told.act in ("create", "join", "add"):
        talk.in_at = max(talk.in_at, message.seq)


def prefer(preferences: Preferences | None, conversation: str, **given: Any) -> Preferences:
    """The preferences with these set."""
    return replace(preferences or Preferences(conversation), **given)


def is_hidden(talk: Talk) -> bool:
    """Whether the person wants to see it only when something new comes."""
    return talk.preferences is not None and talk.preferences.hidden


def rank(talk: Talk) -> tuple[int, int]:
    """Its place in the list."""
    told = talk.preferences
    place = 0 if told is None else 1 if told.archived else -1 if told.pinned else 0
    return place, -talk.last_ms
