"""Reactions of the twin in memory.

Guarantees: those of repository/reactions.py. Does not know: who may react.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from services.storage.repository.memory.port import MemoryPort
from services.storage.repository.reactions import (
    FIRST_USERS,
    AheadSet,
    ReactionCount,
    ReactionKey,
    ReactionSpan,
    Reactor,
    StoredReaction,
)
from services.storage.repository.records import MessageKey


class MemoryReactions(MemoryPort):
    async def find(self, reactors: Collection[Reactor]) -> dict[Reactor, list[StoredReaction]]:
        await self._faults.before("reactions.find")
        found = {reactor: self._of(reactor) for reactor in reactors}
        return {reactor: reactions for reactor, reactions in found.items() if reactions}

    def _of(self, reactor: Reactor) -> list[StoredReaction]:
        return list(self._data.reactions.get(reactor[:2], {}).get(reactor.user, {}).values())

    def _all(self, target: MessageKey) -> list[StoredReaction]:
        """All reactions to a message, the oldest first."""
        users = self._data.reactions.get(target, {})
        return sorted((each for given in users.values() for each in given.values()), key=lambda each: each.order)

    async def tallies(self, targets: Collection[MessageKey]) -> dict[MessageKey, list[ReactionCount]]:
        await self._faults.before("reactions.tallies")
        counts = {target: self._counts(target) for target in targets}
        return {target: counted for target, counted in counts.items() if counted}

    def _counts(self, target: MessageKey) -> list[ReactionCount]:
        given: dict[str, list[StoredReaction]] = defaultdict(list)
        for each in self._all(target):
            given[each.reaction].append(each)
        counts = [
            ReactionCount(
                reaction,
                len(found),
                min(each.since for each in found),
                tuple(each.user for each in found[:FIRST_USERS]),
            )
            for reaction, found in given.items()
        ]
        return sorted(counts, key=lambda count: (count.since, count.reaction))

    async def page(self, span: ReactionSpan) -> list[StoredReaction]:
        await self._faults.before("reactions.page")
        found = [each for each in self._all((span.conversation, span.seq)) if span.reaction in {"", each.reaction}]
        if span.newest:
            return found[::-1][: span.limit]
        return [each for each in found if each.order > span.after][: span.limit]

    async def write(self, removed: Collection[ReactionKey], added: Sequence[StoredReaction]) -> None:
        await self._faults.before("reactions.write")
        for key in removed:
            self._take(key)
        for each in added:
            users = self._data.reactions.setdefault((each.conversation, each.seq), {})
            users.setdefault(each.user, {}).setdefault(each.reaction, each)
        await self._faults.after("reactions.write")

    def _take(self, key: ReactionKey) -> None:
        users = self._data.reactions.get((key.conversation, key.seq), {})
        given = users.get(key.user, {})
        if given.pop(key.reaction, None) is not None and not given:
            del users[key.user]

    async def remove(self, conversation: str, first: int, below: int, limit: int) -> int:
        await self._faults.before("reactions.remove")
        targets = sorted(key for key in self._data.reactions if key[0] == conversation and first <= key[1] < below)
        gone = [each.key for target in targets for each in self._all(target)][:limit]
        for key in gone:
            self._take(key)
        await self._faults.after("reactions.remove")
        return len(gone)

    async def mark(self, begun: Collection[AheadSet], ended: Collection[MessageKey]) -> None:
        await self._faults.before("reactions.mark")
        for target in ended:
            self._data.ahead.pop(target, None)
        for each in begun:
            self._data.ahead.setdefault(each.target, each)
        await self._faults.after("reactions.mark")

    async def ahead(self, conversation: str, seq: int, limit: int) -> list[AheadSet]:
        await self._faults.before("reactions.ahead")
        later = sorted(target for target in self._data.ahead if target > (conversation, seq))
        return [self._data.ahead[target] for target in later[:limit]]
