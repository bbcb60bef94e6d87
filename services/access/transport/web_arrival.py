"""A connection to the WebSocket port until its session is stored: its HTTP head, then the header of each frame.

Guarantees: what is no upgrade gets an answer and is closed so that the answer arrives; a head that is too large gets
431; a PROXY header that nobody expected is told as such; a frame over the lower limit is refused by its header.

Does not know: what an upgrade needs, what is in a frame (picows, web_server.py and websocket.py).
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from services.access.admission.proxy_header import NOT_TRUSTED, VERSION_2, may_be_header
from services.access.transport.arrival import Arrival, feed
from services.access.transport.http import (
    BUSY,
    HEAD_BYTES_MAX,
    HEAD_END,
    TOO_LARGE,
    Answer,
    Asked,
    answer_to,
    asked_in,
    sentence,
)
from services.access.transport.message_watch import MessageWatch
from services.common.telemetry import metrics

if TYPE_CHECKING:
    from services.access.transport.web_server import WebSocketServer
    from services.access.transport.websocket import WebSocket

LINGER_S: Final = 1.0
# Answers that are no refusal, and one that is counted by whoever is too busy.
_UNCOUNTED: Final = frozenset({HTTPStatus.OK, HTTPStatus.NO_CONTENT, HTTPStatus.SERVICE_UNAVAILABLE})


class WebArrival(Arrival):
    """Until the session is stored: reads the head of the request, answers what is no upgrade, and then looks at the
    header of each frame."""

    __slots__ = ("_head", "_late", "_listener", "_server", "_watch")

    def __init__(
        self, server: WebSocketServer, listener: WebSocket, parser: asyncio.BaseProtocol, address: str
    ) -> None:
        super().__init__(server.door, parser, address)
        self._server = server
        self._listener: WebSocket | None = listener
        self._head = b""
        self._late: asyncio.TimerHandle | None = None
        self._watch: MessageWatch | None = None  # once the head is read

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert self._listener is not None
        super().connection_made(transport)
        self._listener.arrival, self._listener.address = self, self.address

    def receive(self, data: bytes) -> None:
        if self._watch is None:
            self._head += data
            self._read_head()
        else:
            self._read_frames(data)

    def overflow(self) -> None:
        self.ignore()
        if self._listener is None or not self._listener.overflow():
            self._say(BUSY)

    def connection_lost(self, error: Exception | None) -> None:
        if self._late is not None:
            self._late.cancel()
        listener, self._listener = self._listener, None
        super().connection_lost(error)
        if listener is not None:
            listener.arrival = None

    # ---- inside

    def _read_head(self) -> None:
        head = self._head
        if may_be_header(head):
            if len(head) >= len(VERSION_2):
                self._say(sentence(HTTPStatus.BAD_REQUEST, NOT_TRUSTED))
            return
        end = head.find(HEAD_END)
        if (end if end >= 0 else len(head)) >= HEAD_BYTES_MAX:
            self._say(TOO_LARGE)
        elif end >= 0:
            self._take_head(head[: end + len(HEAD_END)], head[end + len(HEAD_END) :])

    def _take_head(self, head: bytes, frames: bytes) -> None:
        asked = asked_in(head)
        answer = answer_to(asked, self._server.door.route) if isinstance(asked, Asked) else asked
        if answer is not None:
            self._say(answer, head_only=isinstance(asked, Asked) and asked.method == "HEAD")
            return
        limits = self._server.limits
        self._head = b""
        self._watch = MessageWatch(min(limits.early_bytes_max, limits.frame_bytes_max))
        feed(self.inner, head)
        if frames:
            self._read_frames(frames)

    def _read_frames(self, data: bytes) -> None:
        assert self._watch is not None
        inner, fine = self.inner, self._watch.look(data)
        if inner is None or self.stream is None or self.stream.is_closing():
            return
        if fine:
            feed(inner, data[:fine])
        listener = self._listener
        if fine == len(data) or listener is None:
            return
        if listener.arrival is None:
            feed(inner, data[fine:])  # it was admitted by what came before
        else:
            self.ignore()
            listener.refuse_early()

    def _say(self, answer: Answer, *, head_only: bool = False) -> None:
        """Answers and closes, so that the answer is not lost in a reset because of what is not read."""
        stream = self.stream
        assert stream is not None
        if answer.status not in _UNCOUNTED:
            metrics.CONNECTIONS_REFUSED.labels(f"http_{answer.status.value}").inc()
        self.ignore()
        stream.write(answer.to_bytes(head_only=head_only))
        if stream.can_write_eof():
            stream.write_eof()
            self._late = asyncio.get_running_loop().call_later(LINGER_S, stream.abort)
        else:
            stream.close()
