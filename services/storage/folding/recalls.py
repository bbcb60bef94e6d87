"""Who is told that messages are recalled: whatever hangs on them is to go too.

Guarantees: each that listens is called in the event loop, with messages whose recall is durable. A node that dies may
not come to it: what must go is noted durably besides (folding/writer.py).
Does not know: what hangs on a message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.storage.repository.records import MessageKey

Listener = Callable[[Sequence[MessageKey]], None]


class Recalls:
    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Calls it from now on; it neither waits nor fails."""
        self._listeners.append(listener)

    def tell(self, messages: Sequence[MessageKey]) -> None:
        """These are recalled."""
        for listener in self._listeners:
            listener(messages)
