"""Keeps the place of a device: in time, again when it could not, and once more at the end.

Guarantees: what changed is kept within `SAVE_S`. What cannot be kept is told and tried again, later and later; what
came of the last try stays in `problem`. One save is under way at a time, in a thread of its own.

Does not know: what a place is, where it is kept (state.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from tidings.model import NotKept
from tidings.state import BadState, SavedState, StateStore

SAVE_S = 0.5
SAVE_AGAIN_S = 0.1
SAVE_AGAIN_MAX_S = 15.0
FIRST_SAVE_TRIES = 6  # 3 s


class Keeper:
    """`run` it in a task, which ends after `end`, with a last save."""

    def __init__(
        self, store: StateStore, place: Callable[[], SavedState | None], tell: Callable[[NotKept], None]
    ) -> None:
        """`place`: where the device stands now; None: nowhere yet."""
        self._store = store
        self._place = place
        self._tell = tell
        self._wake = asyncio.Event()
        self._ended = asyncio.Event()
        self._saving = asyncio.Lock()
        self.problem: BadState | None = None

    def changed(self) -> None:
        """The place is another: it is kept soon."""
        self._wake.set()

    def end(self) -> None:
        """One more save, and that was it."""
        self._ended.set()
        self._wake.set()

    async def save_first(self) -> None:
        """Keeps the place for the first time. Raises BadState if that does not come about in a few seconds."""
        pause_s = SAVE_AGAIN_S
        for tries_left in reversed(range(FIRST_SAVE_TRIES)):
            problem = await self.save()
            if problem is None:
                return
            if not tries_left:
                raise problem
            await asyncio.sleep(pause_s)
            pause_s *= 2

    async def run(self) -> None:
        """Saves when the place has changed, not more often than it must."""
        again_s = SAVE_AGAIN_S
        while not (self._ended.is_set() and not self._wake.is_set()):
            await self._wake.wait()
            self._wake.clear()
            last = self._ended.is_set()
            self.problem = await self.save()
            pause_s = SAVE_S
            if self.problem is None:
                again_s = SAVE_AGAIN_S
            elif not last:
                pause_s, again_s = again_s, min(again_s * 2, SAVE_AGAIN_MAX_S)
                self._tell(NotKept(self.problem.message, pause_s))
                self._wake.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._ended.wait()

    async def save(self) -> BadState | None:
        """Keeps the present place; or says why it cannot be kept."""
        async with self._saving:
            state = self._place()
            try:
                if state is not None:
                    await asyncio.to_thread(self._store.save, state)
            except Exception as error:  # noqa: BLE001  # disks, and stores of the application, at the edge
                problem = BadState(
                    f"the place of this device cannot be kept ({error}): make room, or let this program write there; "
                    "what is taken until then comes again after a restart"
                )
                problem.__cause__ = error
                return problem
        return None
