"""The settings of a logic node.

Limits that access nodes tell clients are shared with them (common/settings/limits.py). Does not know: who reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from services.common.settings import production
from services.common.settings.events import EventSettings
from services.common.settings.limits import LimitSettings
from services.common.settings.production import Objection

TOKEN_BYTES_MIN = 16


def read_secret(file: str) -> str:
    """The text of a secret's file without its trailing newline; no file: "". Raises ValueError if it cannot be read."""
    if not file:
        return ""
    try:
        secret = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror}): name a file that this process may read") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not UTF-8: write the secret as text") from None
    if not secret:
        raise ValueError(f"{file} is empty: write the secret into it")
    return secret


class LogicSettings(EventSettings, LimitSettings):
    """What a logic node decides by, how long it waits and how much it holds."""

    service: ClassVar[str] = "logic"

    large_group_threshold: int = Field(
        200,
        ge=2,
        le=5000,
        description="Members above which a group is read by cursor. Higher: each message of a big group costs as "
        "many inbox entries; lower: more groups for which clients hold a cursor of their own. A group "
        "that became large stays large.",
    )
    group_members_max: int = Field(
        100_000, ge=2, le=1_000_000, description="Most members of a group. Every access node indexes its local ones."
    )
    devices_per_user_max: int = Field(
        100,
        ge=1,
        le=10_000,
        description="Devices of one user connected at once. Each message of the user's chats goes to all of them.",
    )
    page_bytes_max: int = Field(
        131_072,
        ge=4096,
        le=1_048_576,
        description="About how many bytes a page of messages or conversations holds. Larger: fewer requests; slow "
        "clients wait longer.",
    )
    publish_wait_ms: int = Field(
        500,
        ge=10,
        le=30_000,
        description="How long Kafka may take to answer. After that messages go straight to the access nodes "
        "(degraded), and nothing waits for Kafka until it is back. An acknowledgement waits for it only while much "
        "else does, so that a slow Kafka holds senders back.",
    )
    publish_lanes: int = Field(
        1,
        ge=1,
        le=16,
        description="Publications to Kafka under way at once, those of messages always one after the other. More: less "
        "waiting behind one another; fewer: larger records.",
    )
    publish_waiting_max: int = Field(
        10_000,
        ge=100,
        le=1_000_000,
        description="Batches that may wait for their publication; beyond it they count as not published (clients "
        "sync).",
    )
    publish_backlog_bytes_max: int = Field(
        67_108_864,
        ge=0,
        le=4_294_967_296,
        description="Memory for what must still reach Kafka when it is back: events for other systems, presence, "
        "membership of large groups. Full: the oldest are dropped and counted. 0: nothing is kept.",
    )
    parcel_bytes_max: int = Field(
        524_288,
        ge=65_536,
        le=943_718,
        description="Most bytes of one Kafka record before a batch is spread over several; the broker takes 1 MiB by"
        " default.",
    )
    receipt_interval_ms: int = Field(
        1000,
        ge=0,
        le=60_000,
        description="Least time between two receipts of one reader in one conversation. Shorter: livelier ticks, "
        "more traffic in groups.",
    )
    receipts_pending_max: int = Field(
        100_000,
        ge=100,
        le=10_000_000,
        description="Readers and conversations whose receipts are held for their interval. Beyond it some go out "
        "early.",
    )
    sends_in_flight_max: int = Field(
        20_000,
        ge=1,
        le=1_000_000,
        description="Messages under way in this node; more are refused at once (OVERLOADED). Each holds its content "
        "in memory.",
    )
    requests_in_flight_max: int = Field(
        20_000,
        ge=1,
        le=1_000_000,
        description="Other requests, sessions and signals under way; more are refused at once (OVERLOADED).",
    )
    storage_timeout_s: float = Field(
        1.0,
        gt=0,
        le=60,
        description="Deadline of one call to a storage node. Shorter: a dead one is left sooner; too short: a busy one "
        "is asked twice.",
    )
    storage_budget_s: float = Field(
        1.8,
        gt=0,
        le=120,
        description="Time for all tries of one call to storage nodes. It must fit into the time that the access node "
        "waits for this one (rpc_timeout_s).",
    )
    storage_batch_max: int = Field(
        500,
        ge=1,
        le=5000,
        description="Most items of one call to a storage node. Larger: fewer calls; smaller: a slow item delays "
        "fewer others.",
    )
    cached_members_max: int = Field(
        400_000,
        ge=1000,
        le=100_000_000,
        description="Members of groups that are kept in memory, all groups together (about 250 bytes each).",
    )
    operator_token_file: str = Field(
        "",
        description="File with the token that operators' calls must carry (its text without the trailing newline, at"
        " least 16 bytes); empty: such calls are refused.",
    )
    hook_url: str = Field(
        "",
        pattern=r"^(https?://.+)?$",
        description="HTTP endpoint that is asked before every message and may refuse or change it (docs/hooks.md); "
        "empty: nobody is asked. Every acknowledgement waits for it.",
    )
    hook_token_file: str = Field(
        "", description="File with the token that calls of the hook carry (`Authorization: Bearer`); empty: none."
    )
    hook_timeout_ms: int = Field(
        500, ge=1, le=30_000, description="How long the hook may take for one call; then it counts as away."
    )
    hook_when_away: Literal["allow", "refuse"] = Field(
        "refuse",
        description="What becomes of messages that the hook did not answer for: `allow` stores them unseen, `refuse`"
        " answers UNAVAILABLE.",
    )
    hook_batch_max: int = Field(
        1,
        ge=1,
        le=500,
        description="Messages in one call of the hook. Above 1 the endpoint gets what is under way together, and "
        "fewer calls.",
    )
    hook_calls_max: int = Field(
        16, ge=1, le=1000, description="Calls of the hook under way at once; further ones wait for their turn."
    )

    @model_validator(mode="after")
    def _hook_fits_the_call(self) -> Self:
        if self.hook_url and 2 * self.hook_timeout_ms >= self.rpc_timeout_s * 1000:
            raise ValueError(
                "a call of the hook waits for its turn as well: keep hook_timeout_ms below half of rpc_timeout_s"
            )
        return self

    @model_validator(mode="after")
    def _secrets_are_there(self) -> Self:
        if 0 < len(read_secret(self.operator_token_file).encode()) < TOKEN_BYTES_MIN:
            raise ValueError(
                f"the token in operator_token_file is too short: make one of {TOKEN_BYTES_MIN} bytes or more"
            )
        read_secret(self.hook_token_file)
        return self

    @model_validator(mode="after")
    def _storage_fits_the_call(self) -> Self:
        if not self.storage_timeout_s <= self.storage_budget_s < self.rpc_timeout_s:
            raise ValueError(
                "a call to storage outlasts its caller's: keep storage_timeout_s ≤ storage_budget_s < rpc_timeout_s"
            )
        return self

    @model_validator(mode="after")
    def _publication_fits_the_call(self) -> Self:
        if self.publish_wait_ms >= self.rpc_timeout_s * 1000:
            raise ValueError("an access node would give up before Kafka does: keep publish_wait_ms below rpc_timeout_s")
        return self

    def insecurities(self) -> Iterator[Objection]:
        yield from super().insecurities()
        yield from production.of_secret_file("operator_token_file", self.operator_token_file)
        yield from production.of_private_file("hook_token_file", self.hook_token_file)
        yield from production.of_url("hook_url", self.hook_url)
