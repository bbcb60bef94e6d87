"""Who has reacted to a message, by pages.

Guarantees: a page goes on behind the one before, the oldest first, whatever came or went meanwhile. Who took their
reaction back is not in it.
Does not know: who may read the message (logic gives the bound).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from protos.tidings.internal.v1 import storage_pb2
from services.common.clock import Clock
from services.common.lanes.lane import Lanes
from services.common.scope import run_all
from services.storage.limits import Limits
from services.storage.reactions.message import is_recalled
from services.storage.repository.contract import Repository
from services.storage.repository.reactions import FIRST, ReactionOrder, ReactionSpan, StoredReaction
from services.storage.repository.records import NORMAL, MessageKey, StoredMessage
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, NotFound, TidingsError

ReactorsItem = storage_pb2.ReactorsItem
ReactorsOutcome = storage_pb2.ReactorsOutcome

PAGE_MAX: Final = 200
# Pages of one batch: each is a read of its own.
PAGES_MAX: Final = 16
_LANE: Final = 0


class ReactorPages:
    def __init__(self, repository: Repository, clock: Clock, limits: Limits) -> None:
        self._repository = repository
        self._clock = clock
        self.lanes: Lanes[ReactorsItem, ReactorsOutcome] = Lanes(
            "reactors", self._handle, lanes=1, capacity=limits.lane_capacity, batch_max=PAGES_MAX
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The lane runs until this is left, which answers what waits."""
        async with self.lanes:
            yield

    async def pages(self, items: Sequence[ReactorsItem]) -> list[ReactorsOutcome | TidingsError]:
        """A page for each item; aligned, errors are an item's own. Cancelling this is safe."""
        return await self.lanes.submit_all([(_LANE, item) for item in items])

    async def _handle(self, batch: list[ReactorsItem]) -> list[ReactorsOutcome | TidingsError]:
        keys = list(dict.fromkeys((item.conversation, item.seq) for item in batch))
        targets = await self._repository.messages.get(keys, content_max=0)
        return await run_all(*(self._page(item, targets) for item in batch))

    async def _page(
        self, item: ReactorsItem, targets: Mapping[MessageKey, StoredMessage]
    ) -> ReactorsOutcome | TidingsError:
        target = targets.get((item.conversation, item.seq))
        if target is None or target.kind != NORMAL or target.seq < item.first_seq:
            return NotFound(f"there is no message {item.seq} to react to: give the seq of one that is there")
        if is_recalled(target, self._clock.wall_ms()):
            return ReactorsOutcome()
        try:
            after = _order_of(item.after)
        except TidingsError as error:
            return error
        limit = min(item.limit or PAGE_MAX, PAGE_MAX)
        span = ReactionSpan(item.conversation, item.seq, item.reaction, after, limit + 1)
        page = await self._repository.reactions.page(span)
        shown = page[:limit]
        return ReactorsOutcome(
            reactors=[_reactor(each) for each in shown],
            next=_token(shown[-1].order) if shown else item.after,
            more=len(page) > limit,
        )


def _reactor(reaction: StoredReaction) -> client_pb2.ReactorPage.Reactor:
    return client_pb2.ReactorPage.Reactor(
        user=reaction.user, reaction=reaction.reaction, time_ms=reaction.place // 1000
    )


def _token(order: ReactionOrder) -> str:
    return f"{order.place:x} {order.user} {order.reaction}"


def _order_of(token: str) -> ReactionOrder:
    """Raises BadRequest for what is no token of a page."""
    if not token:
        return FIRST
    place, _, rest = token.partition(" ")
    user, found, reaction = rest.partition(" ")
    try:
        number = int(place, 16)
    except ValueError:
        number = -1
    if not found or not 0 <= number < 2**63:
        raise BadRequest("`after` is no `next` of a page before: leave it out to begin")
    return ReactionOrder(number, user, reaction)
