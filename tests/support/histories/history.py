"""What the simulated clients did and saw, and what other systems were told: the only thing that the checker knows.

Plain values, in the order in which they happened; a history can be written out and compared, so that two runs of one
seed can be shown to be the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to the message at `target`: the name of the act of tidings.v1.Change. `text`: of an edit, a finish.
    `reacted`: (user, reaction, whether it came or went).
    """

    what: str
    target: int
    text: str = ""
    pinned: bool = False
    reacted: tuple[tuple[str, str, bool], ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """What changes made of a message. `reactions`: (reaction, how many, the first three users)."""

    revision: int = 0
    is_edited: bool = False
    recalled_by: str = ""
    is_pinned: bool = False
    reactions: tuple[tuple[str, int, tuple[str, ...]], ...] = ()


UNCHANGED = State()


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry as a client sees it: what it is for ever, its body as of then, and its state; of a CHANGE the state is
    that of what it changes, and the body that of an edit, if it has it.
    """

    conversation: str
    seq: int
    message_id: str
    sender: str
    client_id: str
    body: str
    act: str = ""  # of a message of the system: what changed
    change: Change | None = None  # its text left out
    state: State = UNCHANGED

    @property
    def identity(self) -> Stored:
        """What no change alters. Who reacted is gone from an entry when its message is recalled."""
        change = None if self.change is None else replace(self.change, reacted=())
        return replace(self, body="", change=change, state=UNCHANGED)


@dataclass(frozen=True, slots=True)
class Posted:
    """A send left on a connection as this frame; the first time or again."""

    connection: str
    frame: int
    user: str
    conversation: str
    client_id: str
    text: str = ""  # empty: not known
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The `sent` of that frame came back. Seq 0: a change without an entry of its own, for now or for ever."""

    connection: str
    frame: int
    user: str
    conversation: str
    client_id: str
    seq: int
    message_id: str
    time_ms: int
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Received:
    """A message came to a device: live, by sync, or by a page of history. Number 0: by a group's cursor."""

    user: str
    device: str
    number: int
    message: Stored


@dataclass(frozen=True, slots=True)
class Read:
    """What a reader found when all was over: a whole conversation, from its first message to its last."""

    user: str
    conversation: str
    messages: tuple[Stored, ...]


@dataclass(frozen=True, slots=True)
class Inbox:
    """What a device found when all was over: its user's whole inbox, by number."""

    user: str
    device: str
    head: int
    entries: tuple[tuple[int, Stored], ...]


@dataclass(frozen=True, slots=True)
class Member:
    """A user who is or was in the conversation: from which message to which (0: still), and with which devices."""

    conversation: str
    user: str
    devices: tuple[str, ...]
    from_seq: int = 1
    until_seq: int = 0


@dataclass(frozen=True, slots=True)
class Changed:
    """A change of a group was answered: it is done, or was so already."""

    conversation: str
    act: str
    by: str
    users: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """An event for other systems: of the message with this seq, or of an act."""

    conversation: str
    seq: int = 0
    act: str = ""
    by: str = ""
    users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dismissed:
    """A device, which has one connection at a time and numbers its logins, was told on it that another is newer."""

    user: str
    device: str
    connection: str


Event = Posted | Acknowledged | Received | Read | Inbox | Member | Changed | Told | Dismissed


@dataclass(slots=True)
class History:
    """Everything that happened to the clients of one run."""

    events: list[Event] = field(default_factory=list)
    listeners: list[Callable[[Event], None]] = field(default_factory=list)

    def add(self, event: Event) -> None:
        self.events.append(event)
        for listener in self.listeners:
            listener(event)

    def digest(self) -> str:
        """A digest that is the same for two runs in which the same happened."""
        return hashlib.sha256("\n".join(map(repr, self.events)).encode()).hexdigest()[:16]
