"""Batches to logic nodes: over real calls they are never larger than one carries, and one item spoils no other."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from protos.tidings.internal.v1 import common_pb2, logic_pb2, logic_pb2_grpc
from services.access.logic_client import LogicClient
from services.access.requests.send_in_flight import SendInFlight
from services.access.send_rows import StoredSend
from services.common.registry.contract import NodeRecord
from services.common.rpc import Peers, serve
from tidings_protocol.errors import Internal, TidingsError, Unavailable
from tidings_protocol.ids import slot_of

KIB = 1024


class Service(logic_pb2_grpc.LogicServicer):
    """Answers every item; notes how many and how large its batches were."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, int]] = []
        self.refuse: Callable[[Any], bool] = lambda _: False
        self.answer_bytes = 0
        self.groups: dict[str, int] = {}

    def _note(self, request: Any) -> None:
        self.batches.append((len(request.items), request.ByteSize()))
        if any(self.refuse(item) for item in request.items):
            raise KeyError("a defect")

    async def SendRows(self, request: logic_pb2.SendColumns, context: Any) -> logic_pb2.SentColumns:  # noqa: N802
        self.batches.append((len(request.senders), request.ByteSize()))
        if "bad" in request.senders:
            raise KeyError("a defect")
        return logic_pb2.SentColumns(seqs=request.reply_tos or [1] * len(request.senders), times_ms=request.accepted_ms)

    async def Open(self, request: logic_pb2.OpenBatch, context: Any) -> logic_pb2.OpenOutcomes:  # noqa: N802
        self._note(request)
        return logic_pb2.OpenOutcomes(outcomes=[logic_pb2.OpenOutcome(epoch=item.user) for item in request.items])

    async def Close(self, request: logic_pb2.CloseBatch, context: Any) -> common_pb2.Empty:  # noqa: N802
        raise AssertionError("only nodes of 0.1.0 ask this")

    async def End(self, request: logic_pb2.CloseBatch, context: Any) -> logic_pb2.CloseOutcomes:  # noqa: N802
        self._note(request)
        return logic_pb2.CloseOutcomes()

    async def Held(self, request: logic_pb2.HeldQuery, context: Any) -> logic_pb2.HeldPage:  # noqa: N802
        return logic_pb2.HeldPage()

    async def Send(self, request: logic_pb2.SendBatch, context: Any) -> logic_pb2.SendOutcomes:  # noqa: N802
        self._note(request)
        return logic_pb2.SendOutcomes(outcomes=[logic_pb2.SendOutcome(seq=item.reply_to) for item in request.items])

    async def Signal(self, request: logic_pb2.SignalBatch, context: Any) -> logic_pb2.SignalOutcomes:  # noqa: N802
        self._note(request)
        return logic_pb2.SignalOutcomes(outcomes=[logic_pb2.SignalOutcome() for _ in request.items])

    async def StreamParts(self, request: logic_pb2.StreamPartBatch, context: Any) -> logic_pb2.StreamPartOutcomes:  # noqa: N802
        self._note(request)
        return logic_pb2.StreamPartOutcomes(outcomes=[logic_pb2.StreamPartOutcome() for _ in request.items])

    async def Acknowledge(self, request: logic_pb2.AckBatch, context: Any) -> common_pb2.Empty:  # noqa: N802
        self._note(request)
        return common_pb2.Empty()

    async def Handle(self, request: logic_pb2.HandleBatch, context: Any) -> logic_pb2.HandleOutcomes:  # noqa: N802
        self._note(request)
        return logic_pb2.HandleOutcomes(
            outcomes=[logic_pb2.HandleOutcome(frame=bytes(self.answer_bytes)) for _ in request.items]
        )

    async def Tell(self, request: logic_pb2.TellBatch, context: Any) -> common_pb2.Empty:  # noqa: N802
        return common_pb2.Empty()

    async def Heads(self, request: logic_pb2.HeadsQuery, context: Any) -> logic_pb2.HeadsAnswer:  # noqa: N802
        return logic_pb2.HeadsAnswer(
            users=[int(user[4:]) for user in request.users],
            conversations=[7 for _ in request.conversations],
            large_groups=[logic_pb2.LargeGroups(heads=self.groups) for _ in request.users],
        )


@asynccontextmanager
async def logic() -> AsyncIterator[tuple[LogicClient, Service]]:
    service = Service()
    add = logic_pb2_grpc.add_LogicServicer_to_server
    async with serve("127.0.0.1:0", [(add, service)], grace_s=0) as server, Peers() as peers:
        node = NodeRecord("logic-0", "logic", "boot", server.address, state="ready")

        class Router:
            def owner(self, slot: int) -> NodeRecord:
                return node

            async def call(self, slot: int, method: str, request: Any, reply_type: Any, **times: Any) -> Any:
                return await peers.call(method, request, reply_type, node=node, timeout_s=20.0)

        yield LogicClient(cast("Any", Router()), timeout_s=20, budget_s=20), service


