"""`presence` requests: who is online, and when the others were seen last.

Guarantees: a reply for each request, in their order. Each user that a batch names is looked up once.

Does not know: who watches whom (the access nodes do).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.clock import Clock
from services.common.cluster import ClusterView
from services.logic.requests.request import ClientRequest, Reply
from services.logic.sessions.presence import check_users, presence_of
from services.logic.storage_client import StorageClient
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError


class PresenceReader:
    """Answers batches of `presence` requests. `cluster` says which boots are alive."""

    def __init__(self, storage: StorageClient, cluster: ClusterView, clock: Clock) -> None:
        self._storage = storage
        self._cluster = cluster
        self._clock = clock

    async def presence(self, requests: Sequence[ClientRequest]) -> list[Reply]:
        """The presence of each request's users; the error if one of them cannot be looked up."""
        replies: list[Reply | None] = [None] * len(requests)
        named: dict[str, None] = {}
        for index, request in enumerate(requests):
            users = request.frame.presence.users
            try:
                check_users(users)
                named.update(dict.fromkeys(users))
            except TidingsError as error:
                replies[index] = error
        outcomes = dict(zip(named, await self._storage.sessions(list(named)), strict=True))
        now_ms = self._clock.wall_ms()
        return [
            self._list(request.frame.presence.users, outcomes, now_ms) if reply is None else reply
            for request, reply in zip(requests, replies, strict=True)
        ]

    def _list(
        self, users: Sequence[str], outcomes: Mapping[str, pb.SessionsOutcome | TidingsError], now_ms: int
    ) -> Reply:
        answer = client_pb2.PresenceList()
        for user in dict.fromkeys(users):
            outcome = outcomes[user]
            if isinstance(outcome, TidingsError):
                return outcome
            answer.users.append(presence_of(user, outcome.sessions, outcome.last_seen_ms, self._cluster.alive, now_ms))
        return client_pb2.ServerFrame(presence_list=answer)
