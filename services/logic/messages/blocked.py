"""What somebody does directly to whom it blocks is refused, in a batch of things that are not stored.

Guarantees: what has an error keeps it; nothing is asked where nothing is direct.

Does not know: who blocks whom (people/blocks.py), what is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.logic.people.blocks import Blocks
from tidings_protocol.errors import TidingsError


class Direct(Protocol):
    """What a user does in a conversation."""

    @property
    def conversation(self) -> str: ...

    @property
    def sender(self) -> str: ...


async def refuse_blocked(blocks: Blocks, items: Sequence[Direct], outcomes: list[TidingsError | None]) -> None:
    """Sets the outcomes, which are aligned with the items, of those whose peer takes nothing from them."""
    direct = [
        index
        for index, (item, error) in enumerate(zip(items, outcomes, strict=True))
        if error is None and item.conversation.startswith("d:")
    ]
    if not direct:
        return
    refusals = await blocks.refusals([(items[index].conversation, items[index].sender) for index in direct])
    for index, refusal in zip(direct, refusals, strict=True):
        outcomes[index] = refusal
