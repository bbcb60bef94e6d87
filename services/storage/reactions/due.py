"""When which message is to be looked at again: to announce what gathered, to note that nothing did.

Guarantees: pure. A message that is put twice is due at the earlier time.
Does not know: what is done then.
"""

from __future__ import annotations

from services.storage.repository.records import MessageKey


class DueTimes:
    """Times are seconds of a clock that never goes back."""

    def __init__(self) -> None:
        self._times: dict[MessageKey, float] = {}

    def __len__(self) -> int:
        return len(self._times)

    def __contains__(self, target: MessageKey) -> bool:
        return target in self._times

    @property
    def earliest(self) -> float | None:
        """When the next one is due; None: nothing is."""
        return min(self._times.values(), default=None)

    def put(self, target: MessageKey, at_s: float) -> None:
        """This one is to be looked at then, or before."""
        self._times[target] = min(at_s, self._times.get(target, at_s))

    def take(self, now_s: float, most: int) -> list[MessageKey]:
        """Those that are due now, at most so many; they are not any more."""
        due = [target for target, at_s in self._times.items() if at_s <= now_s][:most]
        for target in due:
            del self._times[target]
        return due
