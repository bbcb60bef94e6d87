"""The ops address of a node: /healthz /readyz /metrics /debug/state /debug/profile, over plain HTTP.

For operators and Prometheus. A server of its own in a few lines: GET only, one request per connection, bounded in
time, size and number, so that no framework runs inside a node. It has no login: loopback or the pods' network only.

Guarantees: an answer to every well-formed GET; a slow or hostile caller holds one of `CALLERS_MAX` places for at most
`REQUEST_S`. Whatever a caller sends, and whatever fails because of it, ends that caller's connection and nothing else.
Does not know: what the state means.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

from services.common.scope import Owned
from services.common.settings.addresses import join_address, split_address
from services.common.telemetry import logs, profile, runtime
from services.common.telemetry.health import Health

__all__ = ["Health", "OpsServer"]

CALLERS_MAX = 32
REQUEST_S = 5.0
HEAD_BYTES_MAX = 16_384
JSON, TEXT = "application/json", "text/plain; charset=utf-8"

log = logs.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    status: HTTPStatus
    kind: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """A GET; names of headers in lower case."""

    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]


class OpsServer(Owned):
    """Serves while it is entered. `debug` gives what /debug/state shows, as plain values, in the event loop."""

    def __init__(self, listen: str, health: Health, debug: Callable[[], Mapping[str, Any]]) -> None:
        self._host, self._port = split_address(listen)
        self._health = health
        self._debug = debug
        self._server: asyncio.Server | None = None
        self._group: asyncio.TaskGroup | None = None
        self._callers: set[asyncio.Task[None]] = set()
        self._profiling = False

    async def _running(self) -> AsyncIterator[None]:
        self._group = await asyncio.TaskGroup().__aenter__()
        self._server = await asyncio.start_server(self._accept, self._host, self._port, limit=HEAD_BYTES_MAX)
        try:
            yield
        finally:
            self._server.close()
            for caller in self._callers:
                caller.cancel()
            await self._group.__aexit__(None, None, None)
            await self._server.wait_closed()

    @property
    def address(self) -> str:
        """host:port that it really listens on (port 0 takes a free one)."""
        assert self._server is not None
        return join_address(*self._server.sockets[0].getsockname()[:2])

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._group is not None
        if len(self._callers) >= CALLERS_MAX:
            writer.transport.abort()
            return
        caller = self._group.create_task(self._serve(reader, writer), name="ops-caller")
        self._callers.add(caller)
        caller.add_done_callback(self._callers.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answer = await self._answer_to(reader)
            writer.write(_head(answer) + answer.body)
            async with asyncio.timeout(REQUEST_S):
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            pass  # the caller is gone or too slow: there is nobody to tell
        except Exception:  # the edge: this task is one of the process's own group, which a stranger must not end
            log.exception("ops caller failed")
        finally:
            writer.close()

    async def _answer_to(self, reader: asyncio.StreamReader) -> Answer:
        async with asyncio.timeout(REQUEST_S):
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.LimitOverrunError:
                return _plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request's head is too large")
        return await self.answer(head)

    async def answer(self, head: bytes) -> Answer:
        """What a request with this head gets; never raises, whatever the bytes."""
        asked = request_of(head)
        if isinstance(asked, Answer):
            return asked
        try:
            return await self._route(asked)
        except Exception as error:  # the edge: a defect of what is shown is an answer
            log.exception("ops request failed", path=asked.path)
            return _plain(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}")

    async def _route(self, asked: Request) -> Answer:
        match asked.path:
            case "/healthz":
                return _json(HTTPStatus.OK, {"alive": True})
            case "/readyz":
                return self._readiness()
            case "/metrics":
                encode, kind = choose_encoder(asked.headers.get("accept", ""))
                return Answer(HTTPStatus.OK, kind, encode(REGISTRY))
            case "/debug/state":
                return _json(HTTPStatus.OK, {**self._debug(), "asyncio_tasks": _tasks(), "process": runtime.held()})
            case "/debug/profile":
                return await self._profile(asked.query, asked.headers)
            case _:
                known = "/healthz /readyz /metrics /debug/state /debug/profile?seconds=N"
                return _plain(HTTPStatus.NOT_FOUND, f"nothing here; there are {known}")

    def _readiness(self) -> Answer:
        status = HTTPStatus.OK if self._health.ready else HTTPStatus.SERVICE_UNAVAILABLE
        return _json(
            status, {"ready": self._health.ready, "reasons": self._health.failed, "degraded": self._health.degraded}
        )

    async def _profile(self, query: Mapping[str, list[str]], headers: Mapping[str, str]) -> Answer:
        try:
            seconds = float(query.get("seconds", ["5"])[0])
        except ValueError:
            seconds = 0
        if not 0 < seconds <= profile.SECONDS_MAX:
            return _plain(HTTPStatus.BAD_REQUEST, f"seconds must be a number up to {profile.SECONDS_MAX:g}")
        if self._profiling:
            return _plain(HTTPStatus.CONFLICT, "a profile is being taken already; try again when it is done")
        asked = query.get("format", [""])[0] or ("svg" if "text/html" in headers.get("accept", "") else "text")
        if asked not in profile.FORMATS:
            return _plain(HTTPStatus.BAD_REQUEST, f"format must be one of {' '.join(profile.FORMATS)}")
        self._profiling = True
        try:
            stacks = await profile.sample(seconds)
        finally:
            self._profiling = False
        kind, render = profile.FORMATS[asked]
        return Answer(HTTPStatus.OK, kind, render(stacks, seconds).encode())


def request_of(head: bytes) -> Request | Answer:
    """What a head asks for; or the answer, if that cannot be told. Never raises, whatever the bytes."""
    request, *lines = head.decode("latin-1").split("\r\n")
    parts = request.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        return _plain(HTTPStatus.BAD_REQUEST, "this is not an HTTP request")
    if parts[0] != "GET":
        return _plain(HTTPStatus.METHOD_NOT_ALLOWED, "only GET is served here")
    try:
        url = urlsplit(parts[1])
        return Request(url.path, parse_qs(url.query), dict(_header(line) for line in lines if line))
    except ValueError:
        return _plain(HTTPStatus.BAD_REQUEST, "this is no address")


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip().lower(), value.strip()


def _head(answer: Answer) -> bytes:
    status = answer.status
    return (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {answer.kind}\r\n"
        f"Content-Length: {len(answer.body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    ).encode("latin-1")


def _plain(status: HTTPStatus, sentence: str) -> Answer:
    return Answer(status, TEXT, f"{sentence}\n".encode())


def _json(status: HTTPStatus, value: object) -> Answer:
    return Answer(status, JSON, msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2) + b"\n")


def _tasks() -> dict[str, int]:
    """How many tasks of each kind are alive: a name up to its first digit or colon is the kind."""
    counts: dict[str, int] = {}
    for task in asyncio.all_tasks():
        kind = task.get_name().split(":")[0].rstrip("0123456789-")
        counts[kind] = counts.get(kind, 0) + 1
    return counts
