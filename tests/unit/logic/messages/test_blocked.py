"""What is done directly to whom somebody is blocked by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from protos.tidings.internal.v1 import logic_pb2
from services.logic.messages.blocked import refuse_blocked
from tidings_protocol.errors import BadRequest, Forbidden, TidingsError


class Blocks:
    """Bob takes nothing from anybody."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def refusals(self, direct: Sequence[tuple[str, str]]) -> list[TidingsError | None]:
        self.asked += direct
        return [Forbidden("no") if conversation.endswith("|bob") else None for conversation, _ in direct]


async def test_only_what_is_direct_and_not_refused_yet_is_asked_about() -> None:
    blocks, before = Blocks(), BadRequest("shape")
    items = [
        logic_pb2.SignalItem(conversation=conversation, sender="amy")
        for conversation in ("d:amy|bob", "g:x", "d:amy|bob", "d:amy|cleo")
    ]
    outcomes: list[TidingsError | None] = [before, None, None, None]
    await refuse_blocked(cast("Any", blocks), items, outcomes)
    assert [outcome.code if outcome else "" for outcome in outcomes] == ["BAD_REQUEST", "", "FORBIDDEN", ""]
    assert blocks.asked == [("d:amy|bob", "amy"), ("d:amy|cleo", "amy")]
    asked = len(blocks.asked)
    await refuse_blocked(cast("Any", blocks), items[1:2], [None])
    assert len(blocks.asked) == asked
