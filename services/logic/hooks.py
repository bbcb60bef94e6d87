"""The hook before a send: an HTTP endpoint of the operator's that may refuse a message or change its content.

Each call is a POST of JSON with up to `batch_max` messages, answered with a decision for each (docs/hooks.md has the
schema); at most `calls_max` calls are under way at once, and one waits for its turn no longer than for its answer.

Guarantees: an answer for each message, in their order: its content (as it was, or changed), or the error that the
sender gets, after two time limits at most. An endpoint that does not answer in time, or with something else than
decisions, counts as away; `when_away` says what becomes of the messages then. Content that it changed is checked like
that of a client.

Does not know: permissions (asked before), storage. A retry of a message asks again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import httpx
from google.protobuf import json_format

from protos.tidings.v1 import client_pb2
from services.common.content import encode_content
from services.common.errors import Forbidden, TidingsError, Unavailable
from services.common.telemetry import logs, metrics
from services.common.telemetry.health import Health

CHECK = "hook"
REASON_MAX = 500
ANSWER_BYTES_MAX = 32 * 1024 * 1024
AWAY_RETRY_MS = 1000

log = logs.get_logger(__name__)

Verdict = bytes | TidingsError


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message that may be stored; `content` is an encoded Content."""

    conversation: str
    sender: str
    client_id: str
    content: bytes


class _Away(Exception):
    """The endpoint gave no usable answer; the text says why."""


class Hooks:
    """An async context manager. `transport` replaces the network in tests."""

    def __init__(
        self,
        url: str,
        cluster: str,
        health: Health,
        *,
        token: str,
        timeout_s: float,
        when_away: Literal["allow", "refuse"],
        batch_max: int,
        calls_max: int,
        content_bytes_max: int,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = url
        self._cluster = cluster
        self._health = health
        self._timeout_s = timeout_s
        self._when_away = when_away
        self._batch_max = batch_max
        self._content_bytes_max = content_bytes_max
        self._calls_max = calls_max
        self._away = False
        self._defects = 0
        self._turns = asyncio.Semaphore(calls_max)
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(timeout_s),
            limits=httpx.Limits(max_connections=calls_max, max_keepalive_connections=calls_max),
            transport=transport,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        self._health.set(CHECK, ok=True)
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, traceback)

    async def ask(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """Content to store, or why not, for each."""
        parts = [candidates[start : start + self._batch_max] for start in range(0, len(candidates), self._batch_max)]
        if len(parts) == 1:
            return await self._ask_part(parts[0])
        verdicts: list[list[Verdict]] = [[] for _ in parts]
        waiting = iter(enumerate(parts))

        async def work() -> None:
            for index, part in waiting:
                verdicts[index] = await self._ask_part(part)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._calls_max, len(parts))):
                group.create_task(work(), name="hook calls")
        return [verdict for part in verdicts for verdict in part]

    async def _ask_part(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._turns.acquire()
            try:
                async with asyncio.timeout(self._timeout_s):
                    decisions = await self._call(candidates)
            finally:
                self._turns.release()
        except (_Away, TimeoutError) as error:
            outcome = "away"
            verdicts = self._without(candidates, str(error) or f"no answer within {self._timeout_s:g} s")
        else:
            outcome, defects = "answered", self._defects
            verdicts = [
                self._verdict(candidate, decision) for candidate, decision in zip(candidates, decisions, strict=True)
            ]
            if self._defects == defects:
                self._came_back()
        metrics.HOOK_SECONDS.labels(outcome).observe(time.perf_counter() - begun)
        return verdicts

    async def _call(self, candidates: Sequence[Candidate]) -> list[Any]:
        body = {"version": 1, "cluster": self._cluster, "messages": [_shown(candidate) for candidate in candidates]}
        try:
            response = await self._client.post(self._url, json=body)
        except httpx.HTTPError as error:
            raise _Away(f"{type(error).__name__}: {error}") from None
        if response.status_code != httpx.codes.OK:
            raise _Away(f"it answered {response.status_code}")
        if len(response.content) > ANSWER_BYTES_MAX:
            raise _Away("its answer is too large")
        try:
            answer = response.json()
        except ValueError:
            raise _Away("its answer is not JSON") from None
        decisions = answer.get("decisions") if isinstance(answer, dict) else None
        if not isinstance(decisions, list) or len(decisions) != len(candidates):
            raise _Away(f"its answer must have `decisions`, a list of {len(candidates)}")
        return decisions

    def _verdict(self, candidate: Candidate, decision: Any) -> Verdict:
        match decision:
            case {"action": "allow"}:
                return candidate.content
            case {"action": "refuse"}:
                reason = decision.get("reason")
                return Forbidden(str(reason)[:REASON_MAX] if reason else "the operator's rules refuse this message")
            case {"action": "change", "content": dict(content)}:
                return self._changed(candidate, content)
            case _:
                return self._without([candidate], "a decision must have an action: allow, refuse or change")[0]

    def _changed(self, candidate: Candidate, content: dict[str, Any]) -> Verdict:
        """The new content; what is replied to stays as it was, as it was checked."""
        before = client_pb2.Content.FromString(candidate.content)
        try:
            after = json_format.ParseDict(content, client_pb2.Content())
            after.reply_to = before.reply_to
            return encode_content(after, self._content_bytes_max)
        except (json_format.ParseError, TidingsError) as error:
            return self._without([candidate], f"the content that it gave cannot be sent: {error}")[0]

    def _without(self, candidates: Sequence[Candidate], reason: str) -> list[Verdict]:
        """What becomes of messages that nobody decided about."""
        self._defects += 1
        if not self._away:
            self._away = True
            self._health.set(CHECK, ok=False, reason=f"the hook is away: {reason}", degraded=True)
            log.warning("hook is away", reason=reason, policy=self._when_away)
        if self._when_away == "allow":
            return [candidate.content for candidate in candidates]
        refusal = Unavailable(
            "the check of messages does not answer: send again with the same client_id", AWAY_RETRY_MS
        )
        return [refusal] * len(candidates)

    def _came_back(self) -> None:
        if self._away:
            self._away = False
            self._health.set(CHECK, ok=True)
            log.info("hook is back")


def _shown(candidate: Candidate) -> dict[str, Any]:
    content = client_pb2.Content.FromString(candidate.content)
    return {
        "conversation": candidate.conversation,
        "sender": candidate.sender,
        "clientId": candidate.client_id,
        "content": json_format.MessageToDict(content),
    }
