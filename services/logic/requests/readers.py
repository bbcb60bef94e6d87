"""`readers` requests: who has read, or received, a message.

Guarantees: a reply for each request, in their order. A limit over the maximum is cut to it.

Does not know: who may ask, and where (the owner of the conversation does).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.logic.requests.request import ClientRequest, Handler, Reply, page_limit, passing
from services.logic.storage_client import StorageClient
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import check_conversation

LIMIT_DEFAULT, LIMIT_MAX = 50, 200


class ReadersReader:
    """Answers batches of `readers` requests."""

    def __init__(self, storage: StorageClient) -> None:
        self._storage = storage

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By the names of operations."""
        return {"readers": self.readers}

    async def readers(self, requests: Sequence[ClientRequest]) -> list[Reply]:
        """Pages of members, by user id."""
        replies: dict[int, Reply] = {}
        asked = passing(requests, replies, lambda request: check_conversation(request.frame.readers.conversation))
        outcomes = await self._storage.readers([_item(requests[index]) for index in asked])
        for index, outcome in zip(asked, outcomes, strict=True):
            replies[index] = outcome if isinstance(outcome, TidingsError) else _page(outcome)
        return [replies[index] for index in range(len(requests))]


def _item(request: ClientRequest) -> pb.ReadersItem:
    asked = request.frame.readers
    return pb.ReadersItem(
        conversation=asked.conversation,
        user=request.user,
        seq=asked.seq,
        delivered=asked.delivered,
        after=asked.after,
        limit=page_limit(asked.limit, LIMIT_DEFAULT, LIMIT_MAX),
    )


def _page(outcome: pb.ReadersOutcome) -> client_pb2.ServerFrame:
    page = client_pb2.ReaderPage(
        users=outcome.users,
        count=outcome.count,
        next=outcome.users[-1] if outcome.users else "",
        more=outcome.more,
    )
    return client_pb2.ServerFrame(reader_page=page)
