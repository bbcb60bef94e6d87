"""Requests of clients, sorted by kind: each kind of a batch is handled as one, the kinds at the same time.

Guarantees: a reply for each item, in their order; an error of one, or a defect in it, is its own. The replies of a
batch together fit into one call: those beyond are refused as OVERLOADED, to be asked again.

Does not know: what the requests mean. `send`, `signal` and `ack` have calls of their own; `hello`, `ping` and `bye` are
the access nodes' business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from protos.tidings.internal.v1 import logic_pb2
from services.common.lanes.dividing import divided
from services.common.telemetry import tracing
from services.logic.requests.conversations import ConversationLister
from services.logic.requests.cursors import CursorMarker
from services.logic.requests.group_reads import GroupReader
from services.logic.requests.history import HistoryReader
from services.logic.requests.inbox import InboxReader
from services.logic.requests.presence import PresenceReader
from services.logic.requests.request import ClientRequest, Reply
from services.logic.requests.session_guard import SessionGuard
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadFrame, BadRequest, Internal, Overloaded, TidingsError

# One call carries 16 MiB.
REPLIES_BYTES_MAX = 12 * 1024 * 1024

Handler = Callable[[list[ClientRequest]], Awaitable[Sequence[Reply]]]


@dataclass(frozen=True, slots=True)
class RequestHandlers:
    """Who answers which requests."""

    inbox: InboxReader
    history: HistoryReader
    conversations: ConversationLister
    presence: PresenceReader
    group_reads: GroupReader
    group_changes: SessionGuard
    cursors: CursorMarker

    def by_kind(self) -> Mapping[str, Handler]:
        """The table: a kind is the name of the frame's body; what reads a group are kinds of their own."""
        return {
            "read": self.cursors.read,
            "sync": self.inbox.sync,
            "history": self.history.history,
            "conversations": self.conversations.conversations,
            "presence": self.presence.presence,
            "group": self.group_changes.handle,
            "group info": self.group_reads.info,
            "group members": self.group_reads.members,
        }


class Dispatcher:
    """Answers batches of requests of any kind. `handlers`: as `RequestHandlers.by_kind` gives them."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers

    async def handle(self, items: Sequence[logic_pb2.HandleItem]) -> list[logic_pb2.HandleOutcome]:
        """An outcome for each item, in their order. Raises nothing for what a client asked."""
        replies: list[Reply] = [Internal("this request was not handled")] * len(items)
        by_kind: dict[str, list[tuple[int, ClientRequest]]] = {}
        for index, item in enumerate(items):
            try:
                request = _parsed(item)
                by_kind.setdefault(self._kind(request.frame), []).append((index, request))
            except TidingsError as error:
                replies[index] = error

        async def handle(kind: str, numbered: Sequence[tuple[int, ClientRequest]]) -> None:
            answers = await divided(self._handlers[kind], [request for _, request in numbered], kind)
            for (index, _), reply in zip(numbered, answers, strict=True):
                replies[index] = reply

        with tracing.batch("logic request", (item.trace for item in items), items=len(items)):
            if len(by_kind) == 1:
                [(kind, numbered)] = by_kind.items()
                await handle(kind, numbered)
            else:
                async with asyncio.TaskGroup() as group:
                    for kind, numbered in by_kind.items():
                        group.create_task(handle(kind, numbered), name=f"handle {kind}")
        return _bounded(replies)

    async def answer(self, request: ClientRequest) -> bytes:
        """The encoded reply to one request that did not come in a batch."""
        try:
            kind = self._kind(request.frame)
            [reply] = await divided(self._handlers[kind], [request], kind)
        except TidingsError as error:
            reply = error
        return encoded(reply)

    def _kind(self, frame: client_pb2.ClientFrame) -> str:
        body = frame.WhichOneof("body")
        if body is None:
            raise BadFrame("the frame has no body")
        kind: str = body
        if body == "group" and frame.group.WhichOneof("act") in {"info", "members"}:
            kind = f"group {frame.group.WhichOneof('act')}"
        if kind not in self._handlers:
            raise BadRequest(f"{body} is not answered here")
        return kind


def _parsed(item: logic_pb2.HandleItem) -> ClientRequest:
    try:
        frame = client_pb2.ClientFrame.FromString(item.frame)
    except DecodeError:
        raise BadFrame("the frame cannot be read") from None
    return ClientRequest(item.user, item.session, frame, item.op, item.trace)


def _bounded(replies: Sequence[Reply]) -> list[logic_pb2.HandleOutcome]:
    outcomes: list[logic_pb2.HandleOutcome] = []
    size = 0
    for reply in replies:
        frame = encoded(reply)
        if size + len(frame) > REPLIES_BYTES_MAX:
            frame = encoded(Overloaded("too much is asked for at once: ask again"))
        size += len(frame)
        outcomes.append(logic_pb2.HandleOutcome(frame=frame))
    return outcomes


def encoded(reply: Reply) -> bytes:
    """As the outcome carries it: a frame without its id."""
    if isinstance(reply, TidingsError):
        error = client_pb2.Error(code=reply.code, message=reply.message, retry_after_ms=reply.retry_after_ms)
        return client_pb2.ServerFrame(error=error).SerializeToString()
    return reply.SerializeToString()
