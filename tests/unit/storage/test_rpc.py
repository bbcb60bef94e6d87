"""The storage service: a defect in the handling of one item is that item's fault, and nobody else's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.rpc.faults import to_fault
from services.storage.rpc import StorageServicer
from tidings_protocol.errors import Internal, Unavailable

Item = Any


class Part:
    """A part of a storage node: a batch with something bad in it fails whole."""

    def __init__(self, outcome: Callable[[], Any]) -> None:
        self._outcome = outcome
        self.handled: list[int] = []

    async def handle(self, items: Sequence[Item], *_: Any, **__: Any) -> list[Any]:
        self.handled.append(len(items))
        names = [item.record.user if hasattr(item, "record") else _name_of(item) for item in items]
        if "d:bad|bob" in names or "bad" in names:
            raise ValueError("invalid literal for int() with base 10: '²'")
        if "away" in names:
            raise Unavailable("the database is away")
        return [self._outcome() for _ in items]

    def __getattr__(self, name: str) -> Any:
        return self.handle


def _name_of(item: Item) -> str:
    return str(item.conversation if "conversation" in item.DESCRIPTOR.fields_by_name else item.user)


BY_CONVERSATION: dict[str, tuple[type, type, type]] = {
    "Store": (pb.StoreBatch, pb.StoreItem, pb.StoreOutcome),
    "Change": (pb.ChangeBatch, pb.ChangeItem, pb.ChangeOutcome),
    "Load": (pb.LoadBatch, pb.LoadItem, pb.LoadOutcome),
    "Mark": (pb.MarkBatch, pb.MarkItem, pb.MarkOutcome),
    "History": (pb.HistoryBatch, pb.HistoryItem, pb.PageOutcome),
    "Members": (pb.MembersBatch, pb.MembersItem, pb.MembersOutcome),
}
BY_USER: dict[str, tuple[type, type, type]] = {
    "Acknowledge": (pb.AcknowledgeBatch, pb.AcknowledgeItem, pb.AcknowledgeOutcome),
    "Inbox": (pb.InboxBatch, pb.InboxItem, pb.PageOutcome),
    "Conversations": (pb.ConversationsBatch, pb.ConversationsItem, pb.ConversationsOutcome),
}


def servicer(outcome: Callable[[], Any]) -> tuple[StorageServicer, Part]:
    part = Part(outcome)
    names = ("conversations", "loads", "lists", "cursors", "pages", "sessions", "acknowledgements")
    return StorageServicer(cast("Any", SimpleNamespace(**dict.fromkeys(names, part)))), part


@pytest.mark.parametrize("method", [*BY_CONVERSATION, *BY_USER])
async def test_a_defect_with_one_item_is_its_own(method: str) -> None:
    batch, item, outcome = {**BY_CONVERSATION, **BY_USER}[method]
    storage, part = servicer(outcome)
    field, names = ("conversation", "d:{}|bob") if method in BY_CONVERSATION else ("user", "{}")
    items = [item(**{field: names.format(who)}) for who in ("ann", "bad", "cid", "dan", "eve")]
    answer = await getattr(storage, method)(batch(items=items), None)
    assert [each.fault.code for each in answer.outcomes] == ["", Internal.code, "", "", ""]
    assert part.handled[0] == 5
    assert sum(part.handled) <= 5 + 2 * 5


async def test_a_login_fails_alone() -> None:
    storage, _ = servicer(pb.SessionOpenOutcome)
    items = [pb.SessionItem(record=pb.SessionRecord(user=who)) for who in ("ann", "bad", "cid")]
    answer = await storage.Open(pb.SessionBatch(items=items), cast("Any", None))
    assert [each.fault.code for each in answer.outcomes] == ["", Internal.code, ""]


async def test_what_all_of_them_need_is_away_for_all_of_them() -> None:
    storage, part = servicer(pb.MarkOutcome)
    items = [pb.MarkItem(conversation="d:ann|bob", user="ann"), pb.MarkItem(conversation="away", user="ann")]
    with pytest.raises(Unavailable):
        await storage.Mark(pb.MarkBatch(items=items), cast("Any", None))
    assert part.handled == [2]


async def test_a_batch_of_nothing_but_what_is_away_is_raised_so_that_the_next_node_is_asked() -> None:
    storage, _ = servicer(lambda: pb.MarkOutcome(fault=to_fault(Unavailable("away"))))
    with pytest.raises(Unavailable):
        await storage.Mark(pb.MarkBatch(items=[pb.MarkItem(user="ann")]), cast("Any", None))
