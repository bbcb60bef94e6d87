"""What an application keeps of its conversations: messages as it was shown them, with the changes that it was told.

It does what docs/client.md says of that, by what the library gives applications for it, and asks for nothing again. A
change of an own message may come before the message's own place is known here: it waits for that.

Does not know: what is right.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from tidings import Message, MessageChanged, folded, newer

Place = tuple[str, int]


class Keeping:
    def __init__(self, user: str) -> None:
        self._user = user
        self._kept: dict[str, dict[int, Message]] = defaultdict(dict)
        self._early: dict[Place, list[MessageChanged]] = defaultdict(list)

    def own(self, message: Message) -> None:
        """It was stored just now, as this device has sent it."""
        self.shown(message)
        for change in self._early.pop((message.conversation, message.seq), ()):
            self.changed(change)

    def shown(self, message: Message) -> None:
        known = self._kept[message.conversation].get(message.seq)
        if known is not None:
            message = newer(known, message, self._user)
        self._kept[message.conversation][message.seq] = message

    def changed(self, change: MessageChanged) -> None:
        known = self._kept[change.conversation].get(change.seq)
        if change.message is not None:
            self.shown(change.message)
        elif known is not None:
            self._kept[change.conversation][change.seq] = folded(known, change, self._user)
        else:
            self._early[change.conversation, change.seq].append(change)

    def latest(self, conversation: str, count: int) -> Sequence[Message]:
        """Those at the end, but what the system wrote."""
        kept = self._kept[conversation]
        return [kept[seq] for seq in sorted(kept)[-count:] if not kept[seq].system]

    def everything(self) -> Mapping[str, Sequence[Message]]:
        """By conversation."""
        return {name: list(kept.values()) for name, kept in self._kept.items() if kept}
