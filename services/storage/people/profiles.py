"""Profiles of users: read by many, set one at a time.

Guarantees: a profile is set in the place of the version that is expected, or not at all; what one request sets is set
once, however often it is repeated.
Does not know: who may set a profile, what may be in one, who watches it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from protos.tidings.internal.v1 import storage_pb2
from services.common.scope import run_all
from services.storage.repository.contract import Repository
from services.storage.repository.people import ProfileDocument
from tidings_protocol import client_pb2
from tidings_protocol.errors import Conflict, TidingsError

ProfileOutcome = storage_pb2.ProfileOutcome

# Profiles that are set at the same time.
AT_ONCE: Final = 16


class ProfileStore:
    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def profiles(self, users: Sequence[str]) -> list[client_pb2.Profile]:
        """The profile of each user, aligned; of one who has none, the user and version 0. Raises Unavailable."""
        found = await self._repository.profiles.find(set(users))
        return [_profile(found[user]) if user in found else client_pb2.Profile(user=user) for user in users]

    async def put(self, items: Sequence[storage_pb2.ProfileItem]) -> list[ProfileOutcome | TidingsError]:
        """Sets profiles; aligned with the items. Conflict: another version is there than the one that is expected."""
        outcomes: list[ProfileOutcome | TidingsError] = []
        for start in range(0, len(items), AT_ONCE):
            outcomes += await run_all(*(self._put(item) for item in items[start : start + AT_ONCE]))
        return outcomes

    async def _put(self, item: storage_pb2.ProfileItem) -> ProfileOutcome | TidingsError:
        user, expected = item.profile.user, item.profile.version
        bare = client_pb2.Profile()
        bare.CopyFrom(item.profile)
        bare.ClearField("user")
        bare.ClearField("version")
        try:
            present = await self._repository.profiles.put(user, bare.SerializeToString(), item.op, expected)
        except TidingsError as error:
            return error
        if present is None or present.op != item.op:
            there = present.version if present is not None else 0
            return Conflict(f"the profile has version {there}, not {expected}: get it, and set what is to change")
        return ProfileOutcome(profile=_profile(present))


def _profile(document: ProfileDocument) -> client_pb2.Profile:
    profile = client_pb2.Profile.FromString(document.profile)
    profile.user, profile.version = document.user, document.version
    return profile
