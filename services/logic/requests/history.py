"""`history` requests: pages of one conversation, for those who may read it.

Guarantees: a reply for each request, in their order. Storage is asked once for the groups of a batch and once for each
owner of its conversations. Who may read is decided on what storage says now, not on memory: a former member reads
nothing. A limit over the maximum is cut to it, a page holds about `page_bytes_max`.

Does not know: how pages are found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.logic.groups.loader import FoundGroups, GroupLoader, group_in
from services.logic.groups.permissions import check_read
from services.logic.requests.pages import message_page
from services.logic.requests.request import ClientRequest, Handler, Reply, page_limit, passing
from services.logic.storage_client import StorageClient
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest
from tidings_protocol.ids import check_conversation

LIMIT_DEFAULT, LIMIT_MAX = 50, 200


class HistoryReader:
    """Answers batches of `history` requests."""

    def __init__(self, storage: StorageClient, loader: GroupLoader, *, page_bytes_max: int) -> None:
        self._storage = storage
        self._loader = loader
        self._page_bytes_max = page_bytes_max

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By the names of operations."""
        return {"history": self.history}

    async def history(self, requests: Sequence[ClientRequest]) -> list[Reply]:
        """The messages before or after each request's seq; an error where the request is wrong or not allowed."""
        replies: dict[int, Reply] = {}
        checked = passing(requests, replies, lambda request: _check_shape(request.frame.history))
        groups = await self._loader.load_for(
            (requests[index].frame.history.conversation, requests[index].user) for index in checked
        )
        items = passing(requests, replies, lambda request: self._item(request, groups), checked)
        outcomes = await self._storage.history(list(items.values()))
        for (index, item), outcome in zip(items.items(), outcomes, strict=True):
            replies[index] = message_page(outcome, "history", item.after if item.HasField("after") else item.before)
        return [replies[index] for index in range(len(requests))]

    def _item(self, request: ClientRequest, groups: FoundGroups) -> pb.HistoryItem:
        """What storage is asked for; raises what forbids it."""
        history = request.frame.history
        group = group_in(groups, history.conversation)
        return pb.HistoryItem(
            conversation=history.conversation,
            before=history.before if history.HasField("before") else None,
            after=history.after if history.HasField("after") else None,
            limit=page_limit(history.limit, LIMIT_DEFAULT, LIMIT_MAX),
            first_seq=check_read(history.conversation, request.user, group),
            bytes_max=self._page_bytes_max,
            changes=history.changes,
            user=request.user,
        )


def _check_shape(history: client_pb2.History) -> None:
    check_conversation(history.conversation)
    if history.HasField("before") and history.HasField("after"):
        raise BadRequest("`before` and `after` are both set: give one of them")