def row(**fields: Any) -> SendInFlight:
    """A send, of which only these fields matter."""
    connection: Any = None
    plain = SendInFlight(connection, 1, "ann", "s", "d:a|b", 7, "c", b"hi", 0, 5)
    return plain._replace(**fields)


def shown(outcomes: Sequence[Any]) -> list[Any]:
    return [outcome.code if isinstance(outcome, TidingsError) else outcome for outcome in outcomes]


async def test_sends_of_any_size_go_in_calls_that_carry_them_in_their_order() -> None:
    items = [logic_pb2.SendItem(conversation="d:a|b", content=bytes(72 * KIB), reply_to=n) for n in range(256)]
    async with logic() as (asked, service):
        outcomes = await asked.send(items)
        assert [each.seq for each in outcomes if not isinstance(each, TidingsError)] == list(range(256))
        rows = [row(content=bytes(72 * KIB), reply_to=n) for n in range(256)]
        sent = await asked.send_rows(rows)
        assert [each.seq for each in sent if isinstance(each, StoredSend)] == list(range(256))
    assert len(service.batches) == 4
    assert all(size <= 12 * KIB * KIB for _, size in service.batches)


async def test_requests_and_their_answers_of_any_size_go_in_calls_that_carry_them() -> None:
    items = [logic_pb2.HandleItem(user=f"u{n}", frame=bytes(1024 * KIB)) for n in range(40)]
    async with logic() as (asked, service):
        service.answer_bytes = 700 * KIB
        outcomes = await asked.handle(items)
    assert Counter(len(each.frame) for each in outcomes if not isinstance(each, TidingsError)) == {700 * KIB: 40}
    assert max(size for _, size in service.batches) <= 13 * KIB * KIB


async def test_an_item_that_no_call_carries_is_told_so_alone_and_not_as_its_own_fault() -> None:
    items = [logic_pb2.SendItem(conversation="d:a|b", content=bytes(size)) for size in (1, 17 * KIB * KIB, 1)]
    async with logic() as (asked, _):
        [first, huge, last] = await asked.send(items)
        [first_row, huge_row, last_row] = await asked.send_rows([row(content=item.content) for item in items])
    assert not isinstance(first, TidingsError)
    assert not isinstance(last, TidingsError)
    assert isinstance(huge, Internal)
    assert (first_row, last_row) == (StoredSend(1, 5, 0), StoredSend(1, 5, 0))
    assert isinstance(huge_row, Internal)


@pytest.mark.parametrize("method", ["open", "close", "send", "signal", "stream_parts", "acknowledge", "handle"])
async def test_a_defect_in_the_handling_of_one_item_is_its_own(method: str) -> None:
    kind, field = {
        "open": (logic_pb2.OpenItem, "user"),
        "close": (logic_pb2.CloseItem, "user"),
        "send": (logic_pb2.SendItem, "sender"),
        "signal": (logic_pb2.SignalItem, "sender"),
        "stream_parts": (logic_pb2.StreamPartItem, "sender"),
        "acknowledge": (logic_pb2.AckItem, "user"),
        "handle": (logic_pb2.HandleItem, "user"),
    }[method]
    async with logic() as (asked, service):
        service.refuse = lambda item: getattr(item, field) == "bad"
        items = [kind(**{field: who}) for who in ("ann", "bob", "bad", "cid")]
        outcomes = await getattr(asked, method)(items)
    assert [isinstance(each, Internal) for each in outcomes] == [False, False, True, False]
    assert [count for count, _ in service.batches] == [4, 2, 2, 1, 1]


async def test_a_defect_in_one_row_is_its_own() -> None:
    async with logic() as (asked, service):
        outcomes = await asked.send_rows([row(sender=who) for who in ("ann", "bob", "bad", "cid")])
    assert [isinstance(each, Internal) for each in outcomes] == [False, False, True, False]
    assert [count for count, _ in service.batches] == [4, 2, 2, 1, 1]


