"""The little HTTP beside WebSocket: where a head ends, which requests are not an upgrade, and answers as bytes. Pure.

Guarantees: every answer for `/v1/route` may be read by a page of any site, with its `Retry-After`; an answer to HEAD
has the headers of the one to GET, and no body. A head has at most `HEAD_BYTES_MAX`.

Does not know: sockets, what an upgrade needs (picows), who owns which user.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from tidings_protocol.errors import TidingsError, Unavailable

PATH: Final = "/v1/ws"
ROUTE_PATH: Final = "/v1/route"
HEAD_BYTES_MAX: Final = 16 * 1024
HEAD_END: Final = b"\r\n\r\n"
BUSY_S: Final = 1.0  # when those that are one too many are to try again
THERE: Final = f"connect to {PATH}, or ask {ROUTE_PATH}?user=U where to"
METHODS: Final = "GET, HEAD, OPTIONS"
PREFLIGHT_S: Final = 86_400
# There are no cookies and nothing that is not public: any site may ask.
OPEN: Final[Mapping[str, str]] = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Retry-After",
}
_ALLOWED: Final[Mapping[str, str]] = {
    "Access-Control-Allow-Methods": METHODS,
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": str(PREFLIGHT_S),
    "Allow": METHODS,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request's first line, as far as it is HTTP/1."""

    method: str
    path: str
    query: Mapping[str, list[str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said, and the connection is closed."""

    status: HTTPStatus
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self, *, head_only: bool = False) -> bytes:
        """The answer as it goes out."""
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}"]
        headers = {"Content-Type": "text/plain; charset=utf-8", **self.headers}
        if self.status is HTTPStatus.NO_CONTENT:
            del headers["Content-Type"]
        else:
            headers["Content-Length"] = str(len(self.body))
        headers["Connection"] = "close"
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + (b"" if head_only else self.body)


def sentence(status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None) -> Answer:
    """A refusal in words."""
    return Answer(status, f"{text}\n".encode(errors="replace"), headers or {})


TOO_LARGE: Final = sentence(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    f"a request's head may have {HEAD_BYTES_MAX} bytes: send fewer or shorter headers and cookies",
    OPEN,
)
TOO_MANY: Final = "too many new connections: try again when Retry-After says"
PREFLIGHT: Final = Answer(HTTPStatus.NO_CONTENT, headers={**OPEN, **_ALLOWED})
WRONG_METHOD: Final = sentence(
    HTTPStatus.METHOD_NOT_ALLOWED, f"this method is not served here: use one of {METHODS}", {**OPEN, **_ALLOWED}
)
BUSY: Final = sentence(HTTPStatus.SERVICE_UNAVAILABLE, TOO_MANY, {**OPEN, "Retry-After": str(round(BUSY_S))})
NO_WEBSOCKET: Final = sentence(
    HTTPStatus.UPGRADE_REQUIRED, "this is a WebSocket: upgrade to it", {"Upgrade": "websocket"}
)
NOTHING_HERE: Final = sentence(HTTPStatus.NOT_FOUND, f"nothing is at this path: {THERE}", OPEN)
NO_ADDRESS: Final = sentence(HTTPStatus.BAD_REQUEST, f"this address cannot be read: {THERE}", OPEN)


def asked_in(head: bytes) -> Asked | Answer | None:
    """What the head asks for, or the refusal; None: it is not HTTP/1, which somebody else may tell."""
    parts = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1.") or not parts[1]:
        return None
    try:
        url = urlsplit(parts[1])
        return Asked(parts[0], url.path, parse_qs(url.query))
    except ValueError:
        return NO_ADDRESS


def answer_to(asked: Asked, route: Callable[[str], Mapping[str, Any]]) -> Answer | None:
    """What is said to a request that is no upgrade; None: it may be one."""
    if asked.path == ROUTE_PATH:
        if asked.method == "OPTIONS":
            return PREFLIGHT
        return _answer_route(asked.query, route) if asked.method in {"GET", "HEAD"} else WRONG_METHOD
    if asked.path != PATH:
        return NOTHING_HERE
    if asked.method == "GET":
        return None
    return NO_WEBSOCKET if asked.method == "HEAD" else WRONG_METHOD


def _answer_route(query: Mapping[str, list[str]], route: Callable[[str], Mapping[str, Any]]) -> Answer:
    users = query.get("user", [])
    if len(users) != 1:
        return sentence(HTTPStatus.BAD_REQUEST, f"this does not name one user: ask {ROUTE_PATH}?user=U", OPEN)
    try:
        found = route(users[0])
    except Unavailable as error:
        retry_s = max(1, math.ceil(error.retry_after_ms / 1000))
        return sentence(HTTPStatus.SERVICE_UNAVAILABLE, error.message, {**OPEN, "Retry-After": str(retry_s)})
    except TidingsError as error:
        return sentence(HTTPStatus.BAD_REQUEST, error.message, OPEN)
    headers = {**OPEN, "Content-Type": "application/json", "Cache-Control": "no-store"}
    return Answer(HTTPStatus.OK, msgspec.json.encode(found), headers)
