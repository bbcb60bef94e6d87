"""What is watched begins with the request, and ends with the connection."""

from __future__ import annotations

from typing import Any, cast

import pytest

from services.access.presence.watching import Watching
from services.common.clock import ManualClock
from tests.unit.access.fakes import open_client
from tidings_protocol import client_pb2
from tidings_protocol.client_pb2 import ClientFrame, PresenceRequest, ProfileRequest
from tidings_protocol.errors import BadRequest


def counts(watching: Watching) -> tuple[int, int]:
    return len(watching.presence.watchers), len(watching.profiles.watchers)


def test_requests_begin_and_end_watches_of_their_own_kind() -> None:
    watching = Watching(cast("Any", None), ManualClock(), watched_max=2)
    connection = open_client("ann").connection
    presence = PresenceRequest(users=["bob", "cid"], watch=True)
    get = ProfileRequest.Get(users=["bob"], watch=True)
    watching.begin(connection, ClientFrame(presence=presence))
    assert counts(watching) == (2, 0)
    watching.begin(connection, ClientFrame(profile=ProfileRequest(get=get)))
    watching.begin(connection, ClientFrame(profile=ProfileRequest(set=client_pb2.Profile(name="Ann"))))
    assert counts(watching) == (2, 1)
    with pytest.raises(BadRequest):
        watching.begin(connection, ClientFrame(presence=PresenceRequest(users=["dan"], watch=True)))
    watching.begin(connection, ClientFrame(presence=PresenceRequest(users=["bob"])))
    assert counts(watching) == (1, 1)
    answer = client_pb2.PresenceList(users=[client_pb2.Presence(user="cid")])
    watching.learn(answer, connection, ["cid"])
    assert watching.presence.watchers.is_hidden(connection, "cid")
    watching.forget(connection)
    assert counts(watching) == (0, 0)


async def test_news_that_may_be_lost_are_asked_for() -> None:
    watching = Watching(cast("Any", None), ManualClock(), watched_max=2)
    async with watching:
        watching.check_all()