async def test_rows_go_to_the_owners_of_their_slots_and_outcomes_are_aligned() -> None:
    asked: dict[int, list[str]] = {}

    class Nodes(TwoNodes):
        async def call(self, slot: int, method: str, request: Any, reply_type: Any, **_: Any) -> Any:
            if slot % 2 in self.failing:
                raise Unavailable("away")
            asked[slot % 2] = list(request.client_ids)
            return logic_pb2.SentColumns(seqs=map(int, request.client_ids), times_ms=request.accepted_ms)

    router = Nodes()
    client = LogicClient(cast("Any", router), timeout_s=1, budget_s=1)
    rows = [row(client_id=str(number), slot=number) for number in (1, 2, 3, 4, 5)]
    assert await client.send_rows(rows) == [StoredSend(number, 5, 0) for number in (1, 2, 3, 4, 5)]
    assert asked == {0: ["2", "4"], 1: ["1", "3", "5"]}
    router.failing = {1}
    assert [isinstance(each, Unavailable) for each in await client.send_rows(rows)] == [True, False, True, False, True]


async def test_a_node_that_is_away_is_so_for_all_and_asked_once() -> None:
    calls: list[int] = []

    class Away:
        def owner(self, slot: int) -> None:
            return None

        async def call(self, slot: int, method: str, request: Any, reply_type: Any, **times: Any) -> Any:
            calls.append(len(request.items))
            raise Unavailable("no logic node is ready")

    outcomes = await LogicClient(cast("Any", Away()), timeout_s=1, budget_s=1).send([logic_pb2.SendItem()] * 20)
    assert shown(outcomes) == ["UNAVAILABLE"] * 20
    assert calls == [20]


class TwoNodes:
    """A router of two nodes: one owns the even slots, the other one the odd ones; either fails on command."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, str, list[str]]] = []
        self.failing: set[int] = set()
        self.wanted: list[Callable[[], bool] | None] = []

    def owner(self, slot: int) -> NodeRecord:
        return NodeRecord(f"logic-{slot % 2}", "logic", "boot", "")

    async def call(
        self, slot: int, method: str, request: Any, reply_type: Any, *, wanted: Any = None, **times: float
    ) -> Any:
        users = [item.user for item in request.items]
        self.calls.append((slot % 2, method.rpartition("/")[2], users))
        self.wanted.append(wanted)
        if slot % 2 in self.failing:
            raise Unavailable("away")
        return logic_pb2.HandleOutcomes(outcomes=[logic_pb2.HandleOutcome(frame=user.encode()) for user in users])


async def test_a_batch_goes_to_the_owners_of_its_keys_and_outcomes_are_aligned() -> None:
    users = [f"u{number}" for number in range(20)]
    router = TwoNodes()
    outcomes = await LogicClient(cast("Any", router), timeout_s=1, budget_s=1).handle(
        [logic_pb2.HandleItem(user=user) for user in users]
    )
    assert [outcome.frame for outcome in outcomes if not isinstance(outcome, TidingsError)] == [
        user.encode() for user in users
    ]
    assert {node: called for node, _, called in router.calls} == {
        node: [user for user in users if slot_of(user) % 2 == node] for node in (0, 1)
    }
    assert [method for _, method, _ in router.calls] == ["Handle"] * 2


async def test_a_node_that_is_away_fails_its_own_part_alone() -> None:
    users = [f"u{number}" for number in range(20)]
    router = TwoNodes()
    router.failing = {1}
    outcomes = await LogicClient(cast("Any", router), timeout_s=1, budget_s=1).handle(
        [logic_pb2.HandleItem(user=user) for user in users]
    )
    assert [isinstance(outcome, Unavailable) for outcome in outcomes] == [slot_of(user) % 2 == 1 for user in users]


async def test_a_part_is_worth_another_try_while_one_of_its_items_is_wanted() -> None:
    gone: set[str] = set()
    router = TwoNodes()
    items = [logic_pb2.HandleItem(user="ann"), logic_pb2.HandleItem(user="ann")]
    items[1].session = "s2"
    client = LogicClient(cast("Any", router), timeout_s=1, budget_s=1)
    await client.handle(items, wanted=lambda item: item.session not in gone)
    (wanted,) = router.wanted
    assert wanted is not None
    assert wanted()
    gone.add("")
    assert wanted()
    gone.add("s2")
    assert not wanted()


async def test_nothing_is_called_for_no_items() -> None:
    router = TwoNodes()
    assert await LogicClient(cast("Any", router), timeout_s=1, budget_s=1).handle([]) == []
    assert router.calls == []


async def test_heads_of_users_in_very_many_groups_are_asked_for_by_halves() -> None:
    async with logic() as (asked, service):
        service.groups = {f"g:{number:060}": number for number in range(60_000)}
        answer = await asked.heads(["user1", "user2", "user3", "user4", "user5"], ["b:all"], large_groups=True)
    assert list(answer.users) == [1, 2, 3, 4, 5]
    assert list(answer.conversations) == [7]
    assert [len(each.heads) for each in answer.large_groups] == [60_000] * 5
