"""What the application asked and the server has not answered: order, repetition, giving up. Pure.

Guarantees: the requests of one lane (the sends and changes of one conversation) go out in the order they were
submitted, at most `pipeline` of them unanswered, so with 1 (the default) no retry can put a later message before an
earlier one. A request keeps its client id through every try and connection, until the server's outcome, its refusal, or
the time that the application set: all of them are such that they may be repeated. A client id counts within its
conversation, as on the server: one may stand for one announcement to several people.

Bounds: `capacity` tickets at all, `FLIGHT_MAX` unanswered on the wire, the server's sends per second.

Does not know: connections; it is told when there is one.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush

from tidings.core.backoff import Backoff
from tidings.core.signals import Done, Failed, Submit
from tidings.errors import Busy, NoAnswer, NotConnected, PartMissing
from tidings_protocol import client_pb2 as pb
from tidings_protocol.errors import Internal, TidingsError, TooLarge, error_of
from tidings_protocol.operations import OPERATIONS, name_of

FLIGHT_MAX = 128
ANSWER_S = 10.0  # without an answer for so long, a request is sent again
OWN_MAX = 2048
FRAME_ID_BYTES = 11

Key = tuple[str, str]  # conversation, client id


@dataclass(slots=True)
class _Lane:
    """`scheduled`: it stands in `_runnable` or `_blocked`, once."""

    name: str
    queue: deque[_Request] = field(default_factory=deque)
    flying: int = 0
    not_before: float = 0.0
    scheduled: bool = False


@dataclass(slots=True)
class _Request:
    """`gone`: nobody waits for it any more; it may still be on the wire and hold its lane."""

    order: int
    submit: Submit
    lane: _Lane
    frame_id: int = 0
    attempts: int = 0
    answer_by: float = 0.0
    reason: str = ""  # why it was refused the last time
    gone: bool = False


class Outbox:
    def __init__(self, random: Callable[[], float], *, capacity: int, pipeline: int) -> None:
        self._random = random
        self._capacity = capacity
        self._pipeline = pipeline
        self._requests: dict[int, _Request] = {}
        self._lanes: dict[str, _Lane] = {}
        self._runnable: deque[_Lane] = deque()
        self._blocked: list[tuple[float, int, _Lane]] = []
        self._deadlines: list[tuple[float, int]] = []
        self._flying: OrderedDict[int, _Request] = OrderedDict()
        self._by_key: dict[Key, _Request] = {}
        self._own: OrderedDict[Key, None] = OrderedDict()
        self._last_order = 0
        self._now = 0.0
        self._tokens = 0.0
        self._tokens_at = 0.0
        self.backoff = Backoff()
        self.limits = pb.Limits()

    @property
    def waiting(self) -> int:
        """Requests of the application without an outcome."""
        return sum(ticket > 0 for ticket in self._requests)

    @property
    def flying(self) -> bool:
        """Whether the server owes an answer."""
        return bool(self._flying)

    def flown_s(self, frame_id: int, now: float) -> float | None:
        """How long ago the request of this frame went out; None: nobody waits for its answer any more."""
        request = self._flying.get(frame_id)
        return now - (request.answer_by - ANSWER_S) if request is not None else None

    def submit(self, submit: Submit, now: float) -> Failed | None:
        """Take a request on, or say why not. The library's own (tickets below 0) are few, and end with the session."""
        if submit.ticket > 0 and len(self._requests) >= self._capacity:
            return Failed(submit.ticket, Busy(f"{self._capacity} requests wait already: await some before the next"))
        self._now = now
        name = submit.lane or f"#{submit.ticket}"
        lane = self._lanes.setdefault(name, _Lane(name))
        request = _Request(self._count(), submit, lane)
        self._requests[submit.ticket] = request
        if submit.timeout_s is not None:
            heappush(self._deadlines, (now + submit.timeout_s, submit.ticket))
        key = _key(submit)
        if key is not None:
            self._by_key[key] = request
            self._own[key] = None
            while len(self._own) > OWN_MAX:
                self._own.popitem(last=False)
        lane.queue.append(request)
        self._schedule(lane)
        return None

    def cancel(self, ticket: int) -> bool:
        """Nobody waits for it. True: it is not sent (again). False: it is on the wire, and keeps its place."""
        request = self._requests.get(ticket)
        if request is None or request.frame_id:
            return False
        self._forget(request)
        return True

    def flush(self, now: float) -> Iterator[pb.ClientFrame | Failed]:
        """What goes out now. Only while the session is live."""
        self._now = now
        self._refill()
        while self._blocked and self._blocked[0][0] <= now:
            lane = heappop(self._blocked)[2]
            lane.scheduled = False
            self._schedule(lane)
        while self._runnable and len(self._flying) < FLIGHT_MAX:
            lane = self._runnable.popleft()
            lane.scheduled = False
            if lane.queue and lane.not_before <= now and lane.flying < self._pipeline:
                yield from self._launch(lane)
            self._schedule(lane)

    def answered(self, frame: pb.ServerFrame, now: float) -> Done | Failed | None:
        """The reply to one of these requests. None: it will be tried again, or nobody asked."""
        self._now = now
        request = self._flying.pop(frame.id, None)
        if request is None:
            return self._answered_late(frame)
        self._land(request)
        if request.gone:
            return None
        if frame.WhichOneof("body") != "error":
            if frame.WhichOneof("body") in OPERATIONS[name_of(request.submit.frame)].answers:
                return self._finish(request, frame)
            return self._fail(
                request, Internal("the server gave an answer that this version does not know: update this client")
            )
        error = _error_in(frame.error)
        if not error.retryable:
            return self._fail(request, error)
        request.reason = error.message
        self._again(request, error.retry_after_ms / 1000 + self._delay_s(request))
        return None

    def settle(self, message: pb.Message) -> tuple[bool, Done | None]:
        """Whether this message of our user was sent by this client; and the outcome, if it was not known yet."""
        key = (message.conversation, message.client_id)
        if key not in self._own:
            return False, None
        request = self._by_key.get(key)
        if request is None:
            return True, None
        sent = pb.Sent(
            client_id=message.client_id,
            message_id=message.message_id,
            conversation=message.conversation,
            seq=message.seq,
            time_ms=message.time_ms,
            duplicate=True,
            state=message.state if message.HasField("state") else None,
        )
        return True, self._settled(request, pb.ServerFrame(sent=sent))

    def lost(self, now: float) -> None:
        """The connection is gone: what it had not answered goes back to its place."""
        self._now = now
        flying = list(self._flying.values())
        self._flying.clear()
        self._forget_own()
        for request in flying:
            self._unanswered(request, 0.0)

    def expire(self, now: float) -> list[Failed]:
        """What the application waits for no longer, and what the server has not answered for too long."""
        self._now = now
        failed: list[Failed] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            request = self._requests.get(heappop(self._deadlines)[1])
            if request is not None:
                failed.append(self._fail(request, _too_late(request)))
        while self._flying:
            request = next(iter(self._flying.values()))
            if request.answer_by > now:
                break
            self._flying.popitem(last=False)
            self._unanswered(request, self._delay_s(request))
        return failed

    def close(self, error: TidingsError) -> list[Failed]:
        """The session is over. What the library itself asked is forgotten: no answer is not a refusal."""
        self._forget_own()
        return [self._fail(request, error) for request in list(self._requests.values())]

    def next_wake(self, *, live: bool) -> float | None:
        times = [self._deadlines[0][0]] if self._deadlines else []
        if live:
            if self._blocked:
                times.append(self._blocked[0][0])
            if self._flying:
                times.append(next(iter(self._flying.values())).answer_by)
        return min(times, default=None)

    # Inside

    def _count(self) -> int:
        self._last_order += 1
        return self._last_order

    def _schedule(self, lane: _Lane) -> None:
        """Put a lane that has something to send where `flush` finds it; forget one that has nothing at all."""
        while lane.queue and lane.queue[0].gone:
            lane.queue.popleft()
        if lane.scheduled or lane.flying >= self._pipeline:
            return
        if not lane.queue:
            if not lane.flying:
                self._lanes.pop(lane.name, None)
            return
        lane.scheduled = True
        if lane.not_before > self._now:
            heappush(self._blocked, (lane.not_before, lane.queue[0].order, lane))
        else:
            self._runnable.append(lane)

    def _launch(self, lane: _Lane) -> Iterator[pb.ClientFrame | Failed]:
        request = lane.queue.popleft()
        if request.gone:
            return
        problem = self._too_large(request.submit.frame)
        if problem is not None:
            yield self._fail(request, problem)
            return
        if not self._spend(request.submit.frame):
            lane.queue.appendleft(request)
            lane.not_before = self._now + 1.0 / self.limits.sends_per_s
            return
        request.frame_id = self._count()
        request.answer_by = self._now + ANSWER_S
        request.attempts += 1
        lane.flying += 1
        self._flying[request.frame_id] = request
        frame = pb.ClientFrame()
        frame.CopyFrom(request.submit.frame)
        frame.id = request.frame_id
        yield frame

    def _land(self, request: _Request) -> None:
        """Notes that the request is not on the wire any more."""
        request.frame_id = 0
        request.lane.flying -= 1
        self._schedule(request.lane)

    def _unanswered(self, request: _Request, delay_s: float) -> None:
        """Nobody knows what became of a try: the request goes out again, unless it is given up."""
        self._land(request)
        if not request.gone:
            self._again(request, delay_s)

    def _answered_late(self, frame: pb.ServerFrame) -> Done | None:
        """Takes the answer to a try that was given up: that it was stored counts, whatever becomes of the next try."""
        if not frame.HasField("sent"):
            return None
        request = self._by_key.get((frame.sent.conversation, frame.sent.client_id))
        return self._settled(request, frame) if request is not None else None

    def _settled(self, request: _Request, frame: pb.ServerFrame) -> Done:
        """It was stored, wherever it stands: the answer to a try that flies finds nobody."""
        if request.frame_id:
            self._flying.pop(request.frame_id, None)
            self._land(request)
        return self._finish(request, frame)

    def _again(self, request: _Request, delay_s: float) -> None:
        """Back into its lane, before everything that was submitted later."""
        lane = request.lane
        place = next((i for i, other in enumerate(lane.queue) if other.order > request.order), len(lane.queue))
        lane.queue.insert(place, request)
        lane.not_before = max(lane.not_before, self._now + delay_s)
        self._lanes[lane.name] = lane
        self._schedule(lane)

    def _delay_s(self, request: _Request) -> float:
        return self.backoff.delay_s(request.attempts - 1, self._random)

    def _finish(self, request: _Request, frame: pb.ServerFrame) -> Done:
        self._forget(request)
        return Done(request.submit.ticket, frame)

    def _fail(self, request: _Request, error: TidingsError) -> Failed:
        # Should it have been stored all the same, the application sees it as any other message.
        key = _key(request.submit)
        if key is not None and self._by_key.get(key) is request:
            self._own.pop(key, None)
        self._forget(request)
        return Failed(request.submit.ticket, error)

    def _forget_own(self) -> None:
        for request in [request for ticket, request in self._requests.items() if ticket < 0]:
            self._forget(request)

    def _forget(self, request: _Request) -> None:
        request.gone = True
        self._requests.pop(request.submit.ticket, None)
        key = _key(request.submit)
        if key is not None and self._by_key.get(key) is request:
            del self._by_key[key]
        self._schedule(request.lane)

    def _too_large(self, frame: pb.ClientFrame) -> TooLarge | None:
        """What the server would close the connection for is refused here."""
        size = frame.ByteSize() + FRAME_ID_BYTES
        if 0 < self.limits.frame_bytes_max < size:
            return TooLarge(
                f"the frame has {size} bytes, the server takes {self.limits.frame_bytes_max}: ask for less at once"
            )
        content = _content_of(frame).ByteSize()
        if 0 < self.limits.content_bytes_max < content:
            return TooLarge(
                f"the content has {content} bytes, the server takes {self.limits.content_bytes_max}: "
                "send it in parts or as a link"
            )
        return None

    def _refill(self) -> None:
        rate = float(self.limits.sends_per_s)
        self._tokens = min(rate, self._tokens + (self._now - self._tokens_at) * rate)
        self._tokens_at = self._now

    def _spend(self, frame: pb.ClientFrame) -> bool:
        """Keep below the server's sends per second, so that it need not refuse."""
        if not self.limits.sends_per_s or frame.WhichOneof("body") not in ("send", "change"):
            return True
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


def _key(submit: Submit) -> Key | None:
    """What an entry of our own is known again by; None: this is neither a send nor a change."""
    asked = submit.frame.change if submit.frame.HasField("change") else submit.frame.send
    return (asked.conversation, asked.client_id) if asked.client_id else None


def _error_in(told: pb.Error) -> TidingsError:
    if told.next_part:
        return PartMissing(told.message, told.next_part)
    return error_of(told.code, told.message, told.retry_after_ms)


def _content_of(frame: pb.ClientFrame) -> pb.Content:
    return frame.change.edit if frame.HasField("change") else frame.send.content


def _too_late(request: _Request) -> TidingsError:
    if not request.attempts:
        return NotConnected("it could not be sent in time, so nothing was done: look at the connection, and try again")
    why = f"it was refused until the time was over ({request.reason})" if request.reason else "no answer came in time"
    if _key(request.submit) is not None:
        return NoAnswer(f"{why}, and it may have been stored: send it again with the same client_id, which is harmless")
    return NoAnswer(f"{why}, and it may have been done: look whether it was before you ask again")
