"""What the messages at hand say now: read, changed by others and by this client, growing, expired, hidden. Pure.

Guarantees: those of copies.py, growing.py and own_changes.py together. What a frame says of messages is read here
before anything is made of its places (feed.py).

Does not know: which of it the application is shown, and when.
"""

from __future__ import annotations

from collections.abc import Iterator

from tidings.core.clock import ServerClock
from tidings.core.contents.copies import Copies
from tidings.core.contents.growing import Growing
from tidings.core.contents.own_changes import OwnChanges, entry_of, reacted_by
from tidings.core.messages.wants import WantMessage
from tidings.model import Expired, State, StreamGrew
from tidings_protocol import client_pb2 as pb


class Contents:
    def __init__(self) -> None:
        self.clock = ServerClock()
        self.copies = Copies()
        self._growing = Growing(self.copies)
        self._own = OwnChanges()

    def begin(self, user: str) -> None:
        """A session of this user."""
        self.copies.me = user

    def forget(self) -> None:
        """The data are others."""
        self.copies.clear()
        self._growing.clear()

    def read(self, frame: pb.ServerFrame) -> None:
        """Takes in what a frame says of messages; their changes wait for their turn (feed.py)."""
        for message in _messages_of(frame):
            self.copies.read(message)

    def asked(self, frame: pb.ClientFrame) -> None:
        """This client asks for something: perhaps a change."""
        self._own.asked(frame)

    def answered(self, sent: pb.Sent) -> pb.Message | None:
        """The entry of a change of this client, now that it is stored; None: it was none, or has no place yet."""
        change = self._own.answered(sent)
        if change is None or not sent.HasField("state"):
            return None
        if not sent.seq:
            added, removed = reacted_by(change, self.copies.me)
            self.copies.restate(change.conversation, change.seq, State.from_proto(sent.state), added, removed)
            return None
        return entry_of(change, sent, self.copies.me)

    def grew(self, part: pb.StreamPart, now: float) -> tuple[list[StreamGrew], WantMessage | None]:
        """A part of a stream: what the application is told, and what is to be asked."""
        return self._growing.part(part, now)

    def read_again(self, want: WantMessage) -> list[StreamGrew]:
        """A stream of which a part was lost is here."""
        return self._growing.read(want.conversation, want.seq)

    def hide(self, hidden: pb.Hidden | pb.Hide) -> None:
        self.copies.hide(hidden.conversation, hidden.seqs, hidden.through)

    def expire(self, now: float) -> Iterator[Expired]:
        """What has no content any more from now on."""
        return map(Expired, self.copies.expire(self.clock.time_ms(now)))

    def next_wake(self) -> float | None:
        time_ms = self.copies.next_expiry_ms()
        return self.clock.when(time_ms) if time_ms is not None else None


def _messages_of(frame: pb.ServerFrame) -> list[pb.Message]:
    match frame.WhichOneof("body"):
        case "deliver":
            return [entry.message for entry in frame.deliver.entries]
        case "page":
            return [entry.message for entry in frame.page.entries]
        case "conversation_page":
            return [listed.last for listed in frame.conversation_page.conversations]
        case "search_page":
            return [hit.message for hit in frame.search_page.hits]
        case _:
            return []
