"""Changes of groups are for sessions that are there."""

from __future__ import annotations

from collections.abc import Sequence

from services.logic.changes.session_guard import SessionGuard
from services.logic.requests.request import ClientRequest, Reply, ok_reply, page_limit
from services.logic.storage_client import StorageClient
from tests.unit.logic.fake_storage import FakeStorage
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError, Unavailable

FRAME = client_pb2.ClientFrame()


class Done:
    def __init__(self) -> None:
        self.users: list[str] = []

    async def handle(self, requests: Sequence[ClientRequest]) -> list[Reply]:
        self.users += [request.user for request in requests]
        return [ok_reply() for _ in requests]


def guarded(storage: FakeStorage) -> tuple[SessionGuard, Done]:
    client, done = StorageClient(storage, lambda _: "one", timeout_s=1, budget_s=1, batch_max=10), Done()
    return SessionGuard(client, done.handle), done


def codes(replies: Sequence[Reply]) -> list[str]:
    return [reply.code if isinstance(reply, TidingsError) else "" for reply in replies]


async def test_what_comes_in_the_name_of_a_session_that_is_over_is_not_begun() -> None:
    storage = FakeStorage()
    storage.present["amy", "phone"] = "s2"
    guard, done = guarded(storage)
    asked = [ClientRequest("amy", "s1", FRAME), ClientRequest("amy", "s2", FRAME), ClientRequest("bob", "s3", FRAME)]
    assert codes(await guard.handle(asked)) == ["UNAVAILABLE", "", "UNAVAILABLE"]
    assert done.users == ["amy"]
    assert storage.calls == [("Sessions", 2)], "each user is looked up once"


async def test_the_operator_needs_no_session_and_nobody_is_looked_up() -> None:
    storage = FakeStorage()
    guard, done = guarded(storage)
    assert codes(await guard.handle([ClientRequest("olga", "", FRAME)])) == [""]
    assert (done.users, storage.calls) == (["olga"], [])


async def test_a_session_that_cannot_be_looked_up_is_asked_again_later() -> None:
    storage = FakeStorage()
    storage.fail["Sessions"] = [Unavailable("away", 70)]
    guard, done = guarded(storage)
    assert codes(await guard.handle([ClientRequest("amy", "s1", FRAME)])) == ["UNAVAILABLE"]
    assert done.users == []


def test_a_limit_that_is_not_given_is_the_default_and_one_too_high_the_most() -> None:
    assert [page_limit(limit, 50, 200) for limit in (0, 1, 200, 10_000)] == [50, 1, 200, 200]
