"""Changes of groups are made only in the name of a session that is its device's present one.

A change may be repeated, but not made late: a request that waited at a node that was cut off, while its user went
elsewhere and did the opposite, would undo that. So the sessions of the users are read first, once for all requests of a
batch; changes of groups are rare.

Guarantees: a request in the name of a session that was closed or replaced is not begun, and its asker is told to ask
again. The operator, who has no session, is not asked for one.

Does not know: what is asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from services.logic.requests.request import ClientRequest, Handler, Reply
from services.logic.storage_client import StorageClient
from tidings_protocol.errors import TidingsError, Unavailable

Handle = Callable[[Sequence[ClientRequest]], Awaitable[Sequence[Reply]]]


class SessionGuard:
    """Stands before `handle`, which gets only the requests that may be done."""

    def __init__(self, storage: StorageClient, handle: Handle, name: str = "group") -> None:
        """`name`: of the operation that `handle` answers."""
        self._storage = storage
        self._handle = handle
        self._name = name

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By the names of operations."""
        return {self._name: self.handle}

    async def handle(self, requests: Sequence[ClientRequest]) -> list[Reply]:
        """A reply for each request, in their order."""
        refusals = await self._refusals(requests)
        allowed = [request for request, refusal in zip(requests, refusals, strict=True) if refusal is None]
        replies = iter(await self._handle(allowed) if allowed else ())
        return [next(replies) if refusal is None else refusal for refusal in refusals]

    async def _refusals(self, requests: Sequence[ClientRequest]) -> list[TidingsError | None]:
        users = list(dict.fromkeys(request.user for request in requests if request.session))
        outcomes = dict(zip(users, await self._storage.sessions(users) if users else (), strict=True))
        refusals: list[TidingsError | None] = []
        for request in requests:
            outcome = outcomes.get(request.user)
            if not request.session or outcome is None:
                refusals.append(None)
            elif isinstance(outcome, TidingsError):
                refusals.append(outcome)
            elif any(session.session == request.session for session in outcome.sessions):
                refusals.append(None)
            else:
                refusals.append(Unavailable("this session is over: connect again, and repeat the request there"))
        return refusals
