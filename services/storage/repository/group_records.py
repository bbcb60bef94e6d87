"""The values that lie beside a group's members: bans, invites, requests to join, when members of a slow group sent.

Guarantees: values only. A `stamp` is that of the group's document as of which the value was written: what a later
change ends has a lower one, so that a change whose consequences are written late ends nothing that is newer.

Does not know: how they are laid out in a database.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class BanDocument:
    """A user who may not come back, or (`gone`) may again. A write with a lower or equal stamp than what is there does
    nothing.
    """

    conversation: str
    user: str
    stamp: int = 0
    gone: bool = False


@dataclass(frozen=True, slots=True)
class InviteDocument:
    """An invite. `uses`: how many users it lets in; 0: no limit. `op`: of the request that made it."""

    conversation: str
    invite: str
    by: str
    time_ms: int
    expires_ms: int
    uses: int = 0
    op: str = ""
    stamp: int = 0


class InviteUse(NamedTuple):
    """A user who has come in by an invite that lets in so many only; forgotten with it."""

    conversation: str
    invite: str
    user: str
    expires_ms: int


@dataclass(frozen=True, slots=True)
class JoinRequestDocument:
    """A user who asks to join."""

    conversation: str
    user: str
    text: str
    time_ms: int
    stamp: int = 0


class Pace(NamedTuple):
    """When a user has last sent to a slow group; never goes back."""

    conversation: str
    user: str
    sent_ms: int
