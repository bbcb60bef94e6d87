"""Writes what CHANGEs have made of their targets.

    noted: reactions to what is recalled are to go ──▶ targets in one bulk, what is pinned
        ──▶ what CHANGEs before still say is erased, in one bulk ──▶ who hears of recalls is told

Guarantees: when `write` returns, a reader of the database finds of each target what all of its CHANGEs make of it, and
nothing of what they took away. Targets come first: a CHANGE whose content is erased has been folded. Writing again, or
late, does no harm.
Does not know: which CHANGEs (messages/write_round.py; loading/refolding.py, for a node that did not come to its end).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from services.common.scope import run_all
from services.storage.folding.fold import erasure_of, fold_of
from services.storage.folding.recalls import Recalls
from services.storage.folding.shown import folded_state
from services.storage.repository.contract import Repository
from services.storage.repository.reactions import AheadSet
from services.storage.repository.records import PinList, StoredMessage


class Changed(NamedTuple):
    """A target as its document was, and as it is to be."""

    before: StoredMessage
    after: StoredMessage

    @property
    def loses_reactions(self) -> bool:
        """Whether it is recalled by this, and had reactions."""
        before = folded_state(self.before).state
        return bool(before.reactions) and not before.recalled_by and bool(folded_state(self.after).state.recalled_by)


class FoldWriter:
    def __init__(self, repository: Repository, *, keeps_history: bool = False, recalls: Recalls | None = None) -> None:
        """`keeps_history`: the contents of former edits stay. `recalls`: who hears of them; None: nobody."""
        self._repository = repository
        self._keeps_history = keeps_history
        self._recalls = recalls or Recalls()

    async def write(self, changed: Sequence[Changed], pinned: Sequence[PinList], *, again: bool = False) -> None:
        """Raises Unavailable: then it may be done in part. `again`: an earlier try may have done some of it."""
        messages, conversations = self._repository.messages, self._repository.conversations
        losing = [each.after for each in changed if each.loses_reactions]
        if losing:
            # Before the targets: a node that finds these folded takes nothing away any more.
            sets = [AheadSet(each.conversation, each.seq, each.sender) for each in losing]
            await self._repository.reactions.mark(sets, [])
        works = []
        if folds := [fold_of(each.before, each.after) for each in changed]:
            works.append(messages.fold(folds))
        if pinned:
            works.append(conversations.pin(pinned))
        if works:
            await run_all(*works)
        erasures = [
            erasure
            for each in changed
            if (erasure := erasure_of(each.after, None if again else each.before, keeps_history=self._keeps_history))
            is not None
        ]
        if erasures:
            await messages.erase(erasures)
        if losing:
            self._recalls.tell([(each.conversation, each.seq) for each in losing])
