"""What bounds a storage node's work: the part of its settings that its inner parts need.

Does not know: where the values come from.
"""

from __future__ import annotations

from dataclasses import dataclass

# Documents of one insert: more at once would hold up what comes after for too long.
INSERT_MAX = 500
# Inbox entries of one turn of messages: some 60 ms. More at once would hold up what comes after for too long.
ENTRIES_MAX = 4000
# Sessions that are worth a batch of their own beside one that is under way: half as many cost nearly as much.
OVERLAP_MIN = 96
# Entries that are searched for one that may be there already: the newest, and those from where its time must be.
LOOK_BACK = 2048
# Documents of one read, where many may have to be read.
READ_MAX = 1000
# How far the time of a conversation's last message may lead before nobody believes it.
LEAD_MAX_MS = 60_000
# Owners and admins of a large group that are told of requests to join.
LEADERS_MAX = 500
# Tries of one batch against other writers and unknown outcomes.
TRIES_MAX = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits as in StorageSettings, where each is explained. `list_places_min`: the order of fewer conversations is
    read anew each time, which costs little.
    """

    cursor_lanes: int = 1
    inbox_lanes: int = 1
    session_lanes: int = 2
    read_lanes: int = 4
    lane_capacity: int = 4000
    batch_max: int = 256
    cached_members_max: int = 600_000
    cached_entries_max: int = 1_600_000
    cached_sessions_max: int = 200_000
    inbox_tail: int = 64
    recent_sends_max: int = 50_000
    list_places_min: int = 500
    list_places_max: int = 100_000
    store_budget_s: float = 1.8
    flush_interval_s: float = 4.0
    stream_idle_s: float = 60.0
    reaction_gather_s: float = 1.0
    keeps_edit_history: bool = False
