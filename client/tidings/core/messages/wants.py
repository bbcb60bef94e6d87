"""What the feed asks of the server by itself. Pure values, and their frames."""

from __future__ import annotations

from dataclasses import dataclass

from tidings_protocol import client_pb2 as pb

SYNC_LIMIT = 200
HISTORY_LIMIT = 200
LIST_LIMIT = 200


@dataclass(frozen=True, slots=True)
class WantSync:
    """The inbox behind this number."""

    after: int


@dataclass(frozen=True, slots=True)
class WantHistory:
    """What a conversation holds behind this seq."""

    conversation: str
    after: int


@dataclass(frozen=True, slots=True)
class WantInfo:
    """Asks about a group that is new to this device: do its members read what was before them?"""

    conversation: str


@dataclass(frozen=True, slots=True)
class WantList:
    """The user's conversations, to see from where on a new one is read."""

    after: str
    last_pass: bool = False  # what moves to the front while the pages are read is found by a second pass


@dataclass(frozen=True, slots=True)
class WantMessage:
    """One message as it is now: a stream of which a part was lost."""

    conversation: str
    seq: int


Want = WantSync | WantHistory | WantInfo | WantList


def question(want: Want) -> pb.ClientFrame:
    """The frame that asks for it."""
    match want:
        case WantSync(after):
            return pb.ClientFrame(sync=pb.Sync(after=after, limit=SYNC_LIMIT))
        case WantHistory(conversation, seq):
            # With the changes: they are entries that this device holds like any other.
            asked = pb.History(conversation=conversation, after=seq, limit=HISTORY_LIMIT, changes=True)
            return pb.ClientFrame(history=asked)
        case WantInfo(group):
            return pb.ClientFrame(group=pb.GroupRequest(info=pb.GroupRequest.Info(conversation=group)))
        case WantList(place, _):
            return pb.ClientFrame(conversations=pb.ListConversations(after=place, limit=LIST_LIMIT))
