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
    ReactionSpan,
    ReactionWrite,
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
        there = (each for given in users.values() for each in given.values() if not each.gone)
        return sorted(there, key=lambda each: each.order)

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

    async def write(self, writes: Sequence[ReactionWrite]) -> bool:
        await self._faults.before("reactions.write")
        done = [self._put(reaction, expected) for reaction, expected in writes]
        await self._faults.after("reactions.write")
        return all(done)

    def _put(self, reaction: StoredReaction, expected: tuple[str, ...] | None) -> bool:
        users = self._data.reactions.setdefault((reaction.conversation, reaction.seq), {})
        given = users.setdefault(reaction.user, {})
        present = given.get(reaction.reaction)
        if present is not None and present.acts != expected:
            return False
        given[reaction.reaction] = reaction
        return True

    async def remove(self, conversation: str, first: int, below: int, limit: int) -> int:
        await self._faults.before("reactions.remove")
        targets = sorted(key for key in self._data.reactions if key[0] == conversation and first <= key[1] < below)
        known = [
            (target, user, reaction)
            for target in targets
            for user, given in self._data.reactions[target].items()
            for reaction in given
        ][:limit]
        for target, user, reaction in known:
            del self._data.reactions[target][user][reaction]
        await self._faults.after("reactions.remove")
        return len(known)

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
