"""Settings of a storage node, besides those that every node has."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from services.common.settings.events import EventSettings


class StorageSettings(EventSettings):
    """What a storage node remembers for how long, and how much of it is in its memory."""

    service: ClassVar[str] = "storage"

    message_retention_days: int = Field(
        0,
        ge=0,
        le=36_500,
        description="Messages older than this are removed, in small steps; 0 keeps them for ever. What is removed "
        "is gone for everybody: pages say `truncated`.",
    )
    edit_history: Literal["off", "operator"] = Field(
        "off",
        description="What becomes of the content that an edit replaces: `off`: it is gone; `operator`: it is kept for "
        "the HTTP API alone, until the message is recalled.",
    )
    inbox_retention_days: int = Field(
        0,
        ge=0,
        le=36_500,
        description="Inbox entries older than this are removed; 0 keeps them as long as their messages. A "
        "device that was away for longer reads its conversations instead of its inbox. Entries cost about 100 bytes "
        "per message and recipient.",
    )
    retention_interval_s: float = Field(
        3600.0,
        gt=0,
        le=86_400,
        description="Time between two sweeps of retention. Shorter: smaller steps, more reading for nothing.",
    )
    retention_step: int = Field(
        500,
        ge=1,
        le=10_000,
        description="Documents that retention removes at once. More is faster and holds up other writes for longer.",
    )
    inbox_lanes: int = Field(
        1,
        ge=1,
        le=256,
        description="Batches of inbox entries of other nodes' messages that are prepared at the same time.",
    )
    session_lanes: int = Field(
        2, ge=1, le=64, description="Batches of sessions that are opened and closed at the same time."
    )
    read_lanes: int = Field(
        4, ge=1, le=64, description="Batches of pages (sync, history, conversations) that are read at the same time."
    )
    lane_capacity: int = Field(
        4000,
        ge=1,
        le=1_000_000,
        description="Items that may wait in one lane; one more is answered OVERLOADED. More: longer waits instead "
        "of refusals.",
    )
    batch_max: int = Field(
        256, ge=1, le=2000, description="Items of one batch. Larger batches cost less per message and take longer."
    )
    cached_members_max: int = Field(
        600_000,
        ge=100_000,
        le=100_000_000,
        description="Members of conversations that are kept in memory, all conversations together; a conversation "
        "counts as 4 more. About 0.4 KB each at most: 100,000 direct chats or 3,000 groups of 200 in 230 MB. What "
        "is not in memory is read again first.",
    )
    cached_entries_max: int = Field(
        1_600_000,
        ge=100_000,
        le=100_000_000,
        description="Newest inbox entries that are kept in memory, of all users together; a user counts as 8 more. "
        "About 0.22 KB each at most: 40,000 users with 32 entries, or 22,000 with 64, in 350 MB.",
    )
    cached_sessions_max: int = Field(
        200_000,
        ge=1000,
        le=100_000_000,
        description="Sessions that are kept in memory, all users together; a user counts as 1 more. About 0.4 KB each: "
        "100,000 users with one session in 80 MB. A login of a user who is in memory reads nothing before it is "
        "written.",
    )
    inbox_tail: int = Field(
        64,
        ge=8,
        le=4096,
        description="Newest entries of an inbox kept in memory: acknowledgements of these, and repeated appends, "
        "need no reading.",
    )
    recent_sends_max: int = Field(
        50_000,
        ge=1000,
        le=10_000_000,
        description="Client ids kept in memory, so that a send repeated soon is found without a failed write (0.4 "
        "KB each).",
    )
    list_places_max: int = Field(
        100_000,
        ge=0,
        le=10_000_000,
        description="Of users with 500 conversations or more, so many places in their lists are kept in memory (0.2 KB "
        "each), so that the next page costs no more than a page. A list that is not is read from MongoDB: 10 µs a "
        "conversation.",
    )
    flush_interval_s: float = Field(
        4.0,
        gt=0,
        le=60,
        description="How often heads and cursors that moved are written. Longer: fewer writes, and more to settle "
        "after a crash.",
    )
    reaction_gather_ms: int = Field(
        1000,
        ge=0,
        le=60_000,
        description="Reactions to one message are told by at most one entry in so long: the first at once, then what "
        "has gathered. Shorter: livelier counters, more entries of posts that many people react to.",
    )
    store_budget_s: float = Field(
        1.8,
        gt=0,
        le=60,
        description="How long a batch may try to be stored; then its sends are answered UNAVAILABLE. Keep it below "
        "`rpc_timeout_s`.",
    )
    mongodb_timeout_s: float = Field(
        1.5,
        gt=0,
        le=60,
        description="Deadline of one command to MongoDB, with the choice of a server. An election takes longer and "
        "is answered UNAVAILABLE meanwhile.",
    )
    mongodb_connections_max: int = Field(
        32, ge=4, le=1000, description="Connections of this node to each server of MongoDB: as many commands at once."
    )
    stream_idle_s: float = Field(
        60.0,
        ge=1,
        le=86_400,
        description="A message whose text grows, and whose sender says nothing for so long, is finished with the text "
        "that is there. Shorter: a bot that thinks for long has to send empty parts meanwhile.",
    )
    events_waiting_bytes_max: int = Field(
        16_777_216,
        ge=65_536,
        le=4_294_967_296,
        description="Memory for events that wait for Kafka. What has no room is read from MongoDB again when Kafka is "
        "back: nothing is lost, but reading costs more.",
    )
    session_sweep_interval_s: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="How often sessions of nodes that died are removed. They never count as online, whatever this is.",
    )

    @model_validator(mode="after")
    def _answers_in_time(self) -> Self:
        if self.mongodb_timeout_s > self.store_budget_s:
            raise ValueError(
                "mongodb_timeout_s is above store_budget_s, so that not even one try would fit: lower "
                "mongodb_timeout_s, or raise store_budget_s"
            )
        if self.store_budget_s >= self.rpc_timeout_s:
            raise ValueError(
                "store_budget_s is not below rpc_timeout_s, so that the answer would come too late: lower "
                "store_budget_s, or raise rpc_timeout_s"
            )
        return self
