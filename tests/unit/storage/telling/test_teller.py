"""Entries that no request waits for are handed to logic nodes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from google.protobuf.message import Message

from protos.tidings.internal.v1 import logic_pb2
from services.common.rpc.contract import Reply
from services.storage.telling.port import NoTeller
from services.storage.telling.teller import METHOD, LogicTeller
from tidings_protocol.errors import TidingsError, Unavailable
from tidings_protocol.ids import slot_of

TellItem = logic_pb2.TellItem


@dataclass
class FakeLogic:
    """Logic nodes, each with what it was told; `away`: those that do not answer."""

    told: dict[str, list[list[str]]] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def owner_of(self, slot: int) -> str:
        return f"logic-{slot % 2}"

    async def call(
        self, slot: int, method: str, request: Message, reply_type: type[Reply], *, timeout_s: float, budget_s: float
    ) -> Reply:
        assert method == METHOD
        assert isinstance(request, logic_pb2.TellBatch)
        assert timeout_s <= budget_s
        await self.gate.wait()
        owner = self.owner_of(slot)
        if owner in self.away:
            raise Unavailable("away")
        self.told.setdefault(owner, []).append([bytes(item.message).decode() for item in request.items])
        return reply_type()


def teller(logic: FakeLogic, capacity: int = 100) -> LogicTeller:
    return LogicTeller(logic, logic.owner_of, timeout_s=1.0, budget_s=2.0, capacity=capacity)


def items(conversation: str, *texts: str) -> list[TellItem]:
    return [TellItem(conversation=conversation, message=text.encode()) for text in texts]


def owners() -> dict[str, str]:
    """A conversation of each logic node."""
    return {f"logic-{slot_of(key) % 2}": key for key in (f"g:{number}" for number in range(50))}


async def test_each_owner_is_told_of_its_conversations_in_their_order() -> None:
    logic, of = FakeLogic(), owners()
    async with teller(logic) as told:
        told.tell(items(of["logic-0"], "a", "b") + items(of["logic-1"], "c"))
        told.tell(items(of["logic-0"], "d"))
    assert [text for batch in logic.told["logic-0"] for text in batch] == ["a", "b", "d"]
    assert logic.told["logic-1"] == [["c"]]


async def test_a_node_that_does_not_answer_costs_the_others_nothing() -> None:
    logic, of = FakeLogic(away={"logic-0"}), owners()
    async with teller(logic) as told:
        told.tell(items(of["logic-0"], "a") + items(of["logic-1"], "b"))
    assert logic.told == {"logic-1": [["b"]]}


async def test_what_has_no_room_is_lost_and_nobody_waits() -> None:
    logic = FakeLogic()
    logic.gate.clear()
    async with teller(logic, capacity=2) as told:
        told.tell(items("g:1", *"abcdef"))
        logic.gate.set()
    assert [text for batches in logic.told.values() for batch in batches for text in batch] == ["a", "b"]


async def test_a_teller_that_is_left_loses_what_comes_and_does_not_fail() -> None:
    logic = FakeLogic()
    async with teller(logic) as told:
        pass
    told.tell(items("g:1", "late"))
    assert logic.told == {}


async def test_nobody_is_told_by_none() -> None:
    NoTeller().tell(items("g:1", "a"))
    assert issubclass(Unavailable, TidingsError)
