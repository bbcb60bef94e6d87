"""The messages that the application works on: when it is done with each.

Guarantees: a message counts as taken when its loop or its task asks for the next one, a moment after its loop was left,
or when the client is left without an error by that task. It does not if the client is left by an error, the process
dies, or another task is still at work on it then: it comes again after the restart.

Does not know: what taken means to the server (core/messages/feed.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from tidings.core.messages.feed import Handed

# A loop that is left by an error looks the same as one that is left by `break`, until the error leaves the client too.
LEFT_S = 1.0


@dataclass(slots=True)
class _Grip:
    """`left`: its loop is over, and it counts as taken then."""

    task: asyncio.Task[object] | None
    left: asyncio.TimerHandle | None = None


class Hands:
    def __init__(self, took: Callable[[Handed], None]) -> None:
        self._took = took
        self._held: dict[Handed, _Grip] = {}

    def asked(self) -> None:
        """The present task asks for a message: it is done with those it has, by whatever loop it got them."""
        here = asyncio.current_task()
        for handed in [handed for handed, grip in self._held.items() if grip.task is here]:
            self.done(handed)

    def give(self, handed: Handed) -> None:
        """Hands it to the present task."""
        self._held[handed] = _Grip(asyncio.current_task())

    def done(self, handed: Handed) -> None:
        """It counts as taken, if it did not already."""
        grip = self._held.pop(handed, None)
        if grip is None:
            return
        if grip.left is not None:
            grip.left.cancel()
        self._took(handed)

    def left(self, handed: Handed) -> None:
        """Notes that a loop is over, however it ended."""
        grip = self._held.get(handed)
        if grip is not None:
            grip.left = asyncio.get_running_loop().call_later(LEFT_S, self.done, handed)

    def close(self, *, by_error: bool) -> None:
        """The client is left, in the present task."""
        here = asyncio.current_task()
        for handed, grip in list(self._held.items()):
            if not by_error and (grip.left is not None or grip.task is here or _ended_well(grip.task)):
                self.done(handed)
            elif grip.left is not None:
                grip.left.cancel()
        self._held.clear()


def _ended_well(task: asyncio.Task[object] | None) -> bool:
    return task is not None and task.done() and not task.cancelled() and task.exception() is None
