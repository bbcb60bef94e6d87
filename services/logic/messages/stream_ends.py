"""The ends of streams that the hook is asked about: what it is shown, and the recall if it refuses.

The parts of a stream are told as they come, so the hook sees the whole text when the stream ends. It comes with the
`finish`, or is asked of the owner of the conversation, who has all parts. What the hook lets through, or makes of it,
becomes the text of the `finish`, so that what is stored is what it has seen. If it refuses, the message is recalled by
the operator.

Guarantees: the hook is asked about an open stream of who ends it alone, so nobody has another's message recalled; about
anything else it is not asked, and storage refuses it. An end that says of parts which have not come has the error that
storage would give it.

Does not know: the hook (hooked_sends.py), how a message is recalled.
"""

from __future__ import annotations

from collections.abc import Sequence

from protos.tidings.internal.v1 import common_pb2, logic_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from services.logic.messages.draft import SendDraft
from services.logic.messages.hook_endpoint import Candidate
from services.logic.storage_client import StorageClient
from tidings_protocol import client_pb2
from tidings_protocol.content import NOTICE_PREFIX
from tidings_protocol.errors import BadRequest, Blame, TidingsError
from tidings_protocol.ids import OPERATOR


class StreamEnds:
    """Asks for the texts of streams that end. `content_bytes_max`: of a whole text."""

    def __init__(self, storage: StorageClient, content_bytes_max: int) -> None:
        self._storage = storage
        self._content_bytes_max = content_bytes_max

    async def complete(self, drafts: Sequence[SendDraft]) -> None:
        """Gives each of these ends the content that the hook is asked about, or its error."""
        outcomes = await self._storage.stream_parts([_item_of(draft) for draft in drafts], self._content_bytes_max)
        for draft, outcome in zip(drafts, outcomes, strict=True):
            if not isinstance(outcome, TidingsError):
                _complete(draft, outcome)
            elif outcome.blame is Blame.CALLER:
                draft.skips_hook = True  # it is no stream of theirs: storage says so, or that it has ended before
            else:
                draft.error = outcome


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


def _item_of(draft: SendDraft) -> pb.PartItem:
    assert draft.change is not None
    return pb.PartItem(conversation=draft.item.conversation, seq=draft.change.seq, sender=draft.item.sender)


def _complete(draft: SendDraft, so_far: pb.PartOutcome) -> None:
    assert draft.change is not None
    finish = draft.change.finish
    if not finish.text and finish.parts > so_far.parts:
        wanted = so_far.parts + 1
        draft.error = BadRequest(
            f"part {wanted} of this stream has not come: send it and those after it again", next_part=wanted
        )
        return
    draft.content = client_pb2.Content(text=finish.text or so_far.text).SerializeToString()
