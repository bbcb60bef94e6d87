"""Which pushes must arrive, since nobody finds out by a heartbeat or a sync that one is missing.

Logic keeps such pushes for Kafka however long they wait, and a node that forwards keeps those for its visitors.

Guarantees: pure. Does not know: how they are kept (logic's backlog, the forwarder).
"""

from __future__ import annotations

from typing import Final

from protos.tidings.internal.v1.delivery_pb2 import Push

LASTING_KINDS: Final = frozenset(
    {
        Push.MEMBERSHIP,
        Push.SESSIONS,
        Push.GROUP_INFO,
        Push.HIDDEN,
        Push.PREFERENCES,
        Push.PROFILES,
        Push.BLOCKS,
    }
)
