"""People, and what a user keeps for oneself: profiles, preferences of conversations, who reacted and who read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tidings_protocol import client_pb2 as pb


@dataclass(frozen=True, slots=True)
class Profile:
    """How a user is shown. `avatar`: a media id or a URL. `version` 0: there is none."""

    user: str
    name: str = ""
    avatar: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    version: int = 0

    @classmethod
    def from_proto(cls, profile: pb.Profile) -> Profile:
        return cls(profile.user, profile.name, profile.avatar, dict(profile.attributes), profile.version)


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the user has set for a conversation, on all devices.

    `muted_until_ms`: no push notifications until then; 0: not muted; -1: for ever. `hidden`: not in the list until its
    next message.
    """

    conversation: str
    muted_until_ms: int = 0
    pinned: bool = False
    archived: bool = False
    marked_unread: bool = False
    draft: str = ""
    hidden: bool = False

    @classmethod
    def from_proto(cls, told: pb.ConversationPreferences) -> Preferences:
        return cls(
            told.conversation,
            told.muted_until_ms,
            told.pinned,
            told.archived,
            told.marked_unread,
            told.draft,
            told.hidden,
        )

    def muted(self, time_ms: int) -> bool:
        return self.muted_until_ms < 0 or self.muted_until_ms > time_ms


@dataclass(frozen=True, slots=True)
class Readers:
    """Members who hold a message, or have read it: their names by pages, how many in all."""

    users: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Reactor:
    """Who reacted with what, and when."""

    user: str
    reaction: str
    time_ms: int

    @property
    def time(self) -> datetime:
        return datetime.fromtimestamp(self.time_ms / 1000, UTC)

    @classmethod
    def from_proto(cls, told: pb.ReactorPage.Reactor) -> Reactor:
        return cls(told.user, told.reaction, told.time_ms)
