"""The nouns of logic: a group as it was when it was loaded, its members, what may change in it.

Guarantees: values only; nothing here is altered once it is made.

Does not know: where they come from (loader.py), what may be done with them (permissions.py, rules.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum


class GroupRole(IntEnum):
    """What a member may do; the numbers are those of `tidings.v1.Member.Role`."""

    MEMBER = 1
    ADMIN = 2
    OWNER = 3


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A member. `joined_seq` is the first seq that this member may read; age is the order of (joined_ms, user)."""

    user: str
    role: GroupRole
    joined_seq: int = 1
    joined_ms: int = 0


@dataclass(frozen=True, slots=True)
class GroupSnapshot:
    """A group in one version.

    `members` are all of a group that is not large; of a large group those that were asked for and are members.
    `successor` of a large group: who follows an owner that leaves, if that was asked for; then among `members` too.
    """

    conversation: str
    version: int
    members: Mapping[str, GroupMember]
    member_count: int
    name: str = ""
    open: bool = False
    channel: bool = False
    share_history: bool = False
    large_from: int = 0
    head: int = 0
    successor: str = ""

    @property
    def is_large(self) -> bool:
        """Whether the group is read by cursor."""
        return self.large_from > 0

    def role_of(self, user: str) -> GroupRole | None:
        """The user's role; None: the user is no member, or was not asked for."""
        member = self.members.get(user)
        return member.role if member else None


@dataclass(frozen=True, slots=True)
class GroupPolicy:
    """The limits of groups, from the settings."""

    large_above: int = 200
    members_max: int = 100_000
    users_max: int = 500
    name_bytes_max: int = 256


@dataclass(frozen=True, slots=True)
class GroupAct:
    """What happened to a group: the content of a notice, and of the event for other systems."""

    act: str
    by: str
    users: tuple[str, ...] = ()
    role: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class GroupNotice:
    """A SYSTEM message about an act; each recipient gets an inbox entry, none: read by cursor."""

    act: GroupAct
    recipients: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupChange:
    """One atomic change of a group, decided but not made.

    `version` is that of the group which the decision rests on, 0 for a new one. In `members` a `joined_seq` of 0 is
    the seq of the first notice. `acts` are all that happen, `notices` those of them that become messages. `empties`:
    nobody is left after it, or it is stale.
    """

    conversation: str
    actor: str
    version: int
    name: str = ""
    open: bool = False
    channel: bool = False
    share_history: bool = False
    members: tuple[GroupMember, ...] = ()
    removed: tuple[str, ...] = ()
    acts: tuple[GroupAct, ...] = ()
    notices: tuple[GroupNotice, ...] = ()
    becomes_large: bool = False
    keep_version: bool = False
    empties: bool = False


@dataclass(frozen=True, slots=True)
class AlreadyDone:
    """What a request asks for is so already: it is a repeat, perhaps of a change that nobody was told of.

    `act` is what is so. The nodes of the users are told again that these are (`indexed`), or are not (`dropped`), in
    this large group.
    """

    conversation: str
    act: GroupAct
    indexed: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


Decision = GroupChange | AlreadyDone
