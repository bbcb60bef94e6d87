"""`profile` requests: what users show of themselves.

Guarantees: a reply for each request, in their order; each user that a batch names is looked up once. A profile that was
set is durable, and who watches the user is told of it.

Does not know: who watches whom (the access nodes do).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.logic.people.news import PeopleNews
from services.logic.requests.request import ClientRequest, Handler, Reply
from services.logic.sessions.presence import check_users
from services.logic.storage_client import StorageClient
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, Forbidden, TidingsError
from tidings_protocol.ids import new_id
from tidings_protocol.profile import check_profile


class ProfileHandler:
    """Answers batches of `profile` requests. `own_profile`: users set their own."""

    def __init__(self, storage: StorageClient, news: PeopleNews, *, own_profile: bool) -> None:
        self._storage = storage
        self._news = news
        self._own_profile = own_profile

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By the names of operations."""
        return {"profile": self.profile}

    async def profile(self, requests: Sequence[ClientRequest]) -> list[Reply]:
        """The profiles that each request asks for, or the one that it has set."""
        replies: list[Reply] = [BadRequest("the profile request has no act: set one of get, set")] * len(requests)
        gets: list[int] = []
        sets: list[int] = []
        for index, request in enumerate(requests):
            try:
                match request.frame.profile.WhichOneof("act"):
                    case "get":
                        check_users(request.frame.profile.get.users)
                        gets.append(index)
                    case "set":
                        self._check_set(request)
                        sets.append(index)
            except TidingsError as error:
                replies[index] = error
        # What is set in a batch comes first: who set it, and asks right after that, is shown it.
        await self._set(requests, sets, replies)
        await self._get(requests, gets, replies)
        return replies

    def _check_set(self, request: ClientRequest) -> None:
        profile = request.frame.profile.set
        if not self._own_profile:
            raise Forbidden("profiles are set by the operator here: ask there")
        if profile.user not in {"", request.user}:
            raise Forbidden("only one's own profile can be set: leave `user` empty")
        check_profile(profile)

    async def _set(self, requests: Sequence[ClientRequest], indexes: Sequence[int], replies: list[Reply]) -> None:
        outcomes = await self._storage.set_profiles([_item(requests[index]) for index in indexes])
        for index, outcome in zip(indexes, outcomes, strict=True):
            if isinstance(outcome, TidingsError):
                replies[index] = outcome
            else:
                replies[index] = _list([outcome.profile])
                self._news.profiles([outcome.profile], requests[index].session)

    async def _get(self, requests: Sequence[ClientRequest], indexes: Sequence[int], replies: list[Reply]) -> None:
        named = dict.fromkeys(user for index in indexes for user in requests[index].frame.profile.get.users)
        found = dict(zip(named, await self._storage.profiles(list(named)), strict=True))
        for index in indexes:
            asked = dict.fromkeys(requests[index].frame.profile.get.users)
            failed = next((each for user in asked if isinstance(each := found[user], TidingsError)), None)
            replies[index] = failed or _list(
                [each for user in asked if not isinstance(each := found[user], TidingsError)]
            )


def _item(request: ClientRequest) -> pb.ProfileItem:
    profile = request.frame.profile.set
    return pb.ProfileItem(
        profile=client_pb2.Profile(
            user=request.user,
            name=profile.name,
            avatar=profile.avatar,
            attributes=profile.attributes,
            version=profile.version,
        ),
        op=request.op or new_id(),
    )


def _list(profiles: Sequence[client_pb2.Profile]) -> client_pb2.ServerFrame:
    return client_pb2.ServerFrame(profile_list=client_pb2.ProfileList(profiles=profiles))
