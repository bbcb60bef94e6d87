"""The port to what keeps reactions: `react` and `unreact` go there, and not into the log by themselves.

An item is what storage gets of any change: a StoreItem of kind CHANGE whose `special.change` has the act, with the
actor's rights, the recipients of an announcement, and the version of the group that these rest on. The outcome of an
item is that of a change, too:

    STORED      the set is as it was asked for, durably. `seq`: of the announcement that tells it, with its time, its
                numbers (aligned with the item's recipients), `message` and `stubs`, if that was made by this very item;
                0: it is still to come, or was not needed, and nobody is told now. `state`: of the message, as known now
    DUPLICATE   as STORED with a seq: an announcement that was made before tells it
    STALE       the version is not the present one: nothing was done
    REFUSED     what it reacts to does not allow it: `fault` says why

Does not know: how announcements are gathered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from protos.tidings.internal.v1 import storage_pb2 as pb
from tidings_protocol.errors import TidingsError


class Reactor(Protocol):
    """Takes what users react."""

    async def react(self, items: Sequence[pb.StoreItem]) -> Sequence[pb.StoreOutcome | TidingsError]:
        """Does these, in the items' order for one message; an outcome for each, or its error (it may be repeated).

        Raises nothing for the sake of an item. After a cancellation any of them may be done.
        """
        ...
