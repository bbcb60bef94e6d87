"""The port to what puts announcements of reactions into the log, and what one is.

Guarantees of every implementation: an outcome for each, in their order: STORED with the entry, its state and numbers
when all of it is durable; REFUSED if the message is recalled or gone; STALE if the group is not that version any more;
an error if it is not known whether it is in. What `reactions` gives is asked for when the entry gets its number, as
often as that has to be found anew.
Does not know: when something is announced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from protos.tidings.internal.v1 import storage_pb2
from services.storage.repository.records import MessageKey
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError

StoreOutcome = storage_pb2.StoreOutcome

# Client ids of announcements begin so, and no client's may.
ANNOUNCEMENT_PREFIX: Final = "~re "


class ReactionsNow(NamedTuple):
    """What came and went, and all that is there."""

    reacted: client_pb2.Change.Reacted
    reactions: Sequence[client_pb2.Reaction]


class Announcement(NamedTuple):
    """An entry to be: `user` is its sender; `recipients` get an inbox entry, none: it is read by cursor."""

    target: MessageKey
    user: str
    client_id: str
    version: int
    recipients: Sequence[str]
    reactions: Callable[[], ReactionsNow]


class Announcer(Protocol):
    async def announce(self, announcements: Sequence[Announcement]) -> Sequence[StoreOutcome | TidingsError]:
        """Puts these into the log."""
        ...
