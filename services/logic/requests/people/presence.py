"""`presence` requests: who is online, and when the others were seen last.

Guarantees: a reply for each request, in their order. Each user that a batch names is looked up once. Who blocks the
asker looks offline, and was seen last before that at the latest; an access node, which asks without a session, is told
how it is.

Does not know: who watches whom (the access nodes do).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.clock import Clock
from services.common.cluster import ClusterView
from services.common.scope import run_both
from services.logic.people.blocks import Blocks, Pair
from services.logic.requests.request import ClientRequest, Handler, HidingReply, Reply
from services.logic.sessions.presence import check_users, hidden, presence_of
from services.logic.storage_client import StorageClient
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError


class PresenceReader:
    """Answers batches of `presence` requests. `cluster` says which boots are alive."""

    def __init__(self, storage: StorageClient, blocks: Blocks, cluster: ClusterView, clock: Clock) -> None:
        self._storage = storage
        self._blocks = blocks
        self._cluster = cluster
        self._clock = clock

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By the names of operations."""
        return {"presence": self.presence}

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
        askers = [request for request, reply in zip(requests, replies, strict=True) if reply is None]
        pairs = [
            Pair(user, request.user) for request in askers if request.session for user in request.frame.presence.users
        ]
        sessions, blocks = await run_both(self._storage.sessions(list(named)), self._since(pairs))
        outcomes = dict(zip(named, sessions, strict=True))
        return [
            self._answer(request, outcomes, blocks) if reply is None else reply
            for request, reply in zip(requests, replies, strict=True)
        ]

    async def _since(self, pairs: Sequence[Pair]) -> dict[Pair, int] | TidingsError:
        try:
            return await self._blocks.since(pair for pair in pairs if pair.user != pair.blocked)
        except TidingsError as error:
            return error

    def _answer(
        self,
        request: ClientRequest,
        outcomes: Mapping[str, pb.SessionsOutcome | TidingsError],
        blocks: Mapping[Pair, int] | TidingsError,
    ) -> Reply:
        if isinstance(blocks, TidingsError) and request.session:
            return blocks
        since = blocks if not isinstance(blocks, TidingsError) and request.session else {}
        now_ms = self._clock.wall_ms()
        answer = client_pb2.PresenceList()
        hiding: list[str] = []
        for user in dict.fromkeys(request.frame.presence.users):
            outcome = outcomes[user]
            if isinstance(outcome, TidingsError):
                return outcome
            presence = presence_of(user, outcome.sessions, outcome.last_seen_ms, self._cluster.alive, now_ms)
            since_ms = since.get(Pair(user, request.user), 0)
            if since_ms:
                presence = hidden(presence, since_ms)
                hiding.append(user)
            answer.users.append(presence)
        frame = client_pb2.ServerFrame(presence_list=answer)
        return HidingReply(frame, hiding) if hiding else frame
