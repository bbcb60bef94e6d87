"""The requests of clients: checked as far as a frame alone can be, then handed to logic in lanes, and answered.

    send        sends.py: lanes by conversation
    change      the same lanes: nothing passes what it refers to
    signal      signals.py: lanes by conversation
    stream_part stream_parts.py: lanes by conversation
    pages       lanes by the operation's order, most by user (Logic.Handle)
    the rest    the same, lanes of their own
    ping, ack   pongs.py, acks.py; presence and profile also pass watching.py

Guarantees: each request is answered exactly once, with an error if it could not be handed on: no request waits in a
place without a bound. A request whose answer cannot be made is answered INTERNAL, and if an answer cannot be written
its connection ends, so that no request is left unanswered. One user's requests, on however many connections, take a
lane from no other user: each has an even share of its room, and of each batch. A request is not begun when its
connection is gone, since its user may have asked for the opposite elsewhere by now; sends, which are idempotent, and
reads, which never go back, are done all the same.

Does not know: what a user may do; how the answers come about; what each request is (the table of operations does).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from protos.tidings.internal.v1 import logic_pb2
from services.access.connection.connection import Connection
from services.access.connection.traffic import REPLY
from services.access.logic_client import LogicClient
from services.access.presence.watching import Watching
from services.access.requests.acks import Acks
from services.access.requests.answers import Answer, answer_or_end, encode_answer
from services.access.requests.pongs import HeartbeatReplies
from services.access.requests.refresh import TokenRefresh
from services.access.requests.request_trace import RequestTrace
from services.access.requests.sends import Sends
from services.access.requests.signals import Signals
from services.access.requests.stream_parts import StreamParts
from services.access.session.session import Phase
from services.common.clock import Clock
from services.common.lanes.entered import LaneHolder
from services.common.lanes.lane import Lanes
from services.common.telemetry import metrics, tracing
from tidings_protocol import client_pb2, ids
from tidings_protocol.errors import Forbidden, NotFound, TidingsError
from tidings_protocol.operations import OPERATIONS, Operation, Order, Size

# Pages in one call to logic: each may be 128 KiB of messages, and all of them are to be read within the time that logic
# gives storage. When thousands come back at once, larger calls time out, are made again, and nobody gets anything.
PAGES_MAX: Final = 8
# Operations that may begin or end a watch.
WATCHES: Final = frozenset(("presence", "profile"))


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """The sizes of contents, lanes and batches.

    `capacity` is how many requests may wait in one lane; a send that its lane would not answer within `send_answer_s`
    is refused at once. `send_batch_max` (sends, signals, parts of streams) and `request_batch_max` (the rest) are
    requests in one call.
    """

    content_bytes_max: int
    send_lanes: int
    request_lanes: int
    capacity: int
    send_answer_s: float
    send_batch_max: int
    request_batch_max: int


class Requests(LaneHolder):
    """Serves all connections of a node while it is entered."""

    def __init__(
        self,
        logic: LogicClient,
        heads: HeartbeatReplies,
        acks: Acks,
        watching: Watching,
        refresh: TokenRefresh,
        clock: Clock,
        options: RequestOptions,
    ) -> None:
        self._logic = logic
        self._heads = heads
        self._acks = acks
        self._watching = watching
        self._refresh = refresh
        self._clock = clock
        self._stream_parts = StreamParts(
            logic,
            content_bytes_max=options.content_bytes_max,
            lanes=options.send_lanes,
            capacity=options.capacity,
            batch_max=options.send_batch_max,
        )
        self._sends = Sends(
            logic,
            clock,
            content_bytes_max=options.content_bytes_max,
            lanes=options.send_lanes,
            capacity=options.capacity,
            batch_max=options.send_batch_max,
            answer_s=options.send_answer_s,
            parts=self._stream_parts,
        )
        self._signals = Signals(
            logic, lanes=options.send_lanes, capacity=options.capacity, batch_max=options.send_batch_max
        )
        self._others: Lanes[PendingRequest, logic_pb2.HandleOutcome] = Lanes(
            "request",
            self._handle,
            lanes=options.request_lanes,
            capacity=options.capacity,
            batch_max=options.request_batch_max,
            wanted=_is_wanted,
            party=_user,
        )
        self._pages: Lanes[PendingRequest, logic_pb2.HandleOutcome] = Lanes(
            "page",
            self._handle,
            lanes=options.request_lanes,
            capacity=options.capacity,
            batch_max=min(PAGES_MAX, options.request_batch_max),
            wanted=_is_wanted,
            party=_user,
        )

    def _parts(self) -> Iterable[AbstractAsyncContextManager[Any]]:
        return (self._sends, self._signals, self._stream_parts, self._others, self._pages)

    @property
    def lanes(self) -> Sequence[Lanes[Any, Any]]:
        """All its lanes, for /debug/state."""
        return (self._sends.lanes, self._signals.lanes, self._stream_parts.lanes, self._others, self._pages)

    def take(self, connection: Connection, frame: client_pb2.ClientFrame, body: str) -> None:
        """Hands a request on to what answers it, or refuses it at once."""
        if body == "ack":
            self._acks.on_ack(connection, frame.ack.number)
            return
        try:
            if body == "send":
                self._sends.take(connection, frame)
            elif body == "change":
                self._sends.take_change(connection, frame)
            elif body == "ping":
                self.take_ping(connection, frame.id, idle=frame.ping.idle)
            elif body == "signal":
                self._signals.take(connection, frame)
            elif body == "stream_part":
                self._stream_parts.take(connection, frame)
            elif body == "refresh":
                self._refresh.take(connection, frame)
            else:
                if body in WATCHES:
                    self._watching.begin(connection, frame)
                self._take_other(connection, frame, OPERATIONS[body])
        except TidingsError as error:
            if body in {"send", "change"}:
                metrics.SENDS.labels(error.label).inc()
            connection.refuse(frame.id, body, error)

    def take_ping(self, connection: Connection, request_id: int, *, idle: bool) -> None:
        """Has a ping answered with the heads of the user."""
        connection.session.set_away(idle)
        self._heads.on_ping(connection, request_id)

    def _take_other(self, connection: Connection, frame: client_pb2.ClientFrame, operation: Operation) -> None:
        request_id, name = frame.id, operation.name
        frame.ClearField("id")
        item = logic_pb2.HandleItem(
            user=connection.user,
            session=connection.session_id,
            frame=frame.SerializeToString(),
            op=connection.next_op(),
        )
        frame.id = request_id
        guesses = operation.body == "group" and _is_by_invite(frame.group)
        trace = RequestTrace.begin(item, frame.group) if operation.body == "group" else None
        began = self._clock.now_s()

        def done(outcome: logic_pb2.HandleOutcome | TidingsError) -> None:
            metrics.REQUEST_SECONDS.labels(operation.body).observe(max(0.0, self._clock.now_s() - began))
            answer_or_end(connection, answer, outcome)

        def answer(outcome: logic_pb2.HandleOutcome | TidingsError) -> None:
            if isinstance(outcome, TidingsError):
                encoded: Answer | TidingsError = outcome
            else:
                encoded = encode_answer(connection, request_id, name, outcome.frame, outcome.hiding)
            if trace is not None:
                trace.end(encoded.label if isinstance(encoded, TidingsError) else encoded.error_code.lower())
            if isinstance(encoded, TidingsError):
                connection.refuse(request_id, name, encoded)
            else:
                self._answer(connection, operation, encoded, guesses=guesses)

        lanes = self._pages if operation.size is Size.PAGE else self._others
        lane = ids.hash64(_lane_of(operation, frame, connection.user))
        lanes.offer(lane, PendingRequest(connection, item, name), done)

    async def _handle(self, batch: list[PendingRequest]) -> Sequence[logic_pb2.HandleOutcome | TidingsError]:
        askers = {asked.item.op: asked for asked in batch}
        with tracing.batch("access request", (asked.item.trace for asked in batch), items=len(batch)):
            return await self._logic.handle(
                [asked.item for asked in batch], wanted=lambda item: _is_wanted(askers[item.op])
            )

    def _answer(self, connection: Connection, operation: Operation, answer: Answer, *, guesses: bool) -> None:
        """`guesses`: the request names an invite, which may be a guess: what is not found counts as refused."""
        if answer.error_code:
            metrics.ERRORS.labels(answer.error_code.lower()).inc()
        elif "page" in operation.answers:
            metrics.SYNC_PAGES.labels(operation.body).inc()
        connection.send(answer.frame, REPLY)
        connection.answered(operation.name)
        if answer.presence is not None:
            self._watching.learn(answer.presence, connection, answer.hiding)
        if answer.counts:
            connection.count_refusal(answer.error_code)
        elif guesses and answer.error_code == NotFound.code:
            connection.count_refusal(Forbidden.code)
        elif answer.unpauses is not None:
            connection.page_written(answer.unpauses.head, more=answer.unpauses.more)


class PendingRequest(NamedTuple):
    """One request that logic handles as it is, and the connection that waits for its answer."""

    connection: Connection
    item: logic_pb2.HandleItem
    name: str  # of its operation


def _is_wanted(request: PendingRequest) -> bool:
    """Whether it is still to be begun: a position that was read stays read, the rest is for an open connection."""
    return request.name == "read" or request.connection.session.phase is Phase.OPEN


def _is_by_invite(group: client_pb2.GroupRequest) -> bool:
    return bool(group.join.invite or group.info.invite)


def _user(request: PendingRequest) -> str:
    return request.item.user


def _lane_of(operation: Operation, frame: client_pb2.ClientFrame, user: str) -> str:
    """The name that the lane goes by: requests with one name here keep their order."""
    if operation.order is Order.CONVERSATION:
        conversation: str = getattr(frame, operation.body).conversation
        return conversation
    return user
