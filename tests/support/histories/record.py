"""What the clients of one run did and were shown: the only thing that the verdict knows, kept as a file of JSON lines.

Times are seconds of the machine's monotonic clock, which all processes of a run share.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

# The file of a case's whole history, in its folder.
NAME = "history.jsonl"


class Change(msgspec.Struct, frozen=True, array_like=True):
    """What is done to the message `target`: `what` is edit, recall, pin, unpin, react or unreact. Of an entry of the
    log that tells of reactions, whoever gave or took them, it is reacted.
    """

    what: str
    target: int
    reaction: str = ""


class State(msgspec.Struct, frozen=True, array_like=True):
    """What changes made of a message. `reactions`: (reaction, how many, the first three users)."""

    revision: int = 0
    is_edited: bool = False
    recalled_by: str = ""
    is_pinned: bool = False
    reactions: tuple[tuple[str, int, tuple[str, ...]], ...] = ()


UNCHANGED = State()


class Stored(msgspec.Struct, frozen=True, array_like=True):
    """An entry as a client sees it. `system`: the cluster wrote it (a change of a group).

    `change`: it changes an earlier message; then `state` is that of what it changes, and `body` that of an edit, if the
    entry has it.
    """

    conversation: str
    seq: int
    message_id: str
    sender: str
    client_id: str
    body: str
    system: bool = False
    change: Change | None = None
    state: State = UNCHANGED


class Posted(msgspec.Struct, frozen=True, tag="posted"):
    """The application gave a message to the client, or asked for a change of one; `order` counts them per device.

    `text`: of the message, or of an edit; empty: it was not written down.
    """

    at: float
    user: str
    device: str
    order: int
    conversation: str
    client_id: str
    text: str = ""
    change: Change | None = None


class Acknowledged(msgspec.Struct, frozen=True, tag="acknowledged"):
    """The client said that the message is stored, and where. `seq` 0: of a change that has no place, or none yet."""

    at: float
    user: str
    device: str
    order: int
    conversation: str
    client_id: str
    seq: int
    message_id: str
    time_ms: int
    duplicate: bool


class GaveUp(msgspec.Struct, frozen=True, tag="gave_up"):
    """The client does not know what became of it: it may have been stored."""

    at: float
    user: str
    device: str
    client_id: str
    reason: str


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The client said that a change was refused for good."""

    at: float
    user: str
    device: str
    client_id: str
    code: str


class Shown(msgspec.Struct, frozen=True, tag="shown"):
    """The client showed a message, or a change of one, to the application."""

    at: float
    user: str
    device: str
    message: Stored


class Back(msgspec.Struct, frozen=True, tag="back"):
    """The application opened the client (the first time, or after it had been away on purpose)."""

    at: float
    user: str
    device: str


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """The server ended a session for good, which nobody had asked for."""

    at: float
    user: str
    device: str
    reason: str


class Member(msgspec.Struct, frozen=True, tag="member"):
    """A user who is in the conversation, with all its devices, and was told so at `since`: what is posted later is for
    it. 0: from the first message on."""

    conversation: str
    user: str
    devices: tuple[str, ...]
    since: float = 0.0


class Read(msgspec.Struct, frozen=True, tag="read"):
    """What a member found when all was over: the whole conversation, with the changes among its messages."""

    user: str
    conversation: str
    messages: tuple[Stored, ...]


class Inbox(msgspec.Struct, frozen=True, tag="inbox"):
    """What a device found when all was over: its user's whole inbox."""

    user: str
    device: str
    head: int
    entries: tuple[tuple[int, Stored], ...]


class Kept(msgspec.Struct, frozen=True, tag="kept"):
    """What the application of a device has of one conversation in the end: its own messages, and those that it was
    shown, each as the changes that it was shown left it.
    """

    user: str
    device: str
    conversation: str
    messages: tuple[Stored, ...]


Event = Posted | Acknowledged | GaveUp | Refused | Shown | Back | Ended | Member | Read | Inbox | Kept


def write(path: Path, events: Iterable[Event]) -> None:
    encoder = msgspec.json.Encoder()
    with path.open("wb") as file:
        for event in events:
            file.write(encoder.encode(event) + b"\n")


def read(path: Path) -> Iterator[Event]:
    decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
    with path.open("rb") as file:
        for line in file:
            yield decoder.decode(line)
