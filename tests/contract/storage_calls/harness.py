"""What answers the calls of logic nodes, by its methods.

Does not know: which it is (conftest.py).
"""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import Message

from protos.tidings.internal.v1 import storage_pb2 as pb
from tests.unit.logic.fake_storage import FakeStorage
from tests.unit.logic.on_storage import Called

M = TypeVar("M", bound=Message)


class Storage:
    """One that answers, by its methods."""

    def __init__(self, caller: Called | FakeStorage) -> None:
        self._caller = caller

    async def ask(self, method: str, request: Message, reply: type[M]) -> M:
        path = f"/tidings.internal.v1.Storage/{method}"
        return await self._caller.call(0, path, request, reply, timeout_s=5, budget_s=5)

    async def store(self, *items: pb.StoreItem) -> list[pb.StoreOutcome]:
        return list((await self.ask("Store", pb.StoreBatch(items=items), pb.StoreOutcomes)).outcomes)

    async def change(self, item: pb.ChangeItem) -> pb.ChangeOutcome:
        return (await self.ask("Change", pb.ChangeBatch(items=[item]), pb.ChangeOutcomes)).outcomes[0]

    async def load(self, conversation: str, **fields: object) -> pb.LoadOutcome:
        item = pb.LoadItem(conversation=conversation, **fields)  # type: ignore[arg-type]
        return (await self.ask("Load", pb.LoadBatch(items=[item]), pb.LoadOutcomes)).outcomes[0]

    async def mark(self, conversation: str, user: str, read_seq: int = 0, delivered_seq: int = 0) -> pb.MarkOutcome:
        item = pb.MarkItem(conversation=conversation, user=user, read_seq=read_seq, delivered_seq=delivered_seq)
        return (await self.ask("Mark", pb.MarkBatch(items=[item]), pb.MarkOutcomes)).outcomes[0]

    async def open(self, user: str, device: str, session: str, *groups: str) -> pb.SessionOpenOutcome:
        record = pb.SessionRecord(user=user, device=device, session=session, node="access-0", boot_id="boot")
        batch = pb.SessionBatch(items=[pb.SessionItem(record=record, groups=groups)])
        return (await self.ask("Open", batch, pb.SessionOpenOutcomes)).outcomes[0]
