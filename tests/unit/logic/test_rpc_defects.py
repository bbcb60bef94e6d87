"""A defect in the handling of one request is that request's error; the others of its batch have their answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from protos.tidings.internal.v1 import logic_pb2
from services.logic.in_flight import InFlightLimit
from services.logic.messages.rows import RowSender
from services.logic.requests.dispatcher import Dispatcher
from services.logic.requests.request import ClientRequest, Reply, ok_reply
from services.logic.rpc import LogicServicer
from tests.support.device.requests import empty_request
from tests.unit.logic.harness import columns_of, outcomes_of
from tidings_protocol import client_pb2
from tidings_protocol.errors import Overloaded, TidingsError
from tidings_protocol.operations import OPERATIONS, Handler

PASSED_ON = [name for name, operation in OPERATIONS.items() if operation.handler is Handler.LOGIC]


class Part:
    """A part of logic that cannot do with `bad`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error or KeyError("bad")

    async def answer(self, requests: Sequence[ClientRequest]) -> list[Reply]:
        if any(request.user == "bad" for request in requests):
            raise self.error
        return [ok_reply() for _ in requests]

    async def send(self, items: Sequence[logic_pb2.SendItem], *, holds: bool) -> list[logic_pb2.SendOutcome]:
        if any(item.sender == "bad" for item in items):
            raise self.error
        return [logic_pb2.SendOutcome(seq=7) for _ in items]

    async def open(self, items: Sequence[logic_pb2.OpenItem]) -> list[logic_pb2.OpenOutcome]:
        if any(item.user == "bad" for item in items):
            raise self.error
        return [logic_pb2.OpenOutcome(epoch="e") for _ in items]

    async def signal(self, items: Sequence[logic_pb2.SignalItem]) -> list[TidingsError | None]:
        if any(item.sender == "bad" for item in items):
            raise self.error
        return [None for _ in items]


def dispatcher(part: Part) -> Dispatcher:
    return Dispatcher(dict.fromkeys(PASSED_ON, part.answer))


def servicer(part: Part) -> LogicServicer:
    fake = cast("Any", part)
    return LogicServicer(
        *(fake, fake, fake, fake, fake, fake, dispatcher(part), fake, fake),
        sends=InFlightLimit(100),
        requests=InFlightLimit(100),
    )


NAMES = ("ann", "bad", "cid", "dan", "eve")


@pytest.mark.parametrize("name", PASSED_ON)
async def test_a_request_that_cannot_be_handled_is_one_error(name: str) -> None:
    frame = empty_request(OPERATIONS[name]).SerializeToString()
    items = [logic_pb2.HandleItem(user=user, frame=frame) for user in NAMES]
    answer = await servicer(Part()).Handle(logic_pb2.HandleBatch(items=items), None)
    frames = [client_pb2.ServerFrame.FromString(outcome.frame) for outcome in answer.outcomes]
    assert [frame.error.code or frame.WhichOneof("body") for frame in frames] == ["ok", "INTERNAL", "ok", "ok", "ok"]


async def test_a_message_that_cannot_be_handled_is_one_error() -> None:
    items = [logic_pb2.SendItem(sender=user) for user in NAMES]
    answer = await servicer(Part()).Send(logic_pb2.SendBatch(items=items), None)
    assert [outcome.fault.code or outcome.seq for outcome in answer.outcomes] == [7, "INTERNAL", 7, 7, 7]


async def test_columns_that_cannot_be_handled_go_the_general_way_and_are_one_error() -> None:
    """There each row is an item, and the error is found at the one that it is of."""
    fake = cast("Any", Part())
    rows = RowSender(fake, fake, fake, fake, fake)  # has nothing that it needs
    room = InFlightLimit(100)
    served = LogicServicer(fake, fake, rows, fake, fake, fake, dispatcher(fake), fake, fake, sends=room, requests=room)
    columns = columns_of([logic_pb2.SendItem(sender=user, conversation="d:a|b") for user in NAMES])
    outcomes = outcomes_of(await served.SendRows(columns, None))
    assert [outcome.fault.code or outcome.seq for outcome in outcomes] == [7, "INTERNAL", 7, 7, 7]
    assert room.under_way == 0


async def test_columns_are_refused_whole_when_too_much_is_under_way() -> None:
    fake = cast("Any", Part())
    room = InFlightLimit(1)
    served = LogicServicer(fake, fake, fake, fake, fake, fake, dispatcher(fake), fake, fake, sends=room, requests=room)
    with room.admit(1), pytest.raises(Overloaded):
        await served.SendRows(columns_of([logic_pb2.SendItem(sender="ann")]), None)


async def test_a_login_that_cannot_be_handled_is_one_error() -> None:
    items = [logic_pb2.OpenItem(user=user) for user in NAMES]
    answer = await servicer(Part()).Open(logic_pb2.OpenBatch(items=items), None)
    assert [outcome.fault.code or outcome.epoch for outcome in answer.outcomes] == ["e", "INTERNAL", "e", "e", "e"]


async def test_a_signal_that_cannot_be_handled_is_one_error() -> None:
    items = [logic_pb2.SignalItem(sender=user) for user in NAMES]
    answer = await servicer(Part()).Signal(logic_pb2.SignalBatch(items=items), None)
    assert [outcome.fault.code for outcome in answer.outcomes] == ["", "INTERNAL", "", "", ""]


async def test_a_batch_that_is_to_come_again_does_so_whole() -> None:
    items = [logic_pb2.SendItem(sender=user) for user in NAMES]
    answer = await servicer(Part(Overloaded("full", 70))).Send(logic_pb2.SendBatch(items=items), None)
    assert [(each.fault.code, each.fault.retry_after_ms) for each in answer.outcomes] == [("OVERLOADED", 70)] * 5
