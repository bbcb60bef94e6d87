"""`conversations` requests: the list of what a user is in, the most recent first, with what is unread.

Guarantees: a reply for each request, in their order; storage is asked once for each owner of a batch's users. A limit
over the maximum is cut to it, a page holds about `page_bytes_max`.

Does not know: how the list is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.logic.requests.pages import show_message
from services.logic.requests.request import ClientRequest, Handler, Reply, page_limit
from services.logic.storage_client import StorageClient
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import ConversationKind, kind_of, other_of

LIMIT_DEFAULT, LIMIT_MAX = 50, 200


class ConversationLister:
    """Answers batches of `conversations` requests."""

    def __init__(self, storage: StorageClient, *, page_bytes_max: int) -> None:
        self._storage = storage
        self._page_bytes_max = page_bytes_max

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By the names of operations."""
        return {"conversations": self.conversations}

    async def conversations(self, requests: Sequence[ClientRequest]) -> list[Reply]:
        """The entries after each request's position."""
        items = [
            pb.ConversationsItem(
                user=request.user,
                after=request.frame.conversations.after,
                limit=page_limit(request.frame.conversations.limit, LIMIT_DEFAULT, LIMIT_MAX),
                bytes_max=self._page_bytes_max,
            )
            for request in requests
        ]
        outcomes = await self._storage.conversations(items)
        return [
            outcome if isinstance(outcome, TidingsError) else _page(item.user, outcome)
            for item, outcome in zip(items, outcomes, strict=True)
        ]


def _page(user: str, outcome: pb.ConversationsOutcome) -> client_pb2.ServerFrame:
    page = client_pb2.ConversationPage(next=outcome.next, more=outcome.more)
    for entry in outcome.entries:
        record = entry.record
        kind = kind_of(record.conversation)
        shown = page.conversations.add(
            conversation=record.conversation,
            name=other_of(record.conversation, user) if kind is ConversationKind.DIRECT else record.name,
            kind=client_pb2.Conversation.Kind.ValueType(kind),
            head=record.head,
            # What retention took is nobody's unread message.
            read_seq=max(entry.me.read_seq, record.first_seq - 1),
            peer_delivered_seq=entry.peer.delivered_seq,
            peer_read_seq=entry.peer.read_seq,
            large_from=record.large_from,
            unread=entry.unread,
            unread_mentions=entry.unread_mentions,
            first_mention_seq=entry.first_mention_seq,
            preferences=entry.preferences if entry.HasField("preferences") else None,
            hidden_through=entry.hidden_through,
            peer=other_of(record.conversation, user) if kind is ConversationKind.DIRECT else "",
            read_ordinal=entry.read_ordinal,
            pinned=record.pinned,
        )
        if entry.last:
            show_message(entry.last, shown.last)
    return client_pb2.ServerFrame(conversation_page=page)
