"""The ends of streams that the hook is asked about: what it is shown, and the recall if it refuses.

The parts of a stream are told as they come, so the hook sees the whole text when the stream ends. It lies in the
message by then, or comes with the `finish`. What the hook lets through, or makes of it, becomes the text of the
`finish`, so that what is stored is what it has seen. If it refuses, the message is recalled by the operator.

Guarantees: the hook is asked about a stream of who ends it alone, so nobody has another's message recalled; about
anything else it is not asked, and storage refuses it. An end whose text is not all written yet is to be tried again.

Does not know: the hook (hooked_sends.py), how a message is recalled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from protos.tidings.internal.v1 import common_pb2, logic_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from services.logic.messages.draft import SendDraft
from services.logic.messages.hook_endpoint import Candidate
from services.logic.storage_client import StorageClient
from tidings_protocol import client_pb2
from tidings_protocol.content import NOTICE_PREFIX
from tidings_protocol.errors import TidingsError, Unavailable
from tidings_protocol.ids import OPERATOR

NOT_WRITTEN_RETRY_MS: Final = 500
# One message, however long its text is.
_PAGE_BYTES: Final = 1_048_576


class StreamEnds:
    """Reads the texts of streams that end."""

    def __init__(self, storage: StorageClient) -> None:
        self._storage = storage

    async def complete(self, drafts: Sequence[SendDraft]) -> None:
        """Gives each of these ends the content that the hook is asked about, or its error."""
        outcomes = await self._storage.history([_item_of(draft) for draft in drafts])
        for draft, outcome in zip(drafts, outcomes, strict=True):
            if isinstance(outcome, TidingsError):
                draft.error = outcome
            else:
                _complete(draft, outcome)


def recall_item(conversation: str, seq: int) -> logic_pb2.SendItem:
    """The recall of a message by the operator, because the hook refuses it; the same each time."""
    change = client_pb2.Change(seq=seq, recall=client_pb2.Change.Recall())
    return logic_pb2.SendItem(
        sender=OPERATOR,
        conversation=conversation,
        client_id=f"{NOTICE_PREFIX}refused {seq}",
        special=common_pb2.Special(change=change.SerializeToString()),
    )


def candidate_of(end: client_pb2.Message) -> Candidate:
    """What the hook is asked about a stream that storage has ended (its CHANGE)."""
    content = client_pb2.Content(text=end.change.finish.text).SerializeToString()
    return Candidate(end.conversation, end.sender, end.client_id, content, "finish", end.change.seq)


def with_text(special: common_pb2.Special, content: bytes) -> common_pb2.Special:
    """A `finish` whose text is that of this content."""
    change = client_pb2.Change.FromString(special.change)
    change.finish.text = client_pb2.Content.FromString(content).text
    return common_pb2.Special(change=change.SerializeToString())


def _item_of(draft: SendDraft) -> pb.HistoryItem:
    assert draft.change is not None
    return pb.HistoryItem(
        conversation=draft.item.conversation, after=draft.change.seq - 1, limit=1, bytes_max=_PAGE_BYTES
    )


def _complete(draft: SendDraft, page: pb.PageOutcome) -> None:
    assert draft.change is not None
    finish = draft.change.finish
    message = client_pb2.Message()
    if page.entries:
        message.ParseFromString(page.entries[0].message)
    if message.seq != draft.change.seq or message.sender != draft.item.sender or not message.state.streaming:
        draft.skips_hook = True
    elif not finish.text and message.state.parts < finish.parts:
        draft.error = Unavailable("not all parts of the stream are written yet: try again", NOT_WRITTEN_RETRY_MS)
    else:
        text = finish.text or message.content.text
        draft.content = client_pb2.Content(text=text).SerializeToString()
