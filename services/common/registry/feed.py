"""The latest membership, for any number of watchers: each sees the present one, then the latest after a change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from services.common.registry.contract import Membership


class MembershipFeed:
    """A value that is watched. Equal memberships are not told twice."""

    def __init__(self) -> None:
        self.latest: Membership | None = None
        self._changed = asyncio.Event()

    def publish(self, membership: Membership) -> None:
        """Tells all watchers, unless nothing has changed."""
        if membership != self.latest:
            self.latest = membership
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

    def watch(self) -> AsyncIterator[Membership]:
        """A new watcher. Nothing needs to be closed: it may simply be dropped."""
        return _Watcher(self)

    async def after(self, seen: Membership | None) -> Membership:
        """The latest membership as soon as it is not this one any more."""
        while self.latest is None or self.latest is seen:
            await self._changed.wait()
        return self.latest


class _Watcher:
    """Not a generator: one of those would have to be closed by whoever leaves its loop early."""

    def __init__(self, feed: MembershipFeed) -> None:
        self._feed = feed
        self._seen: Membership | None = None

    def __aiter__(self) -> _Watcher:
        return self

    async def __anext__(self) -> Membership:
        self._seen = await self._feed.after(self._seen)
        return self._seen
