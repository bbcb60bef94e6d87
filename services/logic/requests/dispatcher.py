"""Requests of clients, sorted by kind: each kind of a batch is handled as one, the kinds at the same time.

Guarantees: a reply for each item, in their order; an error of one, or a defect in it, is its own. The replies of a
batch together fit into one call: those beyond are refused as OVERLOADED, to be asked again.

Does not know: what the requests mean. Those that access nodes know by type (Handler.ACCESS in the table of operations)
do not come here: they have calls of their own, or are the access nodes' business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from google.protobuf.message import DecodeError

from protos.tidings.internal.v1 import logic_pb2
from services.common.lanes.dividing import divided
from services.common.scope import run_all
from services.common.telemetry import tracing
from services.logic.requests.request import ClientRequest, Handler, HidingReply, Reply
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadFrame, BadRequest, Internal, Overloaded, TidingsError
from tidings_protocol.operations import name_of

# One call carries 16 MiB.
REPLIES_BYTES_MAX = 12 * 1024 * 1024


class Dispatcher:
    """Answers batches of requests of any kind, which is the name of the operation."""

    def __init__(self, *handlers: Mapping[str, Handler]) -> None:
        """`handlers`: what each room of logic answers, by the names of operations."""
        self._handlers = {name: handler for room in handlers for name, handler in room.items()}

    @property
    def names(self) -> frozenset[str]:
        """The names of the operations that are answered here."""
        return frozenset(self._handlers)

    async def handle(self, items: Sequence[logic_pb2.HandleItem]) -> list[logic_pb2.HandleOutcome]:
        """An outcome for each item, in their order. Raises nothing for what a client asked."""
        replies: list[Reply] = [Internal("this request was not handled: ask again")] * len(items)
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
                await run_all(*(handle(kind, numbered) for kind, numbered in by_kind.items()))
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
        name = name_of(frame)
        if not name:
            raise BadFrame("the frame has no body: give it one of the bodies of tidings.v1.ClientFrame")
        if name not in self._handlers:
            raise BadRequest(f"a logic node does not answer {frame.WhichOneof('body')}: ask an access node")
        return name


def _parsed(item: logic_pb2.HandleItem) -> ClientRequest:
    try:
        frame = client_pb2.ClientFrame.FromString(item.frame)
    except DecodeError:
        raise BadFrame("the frame cannot be read: send an encoded tidings.v1.ClientFrame") from None
    return ClientRequest(item.user, item.session, frame, item.op, item.trace)


def _bounded(replies: Sequence[Reply]) -> list[logic_pb2.HandleOutcome]:
    outcomes: list[logic_pb2.HandleOutcome] = []
    size = 0
    for reply in replies:
        frame = encoded(reply)
        if size + len(frame) > REPLIES_BYTES_MAX:
            frame = encoded(Overloaded("too much is asked for at once: ask again"))
        size += len(frame)
        hiding = reply.hiding if isinstance(reply, HidingReply) else ()
        outcomes.append(logic_pb2.HandleOutcome(frame=frame, hiding=hiding))
    return outcomes


def encoded(reply: Reply) -> bytes:
    """The reply as an outcome carries it: an encoded frame without its id."""
    if isinstance(reply, TidingsError):
        error = client_pb2.Error(code=reply.code, message=reply.message, retry_after_ms=reply.retry_after_ms)
        return client_pb2.ServerFrame(error=error).SerializeToString()
    return (reply.frame if isinstance(reply, HidingReply) else reply).SerializeToString()
