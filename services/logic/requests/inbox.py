"""`sync` requests: pages of a user's inbox.

Guarantees: a reply for each request, in their order; storage is asked once for each owner of a batch's users. A limit
over the maximum is cut to it, a page holds about `page_bytes_max`.

Does not know: how pages are found.
"""

from __future__ import annotations

from collections.abc import Sequence

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.logic.requests.pages import message_page
from services.logic.requests.request import ClientRequest, Reply, page_limit
from services.logic.storage_client import StorageClient

LIMIT_DEFAULT, LIMIT_MAX = 100, 500


class InboxReader:
    """Answers batches of `sync` requests."""

    def __init__(self, storage: StorageClient, *, page_bytes_max: int) -> None:
        self._storage = storage
        self._page_bytes_max = page_bytes_max

    async def sync(self, requests: Sequence[ClientRequest]) -> list[Reply]:
        """The entries after each request's number."""
        items = [
            pb.InboxItem(
                user=request.user,
                after=request.frame.sync.after,
                limit=page_limit(request.frame.sync.limit, LIMIT_DEFAULT, LIMIT_MAX),
                bytes_max=self._page_bytes_max,
            )
            for request in requests
        ]
        outcomes = await self._storage.inbox(items)
        return [message_page(outcome, "sync", item.after) for item, outcome in zip(items, outcomes, strict=True)]
