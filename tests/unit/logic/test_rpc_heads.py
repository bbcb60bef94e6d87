"""Which large groups a user is in, as the access nodes ask: all of them, or told that it is not all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from protos.tidings.internal.v1 import logic_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from services.logic.in_flight import InFlightLimit
from services.logic.rpc import LARGE_PAGES_MAX, LogicServicer
from tidings_protocol.errors import TidingsError, Unavailable

PAGE = 3


class Lists:
    """Storage with so many large groups of each user, by pages."""

    def __init__(self, groups: dict[str, int]) -> None:
        self.groups = groups
        self.fails = False

    async def inbox_heads(self, users: Sequence[str]) -> list[int]:
        return [0] * len(users)

    async def conversation_heads(self, conversations: Sequence[str]) -> list[int]:
        return [0] * len(conversations)

    async def conversations(
        self, items: Sequence[pb.ConversationsItem]
    ) -> list[pb.ConversationsOutcome | TidingsError]:
        return [Unavailable("away") if self.fails else self._page(item) for item in items]

    def _page(self, item: pb.ConversationsItem) -> pb.ConversationsOutcome:
        assert item.large_only
        first = int(item.after or 0)
        last = min(first + PAGE, self.groups[item.user])
        entries = [
            pb.ConversationEntry(record=pb.ConversationRecord(conversation=f"g:{number}", head=number + 1))
            for number in range(first, last)
        ]
        return pb.ConversationsOutcome(entries=entries, next=str(last), more=last < self.groups[item.user])


def logic_on(storage: Lists) -> LogicServicer:
    nobody: Any = None
    enough_of_it: Any = storage
    room = InFlightLimit(1000)
    before = (nobody, nobody, nobody, nobody, nobody, nobody, nobody)
    return LogicServicer(*before, enough_of_it, nobody, sends=room, requests=room)


async def heads(storage: Lists, *users: str) -> list[tuple[int, bool]]:
    query = logic_pb2.HeadsQuery(users=users, large_groups=True)
    answer = await logic_on(storage).Heads(query, None)
    return [(len(groups.heads), groups.more) for groups in answer.large_groups]


async def test_all_pages_are_read_and_the_answers_are_aligned() -> None:
    groups = {"ann": 2, "bob": 10, "cid": 0}
    assert await heads(Lists(groups), "bob", "ann", "cid", "bob") == [(10, False), (2, False), (0, False), (10, False)]


async def test_who_is_in_more_groups_than_are_read_is_told_so() -> None:
    storage = Lists({"ann": PAGE * LARGE_PAGES_MAX + 1, "bob": PAGE * LARGE_PAGES_MAX})
    assert await heads(storage, "ann", "bob") == [(PAGE * LARGE_PAGES_MAX, True), (PAGE * LARGE_PAGES_MAX, False)]


async def test_an_answer_that_is_not_known_is_none() -> None:
    storage = Lists({"ann": 1})
    storage.fails = True
    with pytest.raises(Unavailable):
        await heads(storage, "ann")
