"""Whether who asks is still there: changes of groups are made only in the name of a session that is its device's
present one.

A change may be repeated, but not made late: a request that waited at a node that was cut off, while its user went
elsewhere and did the opposite, would undo that. So the sessions of its user are read first, once for all requests of a
batch; changes of groups are rare.

Guarantees: what comes in the name of a session that was closed or replaced is not begun, and told to be asked again;
the operator, who has no session, is not asked for one.

Does not know: what is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from services.logic.requests.request import Ask, Handler, Reply
from services.logic.storage_client import StorageClient
from tidings_protocol.errors import TidingsError, Unavailable


class Standing:
    """`only(act, asks)` does those that may be done."""

    def __init__(self, storage: StorageClient) -> None:
        self._storage = storage

    def guard(self, handlers: Mapping[str, Handler]) -> Mapping[str, Handler]:
        """The same handlers, which get only what may be done."""
        return {name: partial(self.only, handler) for name, handler in handlers.items()}

    async def only(self, act: Handler, asks: Sequence[Ask]) -> list[Reply]:
        """Aligned with the asks."""
        refusals = await self._refusals(asks)
        begun = [ask for ask, refusal in zip(asks, refusals, strict=True) if refusal is None]
        replies = iter(await act(begun) if begun else ())
        return [next(replies) if refusal is None else refusal for refusal in refusals]

    async def _refusals(self, asks: Sequence[Ask]) -> list[TidingsError | None]:
        users = list(dict.fromkeys(ask.user for ask in asks if ask.session))
        outcomes = await self._storage.sessions(users) if users else []
        known = dict(zip(users, outcomes, strict=True))
        refusals: list[TidingsError | None] = []
        for ask in asks:
            found = known.get(ask.user)
            if not ask.session or found is None:
                refusals.append(None)
            elif isinstance(found, TidingsError):
                refusals.append(found)
            elif any(session.session == ask.session for session in found.sessions):
                refusals.append(None)
            else:
                refusals.append(Unavailable("this session is not its device's present one: ask again in a new one"))
        return refusals
