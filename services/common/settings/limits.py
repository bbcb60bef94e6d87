"""The limits that access nodes tell clients and logic nodes keep.

Guarantees: the same name, range and default on both sides. Does not know: how clients are told, what a limit refuses.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from services.common.settings.node import NodeSettings


class LimitSettings(NodeSettings):
    """Of a node that tells these limits or keeps them; access and logic nodes have the same."""

    content_bytes_max: int = Field(
        32_768,
        ge=256,
        le=524_288,
        description="Most bytes of a message's text or data. Every byte is stored, goes through Kafka and to every "
        "recipient.",
    )
    edit_window_s: int = Field(
        172_800,
        ge=0,
        le=3_153_600_000,
        description="How long after its time a message may be edited by its sender; clients are told. 0: always. "
        "Longer: people mend older mistakes; what others have read long ago may change. The same for access and logic "
        "nodes.",
    )
    recall_window_s: int = Field(
        172_800,
        ge=0,
        le=3_153_600_000,
        description="How long after its time a message may be recalled by its sender; clients are told. 0: always. "
        "Owner and admins of a group recall at any time. The same for access and logic nodes.",
    )
    profiles_by: Literal["user", "backend"] = Field(
        "user",
        description="Who sets profiles: `user`: each user their own; `backend`: only the operator's own systems. "
        "Access nodes tell clients which, logic nodes refuse users, so set it for both.",
    )
