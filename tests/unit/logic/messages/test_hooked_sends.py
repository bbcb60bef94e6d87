"""A hook that does not answer holds up only those who speak in that conversation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import httpx2

from protos.tidings.internal.v1 import logic_pb2, storage_pb2
from services.logic.messages.draft import SendDraft
from services.logic.messages.hooked_sends import HookedSends
from tests.unit.logic.harness import Logic, body, logic, message
from tests.unit.logic.messages.test_changes import change
from tests.unit.logic.messages.test_hooks import hooks
from tests.unit.logic.on_storage import on_storage
from tidings_protocol.errors import Unavailable
from tidings_protocol.kinds import NORMAL, SYSTEM


class Deciding:
    """An endpoint that answers about each text when the test says so, and at once about those it does not know."""

    def __init__(self, *slow: str) -> None:
        self.slow = {text: asyncio.get_running_loop().create_future() for text in slow}
        self.asked: list[str] = []

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        [asked] = json.loads(request.content)["messages"]
        text = asked["content"]["text"]
        self.asked.append(text)
        decision = await self.slow[text] if text in self.slow else {"action": "allow"}
        return httpx2.Response(200, content=json.dumps({"decisions": [decision]}))

    def decide(self, text: str, **decision: Any) -> None:
        self.slow[text].set_result(decision or {"action": "allow"})


async def until_answered(node: Logic, *items: logic_pb2.SendItem) -> Sequence[logic_pb2.SendOutcome]:
    """As an access node asks again and again."""
    while True:
        outcomes = await node.send(*items, holds=True)
        if not any(outcome.pending for outcome in outcomes):
            return outcomes
        await _turn()


async def _turn() -> None:
    turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(turn.set_result, None)
    await turn


async def test_the_others_of_a_batch_are_stored_and_answered_while_one_waits() -> None:
    endpoint = Deciding("slow")
    async with hooks(endpoint) as opened, logic(hooks=opened) as node:
        slow, quick = message("amy", "d:amy|bob", "slow"), message("amy", "d:amy|eve", "quick")
        first, second = await node.send(slow, quick, holds=True)
        assert (first.pending, second.pending, second.seq) == (True, False, 1)
        assert {body(push).content.text for push in node.pushes()} == {"quick"}
        endpoint.decide("slow")
        [outcome] = await until_answered(node, slow)
        assert (outcome.seq, outcome.number, outcome.duplicate) == (1, 2, False)
        assert endpoint.asked == ["slow", "quick"], "what is asked for again is the same message"


async def test_nothing_passes_a_message_of_its_conversation_that_waits() -> None:
    endpoint = Deciding("one", "three")
    async with hooks(endpoint, calls_max=8) as opened, logic(hooks=opened) as node:
        items = [message("amy", "d:amy|bob", text) for text in ("one", "two", "three", "four")]
        assert [outcome.pending for outcome in await node.send(*items[:2], holds=True)] == [True, True]
        assert [outcome.pending for outcome in await node.send(*items[2:], holds=True)] == [True, True]
        endpoint.decide("three", action="refuse", reason="no")
        assert node.storage.conversations.get("d:amy|bob") is None
        endpoint.decide("one")
        one, two, three, four = await until_answered(node, *items)
        assert [one.seq, two.seq, three.fault.code, four.seq] == [1, 2, "FORBIDDEN", 3]


async def test_a_change_by_the_client_id_of_a_message_that_waits_is_not_answered_as_that_message() -> None:
    endpoint = Deciding("slow")
    async with hooks(endpoint) as opened, on_storage(hooks=opened) as node:
        slow = message("amy", "d:amy|bob", "slow", client_id="one")
        pin = change("amy", "d:amy|bob", client_id="one", pin=True)
        assert [outcome.pending for outcome in await node.send(slow, pin, holds=True)] == [True, True]
        endpoint.decide("slow")
        first, second = await until_answered(node, slow, pin)
        assert (first.seq, second.fault.code) == (1, "BAD_REQUEST")


async def test_who_does_not_know_what_pending_is_waits_for_all() -> None:
    endpoint = Deciding("slow")
    async with hooks(endpoint) as opened, logic(hooks=opened) as node:
        sending = asyncio.ensure_future(node.send(message("amy", "d:amy|bob", "slow")))
        while not endpoint.asked:
            await _turn()
        endpoint.decide("slow")
        [outcome] = await sending
        assert outcome.seq == 1


async def test_no_more_wait_than_may() -> None:
    endpoint = Deciding(*map(str, range(101)))
    async with hooks(endpoint, calls_max=200) as opened, logic(hooks=opened) as node:
        items = [message("amy", f"d:amy|b{number}", str(number)) for number in range(101)]
        outcomes = await node.send(*items, holds=True)
        assert [outcome.pending for outcome in outcomes] == [True] * 100 + [False]
        assert outcomes[-1].fault.code == "OVERLOADED"


async def test_a_call_that_is_given_up_does_not_stop_what_comes_after() -> None:
    endpoint = Deciding("one")
    async with hooks(endpoint) as opened, logic(hooks=opened) as node:
        node.storage.group("g:x", "amy")
        sending = asyncio.ensure_future(node.send(message("amy", "g:x", "one")))
        while not endpoint.asked:
            await _turn()
        sending.cancel()
        later = message("amy", "g:x", "two")
        assert (await node.send(later, holds=True))[0].pending
        endpoint.decide("one")
        assert [outcome.seq for outcome in await until_answered(node, later)] == [2]


async def test_what_cannot_be_permitted_now_stands_in_nobodys_way() -> None:
    async with hooks(Deciding()) as opened, logic(hooks=opened) as node:
        node.storage.group("g:x", "amy")
        node.storage.fail["Load"] = [Unavailable("away", 300)]
        assert (await node.send(message("amy", "g:x", "one")))[0].fault.code == "UNAVAILABLE"
        assert (await node.send(message("amy", "g:x", "two")))[0].seq == 1


async def test_a_kind_of_which_hooks_are_not_asked_goes_on_in_its_turn() -> None:
    async def permit(drafts: Sequence[SendDraft]) -> None:
        for draft in drafts:
            draft.kind = SYSTEM if draft.item.client_id == "amy-notice" else NORMAL

    async def finish(drafts: Sequence[SendDraft]) -> None:
        for draft in drafts:
            stored.append(draft.item.client_id)
            draft.stored = storage_pb2.StoreOutcome(seq=len(stored))

    stored: list[str] = []
    endpoint = Deciding()
    async with (
        hooks(endpoint) as opened,
        HookedSends(opened, permit, finish, held_max=10, patience_s=5.0) as sends,
    ):
        await sends.send([message("amy", "d:amy|bob", key) for key in ("asked", "notice")], holds=False)
    assert stored == ["amy-asked", "amy-notice"]
    assert endpoint.asked == ["asked"]
