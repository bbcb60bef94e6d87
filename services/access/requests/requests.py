"""What clients ask: checked here as far as a frame alone can be, then handed to logic in lanes, and answered.

    send        lanes by conversation, so what one user sends to one conversation stays in its order; what logic has not
                decided yet goes on in held_sends.py
    signal      lanes by conversation
    pages       lanes by user (Logic.Handle): sync, history, conversations
    the rest    lanes by user (Logic.Handle)
    ping, ack   pongs.py, acks.py; presence also passes notifier.py

Guarantees: each request is answered exactly once, with an error if it could not be handed on: nothing waits in a place
without a bound. One whose answer cannot be made is answered INTERNAL, and if an answer cannot be written its connection
ends, so that none is left unanswered. One user's requests, on however many connections, take a lane from nobody: each
user has an even share of its room, and of each batch. A content is encoded once, here, and is opaque from here on. What
a connection asked for is not begun when it is gone, since its user may have asked for the opposite elsewhere by now;
sends, which are idempotent, and reads, which never go back, are done all the same.

Does not know: who may do what; how the answers come about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar

from protos.tidings.internal.v1 import logic_pb2
from services.access.connection.connection import Connection
from services.access.connection.events import Ended
from services.access.connection.session import COUNTED_REFUSALS, Phase
from services.access.logic_client import Logic
from services.access.presence.notifier import Watching
from services.access.requests import send_trace
from services.access.requests.acks import Acks
from services.access.requests.held_sends import Held
from services.access.requests.pongs import Heads
from services.access.requests.request_trace import RequestTrace
from services.access.requests.send_trace import SendTrace
from services.common.clock import Clock
from services.common.lanes.lane import Lanes
from services.common.rpc.faults import from_fault
from services.common.telemetry import logs, metrics, tracing
from tidings_protocol import client_pb2, close, content, ids
from tidings_protocol.errors import BadRequest, Blame, Internal, TidingsError
from tidings_protocol.wire.codec import PROTO

# First bytes of a ServerFrame's protobuf whose body is an error (the id is not set yet), or a page.
_ERROR_TAG: Final = PROTO.encode_server(client_pb2.ServerFrame(error=client_pb2.Error()))[:-1]
_PAGED: Final = frozenset({"sync", "history"})
_READ: Final = _PAGED | {"conversations"}
# Pages in one call to logic: each may be 128 KiB of messages, and all of them are to be read within the time that logic
# gives storage. When thousands come back at once, larger calls time out, are made again, and nobody gets anything.
PAGES_MAX: Final = 8
# Sends that are worth a batch of their own beside one that is under way: it is decided while the other is stored.
OVERLAP_MIN: Final = 32

log = logs.get_logger(__name__)


class Requests:
    """Serves all connections of a node while it is entered."""

    def __init__(
        self,
        logic: Logic,
        heads: Heads,
        acks: Acks,
        watching: Watching,
        clock: Clock,
        *,
        content_bytes_max: int,
        send_lanes: int,
        request_lanes: int,
        capacity: int,
        send_answer_s: float,
        send_batch_max: int,
        request_batch_max: int,
    ) -> None:
        self._logic = logic
        self._heads = heads
        self._acks = acks
        self._watching = watching
        self._clock = clock
        self._content_bytes_max = content_bytes_max
        self._sends: Lanes[Sending, logic_pb2.SendOutcome] = Lanes(
            "send",
            self._send,
            lanes=send_lanes,
            capacity=capacity,
            batch_max=send_batch_max,
            overlap_min=min(OVERLAP_MIN, send_batch_max),
            answer_s=send_answer_s,
            party=lambda sending: sending.item.sender,
        )
        self._held = Held(logic.send, capacity=capacity, batch_max=send_batch_max)
        self._signals: Lanes[logic_pb2.SignalItem, logic_pb2.SignalOutcome] = Lanes(
            "signal",
            logic.signal,
            lanes=send_lanes,
            capacity=capacity,
            batch_max=send_batch_max,
            overlap_min=send_batch_max,
            party=lambda item: item.sender,
        )
        self._others: Lanes[Asked, logic_pb2.HandleOutcome] = Lanes(
            "request",
            self._handle,
            lanes=request_lanes,
            capacity=capacity,
            batch_max=request_batch_max,
            wanted=_is_wanted,
            party=_user,
        )
        self._pages: Lanes[Asked, logic_pb2.HandleOutcome] = Lanes(
            "page",
            self._handle,
            lanes=request_lanes,
            capacity=capacity,
            batch_max=min(PAGES_MAX, request_batch_max),
            wanted=_is_wanted,
            party=_user,
        )
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        await self._stack.enter_async_context(self._held)
        for lanes in self.lanes:
            await self._stack.enter_async_context(lanes)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, traceback)

    @property
    def lanes(self) -> Sequence[Lanes[Any, Any]]:
        """For /debug/state."""
        return (self._sends, self._signals, self._others, self._pages)

    def take(self, connection: Connection, frame: client_pb2.ClientFrame, body: str) -> None:
        """HandOn."""
        if body == "ack":
            self._acks.take(connection, frame.ack.number)
            return
        try:
            if body == "send":
                self._take_send(connection, frame)
            elif body == "ping":
                connection.session.set_away(frame.ping.idle)
                self._heads.ask(connection, frame.id)
            elif body == "signal":
                self._take_signal(connection, frame)
            else:
                if body == "presence":
                    self._watching.watch(connection, frame.presence)
                self._take_other(connection, frame, body)
        except TidingsError as error:
            if body == "send":
                metrics.SENDS.labels(error.label).inc()
            connection.refuse(frame.id, body, error)

    # ---- sends

    def _take_send(self, connection: Connection, frame: client_pb2.ClientFrame) -> None:
        send = frame.send
        content.check_client_id(send.client_id)
        conversation = _addressee(connection, send)
        item = logic_pb2.SendItem(
            sender=connection.user,
            session=connection.session_id,
            conversation=conversation,
            client_id=send.client_id,
            content=content.encode_content(send.content, self._content_bytes_max),
            reply_to=send.content.reply_to,
            accepted_ms=self._clock.wall_ms(),
        )
        sending = Sending(connection, frame.id, item, self._clock, SendTrace.begin(item), self._held)
        self._sends.offer(ids.hash64(conversation), sending, sending.done)

    async def _send(self, batch: list[Sending]) -> Sequence[logic_pb2.SendOutcome | TidingsError]:
        with tracing.batch("access send", (sending.item.trace for sending in batch), items=len(batch)):
            items = [sending.item for sending in batch]
            behind = [self._held.holds(item.conversation) for item in items]
            if not any(behind):
                return await self._logic.send(items)
            free = [item for item, waits in zip(items, behind, strict=True) if not waits]
            outcomes = iter(await self._logic.send(free))
            return [_PENDING if waits else next(outcomes) for waits in behind]

    # ---- signals

    def _take_signal(self, connection: Connection, frame: client_pb2.ClientFrame) -> None:
        signal = frame.signal
        content.check_signal(signal.name, signal.data)
        conversation = _addressee(connection, signal)
        item = logic_pb2.SignalItem(
            sender=connection.user,
            session=connection.session_id,
            conversation=conversation,
            name=signal.name,
            data=signal.data,
        )

        request_id = frame.id

        def answer(outcome: logic_pb2.SignalOutcome | TidingsError) -> None:
            if isinstance(outcome, TidingsError):
                error = outcome
            elif outcome.HasField("fault"):
                error = from_fault(outcome.fault)
            else:
                metrics.SIGNALS.labels("sent").inc()
                connection.answered("signal")
                return
            metrics.SIGNALS.labels(error.label).inc()
            connection.refuse(request_id, "signal", error)

        def done(outcome: logic_pb2.SignalOutcome | TidingsError) -> None:
            _or_end(connection, answer, outcome)

        self._signals.offer(ids.hash64(conversation), item, done)

    # ---- everything else

    def _take_other(self, connection: Connection, frame: client_pb2.ClientFrame, body: str) -> None:
        request_id = frame.id
        frame.ClearField("id")
        connection.requests += 1
        item = logic_pb2.HandleItem(
            user=connection.user,
            session=connection.session_id,
            frame=frame.SerializeToString(),
            op=f"{connection.session_id}.{connection.requests}",
        )
        frame.id = request_id
        trace = RequestTrace.begin(item, frame.group) if body == "group" else None
        began = self._clock.now_s()

        def done(outcome: logic_pb2.HandleOutcome | TidingsError) -> None:
            metrics.REQUEST_SECONDS.labels(body).observe(max(0.0, self._clock.now_s() - began))
            _or_end(connection, answer, outcome)

        def answer(outcome: logic_pb2.HandleOutcome | TidingsError) -> None:
            made = outcome if isinstance(outcome, TidingsError) else _made(connection, request_id, body, outcome.frame)
            if trace is not None:
                trace.end(made.label if isinstance(made, TidingsError) else made.error_code.lower())
            if isinstance(made, TidingsError):
                connection.refuse(request_id, body, made)
            else:
                self._answer(connection, body, made)

        lanes = self._pages if body in _READ else self._others
        lanes.offer(ids.hash64(connection.user), Asked(connection, item, body), done)

    async def _handle(self, batch: list[Asked]) -> Sequence[logic_pb2.HandleOutcome | TidingsError]:
        askers = {asked.item.op: asked for asked in batch}
        with tracing.batch("access request", (asked.item.trace for asked in batch), items=len(batch)):
            return await self._logic.handle(
                [asked.item for asked in batch], wanted=lambda item: _is_wanted(askers[item.op])
            )

    def _answer(self, connection: Connection, body: str, answer: _Answer) -> None:
        if answer.error_code:
            metrics.ERRORS.labels(answer.error_code.lower()).inc()
        elif answer.presence is not None:
            self._watching.learn(answer.presence, told=connection)
        elif body in _PAGED:
            metrics.SYNC_PAGES.labels(body).inc()
        connection.send(answer.frame)
        connection.answered(body)
        if answer.error_code in COUNTED_REFUSALS:
            connection.count_refusal(answer.error_code)
        elif answer.unpauses is not None:
            connection.page_written(answer.unpauses.head, more=answer.unpauses.more)


@dataclass(frozen=True, slots=True)
class _Answer:
    """A reply as it is written, and what is known of it; `unpauses`: the page that a paused connection waits for."""

    frame: bytes
    error_code: str = ""
    presence: client_pb2.PresenceList | None = None
    unpauses: client_pb2.Page | None = None


def _made(connection: Connection, request_id: int, body: str, frame: bytes) -> _Answer | Internal:
    """From what logic answered. All that may fail with a frame is here, before anything is written or counted."""
    try:
        encoded = connection.codec.reply(request_id, frame)
        if frame.startswith(_ERROR_TAG):
            return _Answer(encoded, error_code=client_pb2.ServerFrame.FromString(frame).error.code)
        if body == "presence":
            return _Answer(encoded, presence=client_pb2.ServerFrame.FromString(frame).presence_list)
        if body == "sync" and connection.session.outbox.paused:
            return _Answer(encoded, unpauses=client_pb2.ServerFrame.FromString(frame).page)
        return _Answer(encoded)
    except Exception:  # the edge: what logic answered is one request's trouble
        log.exception("answer cannot be made", user=connection.user, request=body)
        return Internal("the answer to this cannot be shown; the log of the node has the details")


Outcome = TypeVar("Outcome")


def _or_end(connection: Connection, answer: Callable[[Outcome], None], outcome: Outcome) -> None:
    """A defect in answering ends the connection, as one in reading does: nothing of it stays unanswered for ever."""
    try:
        answer(outcome)
    except Exception:  # the edge: as in `Connection.receive`
        log.exception("connection failed", user=connection.user, session=connection.session_id)
        try:
            connection.handle(Ended(close.INTERNAL))
        except Exception:  # noqa: BLE001 - the edge: as in `Connection.tick`
            connection.transport.abort()


class Asked(NamedTuple):
    """One request of another kind, and who waits for its answer."""

    connection: Connection
    item: logic_pb2.HandleItem
    body: str


def _is_wanted(asked: Asked) -> bool:
    """A position that was read stays read; all else is asked for by who is there."""
    return asked.body == "read" or asked.connection.session.phase is Phase.OPEN


class Sending:
    """One send under way."""

    __slots__ = ("_clock", "_connection", "_held", "_request_id", "_trace", "item")

    def __init__(
        self,
        connection: Connection,
        request_id: int,
        item: logic_pb2.SendItem,
        clock: Clock,
        trace: SendTrace | None,
        held: Held,
    ) -> None:
        self._connection = connection
        self._request_id = request_id
        self._clock = clock
        self._trace = trace
        self._held = held
        self.item = item

    def done(self, outcome: logic_pb2.SendOutcome | TidingsError) -> None:
        """Logic has answered: perhaps that it cannot tell yet."""
        if not isinstance(outcome, TidingsError) and outcome.pending:
            try:
                self._held.take(self)
            except TidingsError as refusal:
                self._refuse(refusal)
            return
        self.answer(outcome)

    def answer(self, outcome: logic_pb2.SendOutcome | TidingsError) -> None:
        """It was stored, or not."""
        _or_end(self._connection, self._answer, outcome)

    def _answer(self, outcome: logic_pb2.SendOutcome | TidingsError) -> None:
        if isinstance(outcome, TidingsError):
            self._refuse(outcome)
            return
        if outcome.HasField("fault"):
            self._refuse(from_fault(outcome.fault))
            return
        item, connection = self.item, self._connection
        (_DUPLICATE if outcome.duplicate else _STORED).inc()
        exemplar = self._trace.acknowledged(outcome.seq) if self._trace is not None else None
        metrics.ACK_SECONDS.observe(max(0.0, (self._clock.wall_ms() - item.accepted_ms) / 1000), exemplar)
        connection.session.outbox.show(outcome.number)
        connection.transport.traffic.frames_out["sent"] += 1
        connection.send_gathered(
            connection.codec.sent(
                self._request_id,
                client_id=item.client_id,
                message_id=ids.message_id(item.conversation, outcome.seq),
                conversation=item.conversation,
                seq=outcome.seq,
                time_ms=outcome.time_ms,
                duplicate=outcome.duplicate,
                number=outcome.number,
            )
        )
        connection.answered("send")

    def _refuse(self, error: TidingsError) -> None:
        metrics.SENDS.labels(error.label).inc()
        if error.blame is Blame.SERVER or self._trace is not None:
            send_trace.failed(self.item, self._trace, error)
        self._connection.refuse(self._request_id, "send", error)


_PENDING: Final = logic_pb2.SendOutcome(pending=True)
_STORED: Final = metrics.SENDS.labels("stored")
_DUPLICATE: Final = metrics.SENDS.labels("duplicate")


def _user(asked: Asked) -> str:
    return asked.item.user


def _addressee(connection: Connection, request: client_pb2.Send | client_pb2.Signal) -> str:
    """The conversation that a send or signal goes to."""
    match request.WhichOneof("to"):
        case "user":
            return ids.direct(connection.user, ids.check_user(request.user))
        case "conversation":
            ids.check_conversation(request.conversation)
            return request.conversation
        case _:
            raise BadRequest("it does not say to whom: give `user` or `conversation`")
