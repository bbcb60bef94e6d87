"""Pages of messages, as the application sees them: of a conversation's history, and of the user's inbox."""

from __future__ import annotations

from dataclasses import dataclass

from tidings.model.changes import MessageChanged
from tidings.model.messages import SHOWN, Message
from tidings_protocol import client_pb2 as pb


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Messages, oldest first. `more`: there are others in the direction asked. `truncated`: older ones are gone.

    `changes`: the changes among them, if they were asked for.
    """

    messages: tuple[Message, ...]
    head: int
    more: bool
    truncated: bool
    next: int
    changes: tuple[MessageChanged, ...] = ()

    @classmethod
    def from_proto(cls, page: pb.Page) -> HistoryPage:
        return cls(
            tuple(Message.from_proto(entry.message) for entry in page.entries if entry.message.kind in SHOWN),
            page.head,
            page.more,
            page.truncated,
            page.next,
            tuple(told for entry in page.entries if (told := MessageChanged.from_proto(entry.message)) is not None),
        )


@dataclass(frozen=True, slots=True)
class InboxPage:
    """Entries of the user's inbox: (number, message), ascending. `truncated`: older ones are gone.

    `changes`: the changes among them, in the same way; `stubs`: (number, conversation, seq) of those of which only the
    place is told, since the user has hidden what they are about, or may not read it.
    """

    entries: tuple[tuple[int, Message], ...]
    head: int
    more: bool
    truncated: bool
    next: int
    changes: tuple[tuple[int, MessageChanged], ...] = ()
    stubs: tuple[tuple[int, str, int], ...] = ()

    @classmethod
    def from_proto(cls, page: pb.Page) -> InboxPage:
        return cls(
            tuple(
                (entry.number, Message.from_proto(entry.message))
                for entry in page.entries
                if entry.message.kind in SHOWN
            ),
            page.head,
            page.more,
            page.truncated,
            page.next,
            tuple(
                (entry.number, told)
                for entry in page.entries
                if (told := MessageChanged.from_proto(entry.message)) is not None
            ),
            tuple(
                (entry.number, entry.message.conversation, entry.message.seq)
                for entry in page.entries
                if not entry.message.kind
            ),
        )
