"""The operator's endpoint on the wire: one POST of JSON for some messages, a decision for each (docs/hooks.md).

A call that breaks before the answer begins, on a kept connection, is made once more on a fresh one: a server may close
a connection that it kept at any moment, also as a call goes out on it. So an endpoint may see a call twice.

Guarantees: what it changed is checked like what a client sends, fields that nobody knows are dropped, and all text can
be stored and sent: what cannot is `Unusable`, the endpoint's fault, and only that message's. No answer of more than
ANSWER_BYTES_MAX is held.

Does not know: time limits (hooks.py cancels), what becomes of messages without a decision.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx2
from google.protobuf import json_format

from services.common.scope import Owned
from tidings_protocol import client_pb2
from tidings_protocol.changes import STAYS
from tidings_protocol.content import encode_content
from tidings_protocol.errors import Forbidden, TidingsError

REASON_MAX: Final = 500
ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024
# A connection ended, before the answer began or in it; one that could not be made is none of these.
_BROKEN: Final = (httpx2.ReadError, httpx2.WriteError, httpx2.CloseError, httpx2.RemoteProtocolError)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message that may be stored; `content` is an encoded Content.

    `change`: what the content makes of a message that is there, `edit` or `finish` (of a stream), and `seq` which one;
    empty: it is a message of its own.
    """

    conversation: str
    sender: str
    client_id: str
    content: bytes
    change: str = ""
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Unusable:
    """The endpoint decided something about a message that cannot be done."""

    reason: str


Decision = bytes | TidingsError | Unusable


class Away(Exception):
    """The endpoint gave no usable answer; the text says why."""


class _Broke(Exception):
    """The connection ended before an answer began."""


class HookEndpoint(Owned):
    """The endpoint, for as long as this context is entered.

    `timeout_s`: of the parts of one call; `calls_max`: connections at once; `content_bytes_max`: of a content that the
    endpoint gives. `transport` replaces the network in tests.
    """

    def __init__(
        self,
        url: str,
        cluster: str,
        *,
        token: str,
        timeout_s: float,
        calls_max: int,
        content_bytes_max: int,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = url
        self._cluster = cluster
        self._content_bytes_max = content_bytes_max
        self._answered = False

        def client(kept: int) -> httpx2.AsyncClient:
            return httpx2.AsyncClient(
                headers={"Authorization": f"Bearer {token}"} if token else {},
                timeout=httpx2.Timeout(timeout_s),
                limits=httpx2.Limits(max_connections=calls_max, max_keepalive_connections=kept),
                transport=transport,
                trust_env=False,
            )

        self._client, self._fresh = client(calls_max), client(0)

    async def _running(self) -> AsyncIterator[None]:
        async with self._client, self._fresh:
            yield

    async def ask(self, candidates: Sequence[Candidate]) -> list[Decision]:
        """What the endpoint decides about each: content to store, or why it is not stored. Raises Away.

        After a cancellation the endpoint may have seen the call.
        """
        body = {"version": 1, "cluster": self._cluster, "messages": [_shown(candidate) for candidate in candidates]}
        try:
            answer = await self._exchange(self._client, body)
        except _Broke as broke:
            if not self._answered:
                raise Away(str(broke)) from None  # no connection was kept yet
            try:
                answer = await self._exchange(self._fresh, body)
            except _Broke as again:
                raise Away(str(again)) from None
        self._answered = True
        decisions = _decisions(answer, len(candidates))
        return [self._decision(candidate, each) for candidate, each in zip(candidates, decisions, strict=True)]

    async def _exchange(self, client: httpx2.AsyncClient, body: dict[str, Any]) -> bytes:
        begun = False
        try:
            async with client.stream("POST", self._url, json=body) as response:
                begun = True
                if response.status_code != httpx2.codes.OK:
                    raise Away(f"it answered {response.status_code}")
                return await _read(response)
        except httpx2.HTTPError as error:
            reason = f"{type(error).__name__}: {error}"
            if isinstance(error, _BROKEN) and not begun:
                raise _Broke(reason) from None
            raise Away(reason) from None

    def _decision(self, candidate: Candidate, decision: Any) -> Decision:
        match decision:
            case {"action": "allow"}:
                return candidate.content
            case {"action": "refuse"}:
                reason = decision.get("reason")
                return Forbidden(
                    _text(reason)[:REASON_MAX] if reason else "the operator's rules refuse this: change it"
                )
            case {"action": "change", "content": dict(content)}:
                return self._changed(candidate, content)
            case _:
                return Unusable("a decision must have an action: allow, refuse or change")

    def _changed(self, candidate: Candidate, content: dict[str, Any]) -> Decision:
        """The new content; what no edit changes stays as it was, as it was checked."""
        try:
            after = json_format.ParseDict(content, client_pb2.Content(), ignore_unknown_fields=True)
            before = client_pb2.Content.FromString(candidate.content)
            for name in STAYS:
                setattr(after, name, getattr(before, name))
            if candidate.change == "finish" and not after.text:
                return Unusable("what it makes of a stream that ends must have a text")
            return encode_content(after, self._content_bytes_max)
        except (json_format.ParseError, ValueError, TypeError, RecursionError, TidingsError) as error:
            return Unusable(f"the content that it gave cannot be sent: {_text(error)[:REASON_MAX]}")


async def _read(response: httpx2.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > ANSWER_BYTES_MAX:
            raise Away("its answer is too large")
        parts.append(part)
    return b"".join(parts)


def _decisions(answer: bytes, count: int) -> list[Any]:
    try:
        parsed = json.loads(answer)
    except (ValueError, RecursionError):
        raise Away("its answer is not JSON") from None
    decisions = parsed.get("decisions") if isinstance(parsed, dict) else None
    if not isinstance(decisions, list) or len(decisions) != count:
        raise Away(f"its answer must have `decisions`, a list of {count}")
    return decisions


def _text(value: object) -> str:
    """The value as text that a message can carry: JSON may hold halves of characters."""
    return str(value).encode("utf-8", "replace").decode()


def _shown(candidate: Candidate) -> dict[str, Any]:
    content = client_pb2.Content.FromString(candidate.content)
    shown = {
        "conversation": candidate.conversation,
        "sender": candidate.sender,
        "clientId": candidate.client_id,
        "content": json_format.MessageToDict(content),
    }
    if candidate.change:
        shown |= {"change": candidate.change, "seq": str(candidate.seq)}
    return shown
