"""How the entries of a page are shown to the one who reads it: whole, as a stub, or not at all.

    a message           whole; hidden by the reader: a stub in an inbox, left out of a history
    a CHANGE            with the state of its target; without the content of an edit if its target is on the page too;
                        a stub if the reader has hidden its target, or may not read it

Guarantees: pure.
Does not know: where entries come from, what of them fits into a page.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from services.storage.folding.shown import shown, stub, target_key, target_of
from services.storage.reactions.mine import NOTHING_MINE, Mine, with_mine
from services.storage.repository.records import CHANGE, HiddenSeqs, MessageKey, StoredMessage


class PageItem(NamedTuple):
    """An entry as a page shows it, encoded. `size`: what it takes, with content that was not read. `target`: what a
    CHANGE changes; `brief`: the CHANGE for a page that has its target too.
    """

    encoded: bytes
    size: int
    target: MessageKey | None = None
    brief: bytes = b""

    def on(self, page: Collection[MessageKey]) -> bytes:
        """The entry on a page that has these messages."""
        return self.brief if self.brief and self.target in page else self.encoded


class Showing:
    """Shows entries as they are at `now_ms`. `stubs`: of which only the place is told; `targets`: of CHANGEs, as far as
    they are there; `mine`: the reader's own reactions.
    """

    def __init__(
        self,
        now_ms: int,
        targets: Mapping[MessageKey, StoredMessage],
        stubs: Collection[MessageKey],
        mine: Mine = NOTHING_MINE,
    ) -> None:
        self._now_ms = now_ms
        self._targets = targets
        self._stubs = stubs
        self._mine = mine

    def item(self, message: StoredMessage) -> PageItem:
        """The entry, whose content was read or left out."""
        if key_of(message) in self._stubs:
            encoded = stub(message.conversation, message.seq)
            return PageItem(encoded, len(encoded))
        key = target_key(message)
        if key is None:
            encoded = self._marked(shown(message, self._now_ms), key_of(message))
            return PageItem(encoded, len(encoded) + message.left_out)
        target = self._targets.get(key)
        encoded = self._marked(shown(message, self._now_ms, target=target), key)
        brief = self._marked(shown(message, self._now_ms, target=target, with_content=False), key)
        return PageItem(encoded, len(encoded) + message.left_out, key, brief)

    def _marked(self, encoded: bytes, key: MessageKey) -> bytes:
        return with_mine(encoded, self._mine[key]) if key in self._mine else encoded


def key_of(message: StoredMessage) -> MessageKey:
    return message.conversation, message.seq


def is_hidden(message: StoredMessage, hidden: HiddenSeqs) -> bool:
    """Whether the reader has hidden this message, or the target of this CHANGE."""
    return hidden.hides(target_of(message) if message.kind == CHANGE else message.seq)


def is_before(message: StoredMessage, conversation: str, first: int) -> bool:
    """Whether this is a CHANGE in this conversation whose target lies before the first entry that the reader may
    read.
    """
    return message.kind == CHANGE and message.conversation == conversation and target_of(message) < first
