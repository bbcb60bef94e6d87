"""Acknowledgements reach logic, whatever happens to the node meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from protos.tidings.internal.v1 import logic_pb2
from services.access.connection.identity import Identity
from services.access.requests.acks import BATCH_MAX, Acks
from services.access.session.delivery_state import DeliveryState
from services.common.clock import ManualClock
from tidings_protocol.errors import Internal, TidingsError, Unavailable


class Logic:
    """Holds the first call until it is let go; `says` is the outcome of the next ones."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, int]] = []
        self.begun = asyncio.Event()
        self.open = asyncio.Event()
        self.says: list[TidingsError] = []

    async def acknowledge(self, items: Sequence[logic_pb2.AckItem]) -> Sequence[TidingsError | None]:
        self.begun.set()
        await self.open.wait()
        says = self.says.pop(0) if self.says else None
        if says is None:
            self.noted += [(item.user, item.number) for item in items]
        return [says] * len(items)


class Device:
    """As much of a connection as an acknowledgement needs."""

    def __init__(self, user: str) -> None:
        self.user, self.session_id, self.identity = user, "s", Identity(user, "d", "s")
        self.delivery = DeliveryState()
        self.delivery.push(9, 1.0)


def connection(user: str) -> Any:
    return Device(user)


async def test_what_is_being_noted_when_the_node_leaves_is_noted_again() -> None:
    logic = Logic()
    async with Acks(cast("Any", logic), ManualClock(), flush_s=0) as acks:
        for number in range(BATCH_MAX + 5):
            acks.on_ack(connection(f"u{number}"), 9)
        await logic.begun.wait()
        acks.on_ack(connection("late"), 9)
        logic.open.set()
    assert len(logic.noted) == BATCH_MAX + 6
    assert set(logic.noted) == {*((f"u{number}", 9) for number in range(BATCH_MAX + 5)), ("late", 9)}
    assert len(acks._waiting) == 0


async def test_what_logic_could_not_take_is_noted_when_the_node_leaves() -> None:
    logic = Logic()
    logic.says = [Unavailable("away")]
    logic.open.set()
    async with Acks(cast("Any", logic), ManualClock(), flush_s=0) as acks:
        acks.on_ack(connection("ann"), 9)
        await logic.begun.wait()
        await asyncio.sleep(0)
    assert logic.noted == [("ann", 9)]


async def test_what_logic_cannot_take_at_all_is_let_go() -> None:
    logic = Logic()
    logic.says = [Internal("a defect")]
    logic.open.set()
    async with Acks(cast("Any", logic), ManualClock(), flush_s=0) as acks:
        acks.on_ack(connection("ann"), 9)
        await logic.begun.wait()
        await asyncio.sleep(0)
    assert (logic.noted, len(acks._waiting)) == ([], 0)
