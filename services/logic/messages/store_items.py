"""What storage is asked of a draft: to store it, or to look whether it was stored before.

Guarantees: pure. What is only looked for is stored by no node, not even by one of an older version.

Does not know: what was decided about it, and why.
"""

from __future__ import annotations

from protos.tidings.internal.v1 import logic_pb2, storage_pb2
from services.logic.groups.recipients import Fanout
from services.logic.messages.draft import SendDraft
from services.logic.messages.stream_ends import with_text
from tidings_protocol.errors import BadRequest
from tidings_protocol.kinds import FINISH

# The version of no group, the seq of no message.
NEVER = 2**63 - 1


def store_item(draft: SendDraft) -> storage_pb2.StoreItem:
    """The draft as it is to be stored; it is permitted."""
    item, special, content = draft.item, draft.special, draft.content
    if draft.kind is FINISH and special is not None and content:
        # What the hook has seen is the text.
        special, content = with_text(special, content), b""
    return storage_pb2.StoreItem(
        conversation=item.conversation,
        sender=item.sender,
        client_id=item.client_id,
        content=content,
        kind=draft.kind.number,
        version=draft.fanout.version,
        recipients=draft.fanout.recipients,
        reply_to=item.reply_to,
        trace=item.trace,
        special=special,
        rights=draft.rights,
        slow_s=draft.slow_s,
    )


def look_item(draft: SendDraft) -> storage_pb2.StoreItem:
    """An item that no node stores, not even one of an older version, which knows nothing of `only_look`."""
    item = draft.item
    return storage_pb2.StoreItem(
        conversation=item.conversation,
        sender=item.sender,
        client_id=item.client_id,
        kind=draft.kind.number,
        version=NEVER,
        recipients=draft.fanout.recipients,
        reply_to=NEVER,
        trace=item.trace,
        only_look=True,
    )


def with_sender(fanout: Fanout, sender: str) -> Fanout:
    """The fan-out with the sender, also one who is no member any more and has an entry of long ago."""
    if fanout.by_cursor or sender in fanout.recipients:
        return fanout
    return Fanout((*fanout.recipients, sender), fanout.version)


def no_such_reply(item: logic_pb2.SendItem) -> BadRequest:
    """The refusal of a reply to what is not there."""
    return BadRequest(
        f"{item.conversation} has no message {item.reply_to} to reply to: "
        "give the seq of one that is there, or leave reply_to out"
    )
