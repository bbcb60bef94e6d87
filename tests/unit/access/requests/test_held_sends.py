"""Sends that logic has not decided yet: asked about again, in their order, until there is an outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from protos.tidings.internal.v1 import logic_pb2
from services.access.requests.held_sends import POLL_S, HeldSends, Outcome
from tidings_protocol.errors import Overloaded, TidingsError

Item = logic_pb2.SendItem
SendOutcome = logic_pb2.SendOutcome


@dataclass
class Decider:
    """Logic: says `pending` of what the test does not let go on."""

    ready: set[str] = field(default_factory=set)
    calls: list[list[str]] = field(default_factory=list)

    async def __call__(self, items: Sequence[Item]) -> Sequence[Outcome]:
        self.calls.append([item.client_id for item in items])
        return [SendOutcome(pending=item.client_id not in self.ready, seq=1) for item in items]


@dataclass
class Sent:
    item: Item
    answered: asyncio.Future[Outcome]

    def answer(self, outcome: Outcome) -> None:
        self.answered.set_result(outcome)


def never(_: Item) -> bool:
    return False


def sent(client_id: str, conversation: str = "d:a|b") -> Sent:
    item = Item(conversation=conversation, client_id=client_id)
    return Sent(item, asyncio.get_running_loop().create_future())


async def test_each_has_its_outcome_as_soon_as_it_is_decided() -> None:
    logic = Decider(ready={"b"})
    async with HeldSends(logic, capacity=10, batch_max=2, early=never) as waiting:
        first, second, third = sent("a"), sent("b", "d:a|c"), sent("c", "d:a|d")
        for send in (first, second, third):
            waiting.take(send)
        outcome = await second.answered
        assert isinstance(outcome, SendOutcome)
        assert outcome.seq == 1
        assert (waiting.holds("d:a|b"), waiting.holds("d:a|c")) == (True, False)
        logic.ready |= {"a", "c"}
        await first.answered
        await third.answered
        assert not waiting.holds("d:a|b")
    assert logic.calls[:2] == [["a", "b"], ["c"]]


async def test_the_order_of_a_conversation_is_that_in_which_they_came() -> None:
    logic = Decider()
    async with HeldSends(logic, capacity=10, batch_max=10, early=never) as waiting:
        first, second = sent("a"), sent("b")
        waiting.take(first)
        while not logic.calls:
            await asyncio.wait([first.answered], timeout=POLL_S)
        waiting.take(second)
        logic.ready = {"a", "b"}
        await second.answered
        assert logic.calls[-1] == ["a", "b"]
        assert first.answered.done()


async def test_one_more_than_may_wait_is_refused() -> None:
    async with HeldSends(Decider(ready={"a"}), capacity=1, batch_max=10, early=never) as waiting:
        first = sent("a")
        waiting.take(first)
        with pytest.raises(Overloaded):
            waiting.take(sent("b"))
        await first.answered
        waiting.take(last := sent("a"))
        await last.answered


async def test_leaving_answers_what_waits() -> None:
    async with HeldSends(Decider(), capacity=1, batch_max=10, early=never) as waiting:
        waiting.take(first := sent("a"))
    outcome = first.answered.result()
    assert isinstance(outcome, TidingsError)
    assert outcome.code == "UNAVAILABLE"


async def test_what_is_early_is_not_asked_about_and_what_is_behind_it_waits_with_it() -> None:
    logic, early = Decider(ready={"a", "b", "c"}), {"a"}
    async with HeldSends(logic, capacity=10, batch_max=10, early=lambda item: item.client_id in early) as waiting:
        first, second, third = sent("a"), sent("b"), sent("c", "d:a|c")
        for send in (first, second, third):
            waiting.take(send)
        await third.answered
        assert logic.calls == [["c"]]
        early.clear()
        await second.answered
        assert first.answered.done()
    assert logic.calls[-1] == ["a", "b"]
