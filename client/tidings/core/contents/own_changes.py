"""The changes that this client asked for, for when their answers come. Pure.

Guarantees: the answer to a change becomes the entry that everybody else is pushed, so that it is taken in at its
place and by the same rules, whoever waits for it. At most `CHANGES_MAX` are remembered; of an older one only its place
counts.

Does not know: how a change is sent (outbox.py), what becomes of its message (fold.py).
"""

from __future__ import annotations

from collections import OrderedDict

from tidings.model import Reacted
from tidings_protocol import client_pb2 as pb

CHANGES_MAX = 2048


class OwnChanges:
    def __init__(self) -> None:
        self._changes: OrderedDict[tuple[str, str], pb.Change] = OrderedDict()

    def asked(self, frame: pb.ClientFrame) -> None:
        """Takes on a request, if it is a change."""
        if frame.HasField("change"):
            self._changes[frame.change.conversation, frame.change.client_id] = frame.change
            if len(self._changes) > CHANGES_MAX:
                self._changes.popitem(last=False)

    def answered(self, sent: pb.Sent) -> pb.Change | None:
        """The change that this is the answer to, however often it comes."""
        return self._changes.get((sent.conversation, sent.client_id))


def entry_of(change: pb.Change, sent: pb.Sent, user: str) -> pb.Message:
    """The entry that the others get of it."""
    entry = pb.Message(
        message_id=sent.message_id,
        conversation=sent.conversation,
        seq=sent.seq,
        sender=user,
        time_ms=sent.time_ms,
        kind=pb.Message.CHANGE,
        client_id=sent.client_id,
        change=pb.Change(seq=change.seq),
        state=sent.state,
    )
    shown = entry.change
    match change.WhichOneof("act"):
        case "react":
            shown.reacted.added.add(user=user, reaction=change.react)
        case "unreact":
            shown.reacted.removed.add(user=user, reaction=change.unreact)
        case "edit":
            shown.edit.CopyFrom(change.edit)
        case "finish":
            shown.finish.CopyFrom(change.finish)
        case "pin":
            shown.pin = change.pin
        case _:
            shown.recall.SetInParent()
    return entry


def reacted_by(change: pb.Change, user: str) -> tuple[tuple[Reacted, ...], tuple[Reacted, ...]]:
    """The user's reactions that came and went by it."""
    added = (Reacted(user, change.react),) if change.HasField("react") else ()
    removed = (Reacted(user, change.unreact),) if change.HasField("unreact") else ()
    return added, removed
