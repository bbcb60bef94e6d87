"""`reactors` requests: pages of those who reacted to one message, for those who may read it.

Guarantees: a reply for each request, in their order. Storage is asked once for the groups of a batch and once for each
owner of its conversations. Who may read is decided on what storage says now, not on memory. A limit over the maximum is
cut to it.

Does not know: how pages are found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.logic.groups.loader import FoundGroups, GroupLoader, group_in
from services.logic.groups.permissions import check_read
from services.logic.requests.request import ClientRequest, Handler, Reply, page_limit, passing
from services.logic.storage_client import StorageClient
from tidings_protocol import client_pb2
from tidings_protocol.changes import reaction_of
from tidings_protocol.errors import BadRequest, TidingsError
from tidings_protocol.ids import check_conversation

LIMIT_DEFAULT, LIMIT_MAX = 50, 200


class ReactorsReader:
    """Answers batches of `reactors` requests."""

    def __init__(self, storage: StorageClient, loader: GroupLoader) -> None:
        self._storage = storage
        self._loader = loader

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By the names of operations."""
        return {"reactors": self.reactors}

    async def reactors(self, requests: Sequence[ClientRequest]) -> list[Reply]:
        """Who gave each request's message its reactions; an error where the request is wrong or not allowed."""
        replies: dict[int, Reply] = {}
        checked = passing(requests, replies, lambda request: _check_shape(request.frame.reactors))
        groups = await self._loader.load_for(
            (requests[index].frame.reactors.conversation, requests[index].user) for index in checked
        )
        items = passing(requests, replies, lambda request: _item(request, groups), checked)
        outcomes = await self._storage.reactors(list(items.values()))
        for index, outcome in zip(items, outcomes, strict=True):
            replies[index] = outcome if isinstance(outcome, TidingsError) else _page(outcome)
        return [replies[index] for index in range(len(requests))]


def _check_shape(asked: client_pb2.ReactorsRequest) -> None:
    check_conversation(asked.conversation)
    if not asked.seq:
        raise BadRequest("the request names no message: give its `seq`")


def _item(request: ClientRequest, groups: FoundGroups) -> pb.ReactorsItem:
    """What storage is asked for; raises what forbids it."""
    asked = request.frame.reactors
    return pb.ReactorsItem(
        conversation=asked.conversation,
        seq=asked.seq,
        reaction=reaction_of(asked.reaction) if asked.reaction else "",
        after=asked.after,
        limit=page_limit(asked.limit, LIMIT_DEFAULT, LIMIT_MAX),
        first_seq=check_read(asked.conversation, request.user, group_in(groups, asked.conversation)),
    )


def _page(outcome: pb.ReactorsOutcome) -> client_pb2.ServerFrame:
    page = client_pb2.ReactorPage(reactors=outcome.reactors, next=outcome.next, more=outcome.more)
    return client_pb2.ServerFrame(reactor_page=page)
