"""Who has hidden an entry: of its CHANGEs these users are told the place alone.

Guarantees: an answer is what was durable when it was asked; entries that are asked about together are one read.
Does not know: what becomes of a CHANGE.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from services.storage.repository.message_contract import HiddenRepository
from services.storage.repository.records import MessageKey

# Who are told of as those who have hidden an entry of a large group: all nodes hear their names.
HIDERS_MAX: Final = 1000


class Audience(NamedTuple):
    """These users are to be told of a CHANGE of this entry; none: all who read the conversation by cursor."""

    target: MessageKey
    users: Sequence[str]


async def hiders_among(hidden: HiddenRepository, audiences: Sequence[Audience]) -> list[Collection[str]]:
    """Who of each audience has hidden its entry, aligned; of all readers HIDERS_MAX at most. Raises Unavailable."""
    found = await hidden.hiders({each.target for each in audiences})
    return [
        found.get(each.target, set()).intersection(each.users)
        if each.users
        else sorted(found.get(each.target, ()))[:HIDERS_MAX]
        for each in audiences
    ]
