"""`prefer` requests: how a user wants to have a conversation.

Guarantees: a reply for each request, in their order; `ok` is durable, and the user's other devices are told of what was
set, as it is now.

Does not know: who is in a conversation (its owner does), what the preferences are for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.clock import Clock
from services.logic.groups.permissions import check_in_chat
from services.logic.people.news import PeopleNews
from services.logic.requests.request import ClientRequest, Handler, Reply, ok_reply, passing
from services.logic.storage_client import StorageClient
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, TidingsError, TooLarge
from tidings_protocol.ids import ConversationKind, check_conversation

DRAFT_BYTES_MAX: Final = 4096
FOR_EVER: Final = -1


class PreferenceSetter:
    """Answers batches of `prefer` requests."""

    def __init__(self, storage: StorageClient, news: PeopleNews, clock: Clock) -> None:
        self._storage = storage
        self._news = news
        self._clock = clock

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By the names of operations."""
        return {"prefer": self.prefer}

    async def prefer(self, requests: Sequence[ClientRequest]) -> list[Reply]:
        """Sets what each request gives."""
        replies: list[Reply] = [ok_reply()] * len(requests)
        now_ms = self._clock.wall_ms()
        allowed = passing(requests, replies, lambda request: _check(request.frame.prefer, request.user, now_ms))
        outcomes = await self._storage.prefer([_item(requests[index]) for index in allowed])
        for index, outcome in zip(allowed, outcomes, strict=True):
            if isinstance(outcome, TidingsError):
                replies[index] = outcome
            elif outcome.HasField("preferences"):
                self._news.preferences(requests[index].user, outcome.preferences, requests[index].session)
        return replies


def _item(request: ClientRequest) -> pb.PreferItem:
    """Without what this version does not know: it lies deeper here than in the frame, where it could be read."""
    item = pb.PreferItem(user=request.user, prefer=request.frame.prefer)
    item.prefer.DiscardUnknownFields()
    return item


def _check(prefer: client_pb2.Prefer, user: str, now_ms: int) -> None:
    """Raises for what no state of the conversation can make right."""
    if check_conversation(prefer.conversation) is ConversationKind.DIRECT:
        check_in_chat(prefer.conversation, user)
    until_ms = prefer.muted_until_ms
    if until_ms < FOR_EVER or 0 < until_ms <= now_ms:
        raise BadRequest(f"muted_until_ms is {until_ms}: give a time to come, 0 for not muted, -1 for ever")
    size = len(prefer.draft.encode())
    if size > DRAFT_BYTES_MAX:
        raise TooLarge(f"the draft has {size} bytes, {DRAFT_BYTES_MAX} are allowed: keep a shorter one")
