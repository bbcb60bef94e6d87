"""The settings of the stream of events, which storage and logic nodes share.

Does not know: who tells which events.
"""

from __future__ import annotations

from pydantic import Field

from services.common.settings.node import NodeSettings


class EventSettings(NodeSettings):
    """Of a node that publishes events; all of a cluster have the same."""

    events_enabled: bool = Field(
        True,
        description="Whether events go on the stream for other systems (docs/events.md): of every message and change "
        "of membership by storage nodes, of every receipt by logic nodes. Each costs its node about 10 µs of CPU, and "
        "the broker 40 µs.",
    )
    events_partitions: int = Field(
        4,
        ge=1,
        le=1024,
        description="Partitions of the stream of events when it is created: how many consumers of one group can share "
        "it. Each one more makes publishing a large batch slower (measured: 3 ms with 4, 18 ms with 16).",
    )
    events_retention_h: int = Field(
        168,
        ge=1,
        le=87_600,
        description="How long events are kept when their topic is created: so long a consumer may be away.",
    )
