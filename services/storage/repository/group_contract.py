"""The ports for what lies beside a group's members. What contract.py promises of every port holds here too.

Does not know: who may do what; what a change ends, and when.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.storage.repository.group_records import (
    BanDocument,
    InviteDocument,
    InviteUse,
    JoinRequestDocument,
    Pace,
)
from services.storage.repository.records import MemberKey


class BanRepository(Protocol):
    """Who is banned, unique by (conversation, user)."""

    async def write(self, bans: Sequence[BanDocument]) -> None:
        """Writes each one whose stamp is higher than that of what is there, or where nothing is."""
        ...

    async def find(self, keys: Collection[MemberKey]) -> set[MemberKey]:
        """Those of the users that are banned."""
        ...

    async def page(self, conversation: str, after: str, limit: int) -> list[str]:
        """The next banned users after this one, by user id, at most `limit`; "": from the first on."""
        ...


class InviteRepository(Protocol):
    """Invites, unique by (conversation, invite), and who has come in by them."""

    async def make(self, invite: InviteDocument) -> None:
        """Makes it, if it is not there."""
        ...

    async def find(self, conversation: str, invite: str, now_ms: int) -> InviteDocument | None:
        """The invite, if it is there and not over at that time."""
        ...

    async def made_by(self, conversation: str, user: str, now_ms: int, limit: int) -> list[InviteDocument]:
        """This user's invites there that are not over at that time, oldest first, at most `limit`."""
        ...

    async def page(
        self, conversation: str, after: tuple[int, str], by: str, now_ms: int, limit: int
    ) -> list[InviteDocument]:
        """The next invites after (time, invite) that are not over at that time, oldest first, at most `limit`.
        `by`: only those of this user; "": all.
        """
        ...

    async def end(self, conversation: str, *, invite: str = "", by: Collection[str] | None = None, below: int) -> None:
        """Ends those with a stamp below this one: this invite, or all ("") of these users, or of everybody (None)."""
        ...

    async def use(self, uses: Sequence[InviteUse]) -> None:
        """Notes that these users have come in by these invites; what is noted already stays."""
        ...

    async def used_by(self, conversation: str, invite: str, user: str) -> bool:
        """Whether the user has come in by it before."""
        ...

    async def used(self, conversation: str, invites: Collection[str]) -> dict[str, int]:
        """How many users have come in by these, by invite; 0 where nobody has, left out."""
        ...


class JoinRequestRepository(Protocol):
    """Who asks to join, unique by (conversation, user)."""

    async def ask(self, request: JoinRequestDocument, since: int) -> None:
        """Keeps the request. One that is there and has no lower stamp than `since` keeps its time; its text is the
        new one.
        """
        ...

    async def find(self, keys: Collection[MemberKey], since: int) -> set[MemberKey]:
        """Those of the users that ask, with a stamp of `since` at least."""
        ...

    async def count(self, conversation: str, since: int, most: int) -> int:
        """How many ask there, with a stamp of `since` at least; counted up to `most`."""
        ...

    async def page(
        self, conversation: str, since: int, after: tuple[int, str], limit: int
    ) -> list[JoinRequestDocument]:
        """The next requests after (time, user), oldest first, at most `limit`."""
        ...

    async def drop(self, conversation: str, users: Collection[str] | None, below: int) -> None:
        """Drops those of these users, or of all (None), with a stamp below this one."""
        ...


class PaceRepository(Protocol):
    """When members of slow groups sent, unique by (conversation, user); kept for as long as a group can be slow."""

    async def find(self, keys: Collection[MemberKey]) -> dict[MemberKey, int]:
        """The times in ms at which these users sent last, where that is known."""
        ...

    async def write(self, paces: Sequence[Pace]) -> None:
        """Moves the times up."""
        ...


class DissolvedRepository(Protocol):
    """Groups that are dissolved, of which something is still to be cleared away; and who was a member at the end."""

    async def note(self, conversation: str, stamp: int) -> None:
        """There is something to clear away. `stamp`: of the document after its end."""
        ...

    async def some(self, limit: int) -> list[tuple[str, int]]:
        """Some of these groups, with their stamps."""
        ...

    async def release(self, conversation: str, stamp: int, limit: int) -> int:
        """Makes at most `limit` of its members former ones; how many it were."""
        ...

    async def clear(self, conversation: str) -> None:
        """Removes its bans, invites and requests, and the note."""
        ...

    async def former(self, keys: Collection[MemberKey]) -> set[MemberKey]:
        """Those of the users who were members when these dissolved groups ended."""
        ...


@dataclass(frozen=True, slots=True)
class GroupPorts:
    """All ports for what lies beside members."""

    bans: BanRepository
    invites: InviteRepository
    requests: JoinRequestRepository
    paces: PaceRepository
    dissolved: DissolvedRepository
