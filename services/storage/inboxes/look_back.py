"""Entries of an inbox that may be there already, further back than memory reaches.

An append that is repeated, or that comes late, may have its entry from long ago. It is looked for in two places: among
the newest LOOK_BACK entries, and then in as many from where its time must be (search.py).

    plan.to_search ──▶ the newest LOOK_BACK ──▶ what is left: by its time ──▶ plan.found, plan.passed

Guarantees: what is found keeps its number; what inbox retention has removed counts as delivered. Many are looked for
with few commands. Nothing is written.
Does not know: lanes, what is appended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.common.clock import Clock
from services.storage.inboxes.numbering import Append, CachedInbox, InboxPlan
from services.storage.inboxes.search import TimeSearch
from services.storage.limits import INSERT_MAX, LOOK_BACK
from services.storage.repository.contract import Repository
from services.storage.repository.records import InboxEntry, MessageKey, Span

MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS


class LookBack:
    def __init__(self, repository: Repository, clock: Clock, kept_ms: int) -> None:
        """`kept_ms`: retention removes no entry of a message that is younger."""
        self._repository = repository
        self._clock = clock
        self._kept_ms = kept_ms

    async def find(self, plan: InboxPlan, appends: Sequence[Append], inboxes: dict[str, CachedInbox]) -> None:
        """Gives the plan the numbers of those of its appends that are there already, further back than memory reaches.

        `inboxes`: those of all users of the plan, in memory. Raises Unavailable.
        """
        if not plan.to_search:
            return
        begins = {user: max(0, inbox.floor - LOOK_BACK) + 1 for user, inbox in inboxes.items() if inbox.floor}
        newest: dict[Span, list[int]] = {}
        for index in plan.to_search:
            user = appends[index].user
            if user in begins:
                span = Span(user, after=begins[user] - 1, before=inboxes[user].floor + 1)
                newest.setdefault(span, []).append(index)
        await self._search(plan, appends, newest)
        left = [index for index in plan.to_search if appends[index].user in begins]
        if left:
            await self._look_further(plan, appends, left, begins)

    async def _look_further(
        self, plan: InboxPlan, appends: Sequence[Append], left: Sequence[int], begins: dict[str, int]
    ) -> None:
        """Looks where the times of these say that they must be. `begins`: from where on each inbox was searched."""
        users = list(dict.fromkeys(appends[index].user for index in left))
        firsts = {page[0].user: page[0] for page in await self._pages([Span(user, limit=1) for user in users]) if page}
        # What is older than the first entry that is there is gone by retention, but only if retention may have taken it
        # by now: otherwise the first entry is simply the first that the user ever got.
        removed_ms = self._clock.wall_ms() - self._kept_ms
        seeks: dict[tuple[str, int], TimeSearch] = {}
        sought: dict[TimeSearch, list[int]] = {}
        for index in sorted(left, key=lambda index: appends[index].time_ms):
            user, time_ms = appends[index].user, appends[index].time_ms
            first = firsts.get(user)
            if first is None:
                continue
            if first.number > 1 and time_ms < first.time_ms and time_ms < removed_ms:
                plan.passed(index)
            elif first.number < begins[user]:
                # Those of one user and minute are looked for together, from the place of the earliest.
                key = user, time_ms // MINUTE_MS
                seek = seeks.get(key) or seeks.setdefault(
                    key, TimeSearch(user, time_ms, first.number, begins[user] - 1)
                )
                sought.setdefault(seek, []).append(index)
        while probes := {seek: span for seek in sought if (span := seek.probe) is not None}:
            for seek, page in zip(probes, await self._pages(list(probes.values())), strict=True):
                seek.learn(page)
        places: dict[Span, list[int]] = {}
        for seek, indexes in sought.items():
            user, after = appends[indexes[0]].user, seek.place - 1
            places.setdefault(Span(user, after, after + LOOK_BACK + 1), []).extend(indexes)
        await self._search(plan, appends, places)

    async def _search(self, plan: InboxPlan, appends: Sequence[Append], wanted: Mapping[Span, Sequence[int]]) -> None:
        """Looks for the appends with these indexes in these spans."""
        asked: list[tuple[Span, dict[MessageKey, list[int]]]] = []
        for span, indexes in wanted.items():
            keys: dict[MessageKey, list[int]] = {}
            for index in indexes:  # several nodes may settle one conversation at once: the same more than once
                keys.setdefault(appends[index][1:3], []).append(index)
            asked.append((span, keys))
        for start in range(0, len(asked), INSERT_MAX):
            part = asked[start : start + INSERT_MAX]
            for (_, keys), found in zip(part, await self._repository.inboxes.search(part), strict=True):
                for key, number in found.items():
                    for index in keys[key]:
                        plan.found(index, number)

    async def _pages(self, spans: Sequence[Span]) -> list[list[InboxEntry]]:
        """The pages of many inboxes, read a part at a time; aligned with the spans."""
        pages: list[list[InboxEntry]] = []
        for start in range(0, len(spans), INSERT_MAX):
            pages += await self._repository.inboxes.pages(spans[start : start + INSERT_MAX])
        return pages
