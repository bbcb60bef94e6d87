"""The WebSocket port: whom it lets in, and the HTTP answers to those that it does not.

What is no upgrade at all is answered before (web_arrival.py, http.py). Browsers that send `Connection: keep-alive,
Upgrade` are let in.

Guarantees: whoever is one too many, or asks for something else, is told so in HTTP and closed.

Does not know: frames, sessions.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final, cast
from urllib.parse import urlsplit

from picows import WSUpgradeRequest, WSUpgradeResponse
from picows import WSUpgradeResponseWithListener as Upgrade
from picows.picows import WSAutoPingStrategy, WSProtocol  # type: ignore[attr-defined]  # not in its stubs

from services.access.transport.http import (
    BUSY,
    BUSY_S,
    NO_ADDRESS,
    NO_WEBSOCKET,
    NOTHING_HERE,
    PATH,
    TOO_MANY,
    Answer,
    sentence,
)
from services.access.transport.listening import Listener
from services.access.transport.web_arrival import WebArrival
from services.access.transport.websocket import WebSocket
from services.common.telemetry import metrics
from tidings_protocol.errors import BadRequest
from tidings_protocol.wire.codec import negotiate, offers

VERSIONS: Final = ("13", "8", "7")
WRONG_VERSION: Final = f"this version of WebSocket is not spoken here: use version {VERSIONS[0]}"


class WebSocketServer(Listener):
    """Listens while it is entered."""

    def protocol(self, address: str = "") -> asyncio.BaseProtocol:
        listener = WebSocket(self)
        if not self.door.reserve(listener):
            return Busy()
        # In the order of picows: host and path, client side, listener, logger, disconnect on exception, handshake
        # time-out, auto-ping and its times, auto-pong, frame size, headers, read buffer (kept as small as it goes:
        # 8.6 KB an idle connection instead of 27.8 KB).
        parser: asyncio.BaseProtocol = WSProtocol(
            None, None, False, listener.accept, listener, True, self.limits.handshake_s,
            False, 10, 10, WSAutoPingStrategy.PING_WHEN_IDLE, False, self.limits.frame_bytes_max, None, 256,
        )  # fmt: skip
        return WebArrival(self, listener, parser, address)

    def upgrade(self, request: WSUpgradeRequest, listener: WebSocket) -> Upgrade:
        """The answer to a request, before anything of WebSocket is checked."""
        try:
            path = urlsplit(request.path.decode("latin-1")).path
        except ValueError:
            return _refusal(NO_ADDRESS)
        if path != PATH:
            return _refusal(NOTHING_HERE)
        offered = offers(", ".join(request.headers.getall("Sec-WebSocket-Protocol", [])))
        try:
            codec = negotiate(offered)
        except BadRequest as error:
            return _refusal(sentence(HTTPStatus.BAD_REQUEST, error.message))
        if "websocket" not in request.headers.get("Upgrade", "").lower():
            return _refusal(NO_WEBSOCKET)
        if request.headers.get("Sec-WebSocket-Version", "") not in VERSIONS:
            # picows would put the value into its answer, and fails if that is not UTF-8.
            known = {"Sec-WebSocket-Version": VERSIONS[0]}
            return _refusal(sentence(HTTPStatus.UPGRADE_REQUIRED, WRONG_VERSION, known))
        listener.address = self.trusted.client_of(
            listener.address,
            request.headers.getall("X-Forwarded-For", []),
            request.headers.getall("Forwarded", []),
        )
        self.door.release(listener)
        wait_s = self.door.admission_delay_s(listener.address)
        if wait_s:
            headers = {"Retry-After": str(max(1, round(wait_s)))}
            return _refusal(sentence(HTTPStatus.SERVICE_UNAVAILABLE, TOO_MANY, headers))
        connection = request.headers.get("Connection", "")
        if "upgrade" in (token.strip() for token in connection.lower().split(",")):
            request.headers["Connection"] = "upgrade"  # picows knows no list here
        listener.codec = codec
        chosen = {"Sec-WebSocket-Protocol": codec.subprotocol} if offered else None
        return Upgrade(WSUpgradeResponse.create_101_response(chosen), listener)


class Busy(asyncio.Protocol):
    """Serves a connection that is one too many: it is told so when it has asked, and closed."""

    __slots__ = ("_late", "_stream")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._stream = cast("asyncio.Transport", transport)
        self._late = asyncio.get_running_loop().call_later(BUSY_S, self._stream.abort)

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 - whatever it asks
        self._stream.write(BUSY.to_bytes())
        self._stream.close()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._late.cancel()


def _refusal(answer: Answer) -> Upgrade:
    if answer.status != HTTPStatus.SERVICE_UNAVAILABLE:  # that is counted by whoever is too busy
        metrics.CONNECTIONS_REFUSED.labels(f"http_{answer.status.value}").inc()
    response = WSUpgradeResponse.create_error_response(answer.status, answer.body, dict(answer.headers))
    return Upgrade(response, None)
