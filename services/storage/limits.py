"""What bounds a storage node's work: the part of its settings that its inner parts need.

Does not know: where the values come from.
"""

from __future__ import annotations

from dataclasses import dataclass

# Documents of one insert: more at once would hold up what comes after for too long.
INSERT_MAX = 500
# Inbox entries of one batch of messages: as many as 256 messages to 200 members make. More at once would take longer
# than a batch may, and then nothing of it would be answered.
ENTRIES_MAX = 51_200
# Messages, or sessions, that are worth a batch of their own beside one that is under way: half as many cost nearly as
# much.
OVERLAP_MIN = 96
# How far back an inbox is searched for an entry that may be there already.
LOOK_BACK = 2048
# Documents of one read, where many may have to be read.
READ_MAX = 1000
# Tries of one batch against other writers and unknown outcomes.
TRIES_MAX = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """As in StorageSettings, where each is explained."""

    store_lanes: int = 2
    inbox_lanes: int = 1
    session_lanes: int = 2
    read_lanes: int = 4
    lane_capacity: int = 4000
    batch_max: int = 256
    conversations_max: int = 50_000
    inboxes_max: int = 50_000
    inbox_tail: int = 64
    recent_sends_max: int = 50_000
    store_budget_s: float = 1.8
    flush_interval_s: float = 4.0
