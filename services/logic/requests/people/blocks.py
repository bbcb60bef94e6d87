"""`block` requests: whom a user blocks.

Guarantees: a reply for each request, in their order. `ok` is durable, and in force for messages; for signals and
presence it is so within two seconds, everywhere. A limit over the maximum is cut to it.

Does not know: what follows from a block (storage, people/blocks.py, the access nodes).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from protos.tidings.internal.v1 import delivery_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.clock import Clock
from services.logic.people.news import PeopleNews
from services.logic.requests.request import ClientRequest, Handler, Reply, ok_reply, page_limit, passing
from services.logic.storage_client import StorageClient
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, TidingsError
from tidings_protocol.ids import check_user

USERS_MAX: Final = 100
LIMIT_DEFAULT, LIMIT_MAX = 100, 500


class BlockHandler:
    """Answers batches of `block` requests with the act `set`, or with the act `list`."""

    def __init__(self, storage: StorageClient, news: PeopleNews, clock: Clock) -> None:
        self._storage = storage
        self._news = news
        self._clock = clock

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By the names of operations."""
        return {"block": self.block, "block.list": self.list_}

    async def block(self, requests: Sequence[ClientRequest]) -> list[Reply]:
        """Makes or ends the blocks of each request."""
        replies: list[Reply] = [ok_reply()] * len(requests)
        allowed = passing(requests, replies, lambda request: _check(request.frame.block, request.user))
        items = [_item(requests[index]) for index in allowed]
        for index, item, outcome in zip(allowed, items, await self._storage.block(items), strict=True):
            if isinstance(outcome, TidingsError):
                replies[index] = outcome
            else:
                self._news.blocks(
                    delivery_pb2.BlockChange(
                        user=item.user, users=item.users, blocked=item.blocked, time_ms=self._clock.wall_ms()
                    )
                )
        return replies

    async def list_(self, requests: Sequence[ClientRequest]) -> list[Reply]:
        """Pages of whom each asker blocks, by user id."""
        outcomes = await self._storage.blocked_by(
            [
                pb.BlockListItem(
                    user=request.user,
                    after=request.frame.block.list.after,
                    limit=page_limit(request.frame.block.list.limit, LIMIT_DEFAULT, LIMIT_MAX),
                )
                for request in requests
            ]
        )
        return [outcome if isinstance(outcome, TidingsError) else _page(outcome) for outcome in outcomes]


def _check(block: client_pb2.BlockRequest, user: str) -> None:
    if block.WhichOneof("act") != "set":
        raise BadRequest("the block request has no act: set one of set, list")
    users = block.set.users
    if not users:
        raise BadRequest("the request names no user: name at least one user")
    if len(users) > USERS_MAX:
        raise BadRequest(f"{len(users)} users at once, at most {USERS_MAX} are allowed: use several requests")
    for other in users:
        check_user(other)
    if user in users:
        raise BadRequest("nobody blocks themselves: leave yourself out")


def _item(request: ClientRequest) -> pb.BlockItem:
    asked = request.frame.block.set
    return pb.BlockItem(user=request.user, users=list(dict.fromkeys(asked.users)), blocked=asked.blocked)


def _page(outcome: pb.BlockListOutcome) -> client_pb2.ServerFrame:
    page = client_pb2.UserPage(users=outcome.users, next=outcome.users[-1] if outcome.users else "", more=outcome.more)
    return client_pb2.ServerFrame(user_page=page)
