"""When which message is to be looked at again: to announce what gathered, to note that nothing did.

Guarantees: pure. A message that is put twice is due at the earlier time. What is done costs no more when very many are
waiting.
Does not know: what is done then.
"""

from __future__ import annotations

from heapq import heappop, heappush

from services.storage.repository.records import MessageKey


class DueTimes:
    """Times are seconds of a clock that never goes back."""

    def __init__(self) -> None:
        self._times: dict[MessageKey, float] = {}
        # Also some that are not so any more: these are passed over when their time comes.
        self._order: list[tuple[float, MessageKey]] = []

    def __len__(self) -> int:
        return len(self._times)

    def __contains__(self, target: MessageKey) -> bool:
        return target in self._times

    @property
    def earliest(self) -> float | None:
        """When the next one is due; None: nothing is."""
        while self._order:
            at_s, target = self._order[0]
            if self._times.get(target) == at_s:
                return at_s
            heappop(self._order)
        return None

    def put(self, target: MessageKey, at_s: float) -> None:
        """This one is to be looked at then, or before."""
        before = self._times.get(target)
        if before is None or at_s < before:
            self._times[target] = at_s
            heappush(self._order, (at_s, target))

    def take(self, now_s: float, most: int) -> list[MessageKey]:
        """Those that are due now, at most so many, the first ones first; they are not any more."""
        due: list[MessageKey] = []
        while len(due) < most and (at_s := self.earliest) is not None and at_s <= now_s:
            _, target = heappop(self._order)
            del self._times[target]
            due.append(target)
        return due
