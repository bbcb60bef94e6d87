"""Changes of messages: permitted, stored, told, answered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import httpx2
import pytest

from protos.tidings.internal.v1 import logic_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from protos.tidings.internal.v1.common_pb2 import Special
from services.logic.messages.telling import EntryTeller
from tests.unit.logic.harness import Logic, body, logic, message
from tests.unit.logic.messages.test_hooks import hooks
from tidings_protocol import client_pb2
from tidings_protocol.errors import Forbidden, NotFound, Recalled, TidingsError, Unavailable

Change, Content, Message, State = client_pb2.Change, client_pb2.Content, client_pb2.Message, client_pb2.State


def change(
    sender: str,
    conversation: str,
    seq: int = 1,
    *,
    client_id: str = "",
    session: str = "s",
    content: str = "",
    **act: Any,
) -> logic_pb2.SendItem:
    """A change as an access node hands it on."""
    if content:
        act = {"edit": Content()}
    asked = Change(seq=seq, **act)
    return logic_pb2.SendItem(
        sender=sender,
        session=session,
        conversation=conversation,
        client_id=client_id or f"{sender}-{asked.WhichOneof('act')}-{seq}",
        content=Content(text=content).SerializeToString() if content else b"",
        special=Special(change=asked.SerializeToString()),
    )


def recall(sender: str, conversation: str, seq: int = 1, **fields: Any) -> logic_pb2.SendItem:
    return change(sender, conversation, seq, recall=Change.Recall(), **fields)


async def told(node: Logic) -> list[tuple[str, int, client_pb2.Message, str]]:
    """(user, number, message, excepted session) of what was pushed since the last look, by user."""
    await node.all_told()
    return sorted(
        (
            (user, number, body(push), push.except_session)
            for push in node.pushes()
            for user, number in zip(push.users, push.numbers, strict=True)
        ),
        key=lambda each: each[0],
    )


async def test_an_edit_is_an_entry_of_the_log_that_all_are_told_but_the_connection_that_made_it() -> None:
    async with logic() as node:
        await node.send(message("amy", "d:amy|bob", "hi"))
        node.parcels()
        [outcome] = await node.send_rows(change("amy", "d:amy|bob", content="ho", session="amys"))
        assert (outcome.seq, outcome.number, outcome.time_ms, outcome.duplicate) == (2, 2, 1002, False)
        assert State.FromString(outcome.state) == State(revision=2, edited_ms=1002)
        stored = node.storage.stored[-1]
        assert (stored.kind, stored.rights.window_ms, stored.rights.is_operator) == (Message.CHANGE, 60_000, False)
        assert Content.FromString(stored.content) == Content(text="ho")
        (amy, number, entry, excepted), (bob, *_) = await told(node)
        assert (amy, bob, number, excepted) == ("amy", "bob", 2, "amys")
        assert (entry.kind, entry.change.edit.text, entry.state.edited_ms, entry.ordinal) == (
            Message.CHANGE,
            "ho",
            1002,
            0,
        )


async def test_changes_keep_their_place_among_the_sends_of_their_conversation() -> None:
    async with logic() as node:
        outcomes = await node.send_rows(
            message("amy", "d:amy|bob", "one"),
            change("amy", "d:amy|bob", content="two"),
            message("amy", "d:amy|bob", "three"),
            message("amy", "d:amy|cid", "four"),
        )
        assert [outcome.seq for outcome in outcomes] == [1, 2, 3, 1]
        assert node.storage.calls[0] == ("StoreRows", 2), "what comes before it is plain, and so are others"


async def test_a_repeat_of_a_change_is_told_and_answered_as_it_was_first() -> None:
    async with logic() as node:
        await node.send(message("amy", "d:amy|bob", "hi"), change("amy", "d:amy|bob", content="ho", client_id="c"))
        node.parcels()
        [again] = await node.send_rows(change("amy", "d:amy|bob", content="hu", client_id="c"))
        assert (again.seq, again.number, again.duplicate) == (2, 2, True)
        assert State.FromString(again.state).revision == 2
        assert {entry.change.edit.text for _, _, entry, _ in await told(node)} == {"ho"}


@pytest.mark.parametrize(
    ("error", "excused"),
    [(Recalled("it is recalled: leave it"), True), (Forbidden("it is too old"), False), (NotFound("not there"), False)],
)
async def test_what_storage_refuses_is_refused_and_is_not_looked_for_again(error: TidingsError, excused: bool) -> None:
    async with logic() as node:
        await node.send(message("amy", "d:amy|bob", "hi"))
        node.parcels()
        node.storage.refuse = [error]
        [outcome] = await node.send_rows(change("amy", "d:amy|bob", content="ho"))
        assert (outcome.fault.code, outcome.fault.message, outcome.fault.excused) == (
            error.code,
            error.message,
            excused,
        )
        assert node.storage.count("Store") == 2
        assert node.parcels() == []


async def test_who_has_hidden_a_message_is_told_the_place_of_its_change_alone() -> None:
    async with logic() as node:
        await node.send(message("amy", "d:amy|bob", "hi"))
        node.parcels()
        node.storage.hidden["d:amy|bob", 1] = ["bob"]
        await node.send(recall("amy", "d:amy|bob"))
        (_, _, entry, _), (_, number, stub, _) = await told(node)
        assert entry.state.recalled_by == "amy"
        assert (number, stub) == (2, Message(conversation="d:amy|bob", seq=2))


async def test_a_change_without_a_place_is_answered_and_told_to_nobody() -> None:
    class Gathering:
        async def react(self, items: Sequence[pb.StoreItem]) -> Sequence[pb.StoreOutcome]:
            state = State(reactions=[client_pb2.Reaction(reaction="+", count=1)])
            return [pb.StoreOutcome(state=state.SerializeToString()) for _ in items]

    async with logic(reactor=Gathering()) as node:
        await node.send(message("amy", "d:amy|bob", "hi"))
        node.parcels()
        [outcome] = await node.send_rows(change("bob", "d:amy|bob", react="+"))
        assert (outcome.seq, outcome.number, outcome.HasField("fault")) == (0, 0, False)
        assert State.FromString(outcome.state).reactions[0].count == 1
        assert node.parcels() == []


async def test_reactions_and_all_else_in_a_conversation_are_done_one_after_the_other() -> None:
    done: list[str] = []

    async with logic() as node:

        class Noting:
            async def react(self, items: Sequence[pb.StoreItem]) -> Sequence[pb.StoreOutcome]:
                stored = [item.client_id for item in node.storage.stored]
                done.extend(f"{item.client_id} after {len(stored)}" for item in items)
                return [pb.StoreOutcome() for _ in items]

        node.sender._reactor = Noting()
        outcomes = await node.send_rows(
            change("amy", "d:amy|bob", 1, react="+", client_id="r1"),
            change("amy", "d:amy|bob", 1, unreact="+", client_id="r2"),
            message("amy", "d:amy|bob", "one"),
            change("amy", "d:amy|bob", 1, react="-", client_id="r3"),
            message("amy", "d:amy|bob", "two"),
        )
    assert [outcome.seq for outcome in outcomes] == [0, 0, 1, 0, 2]
    assert done == ["r1 after 0", "r2 after 0", "r3 after 1"]


async def test_a_change_in_a_group_rests_on_its_version() -> None:
    async with logic() as node:
        there = node.storage.group("g:x", "amy", "bob")
        await node.send(message("bob", "g:x", "hi"))
        there.join("cid")
        node.parcels()
        [outcome] = await node.send_rows(change("amy", "g:x", pin=True))
        assert outcome.seq == 2
        assert [user for user, *_ in await told(node)] == ["amy", "bob", "cid"]
        assert (node.storage.stored[-1].rights.role, node.storage.stored[-1].version) == (3, there.record.version)


async def test_who_may_no_longer_pin_is_refused_when_the_decision_is_made_again() -> None:
    async with logic() as node:
        there = node.storage.group("g:x", "amy", "bob")
        await node.send(message("amy", "g:x", "hi"))
        there.members["amy"].role = 1
        there.record.version += 1
        [outcome] = await node.send_rows(change("amy", "g:x", pin=True))
        assert outcome.fault.code == "FORBIDDEN"
        assert len(there.messages) == 1


async def test_a_change_in_a_large_group_is_told_to_all_nodes() -> None:
    async with logic() as node:
        node.storage.group("g:big", "amy", "bob", large_from=1)
        await node.send(message("amy", "g:big", "hi"))
        node.parcels()
        [outcome] = await node.send_rows(recall("amy", "g:big"))
        await node.all_told()
        [(topic, parcel)] = node.parcels()
        assert (outcome.seq, outcome.number, topic) == (2, 0, "t.broadcast")
        assert body(parcel.pushes[0]).state.recalled_by == "amy"


async def test_a_change_that_this_version_does_not_know_is_refused() -> None:
    async with logic() as node:
        unknown = change("amy", "d:amy|bob")
        broken = change("amy", "d:amy|bob", client_id="broken")
        broken.special.change = b"\xff"
        outcomes = await node.send_rows(unknown, broken)
        assert [outcome.fault.code for outcome in outcomes] == ["BAD_REQUEST", "BAD_REQUEST"]


async def test_a_client_id_of_a_message_is_none_for_a_change_that_is_refused() -> None:
    async with logic() as node:
        there = node.storage.group("g:x", "amy", "bob")
        await node.send(message("bob", "g:x", "hi", client_id="c"))
        there.record.version += 1
        [outcome] = await node.send_rows(change("bob", "g:x", pin=True, client_id="c"))
        assert (outcome.fault.code, outcome.duplicate) == ("FORBIDDEN", False)


# ---- special sends


async def test_what_is_special_about_a_send_goes_to_storage_and_is_told_as_it_shows_it() -> None:
    async with logic() as node:
        sent = message("amy", "d:amy|bob", "hi")
        sent.special.mentions.append("bob")
        sent.special.streaming = True
        [outcome] = await node.send_rows(sent)
        assert (outcome.seq, outcome.number, outcome.state) == (1, 1, b"")
        assert node.storage.stored[0].special == sent.special
        assert all(entry.state.streaming for _, _, entry, _ in await told(node))


@pytest.mark.parametrize(
    ("special", "code"),
    [
        (Special(media=["m1"]), "BAD_REQUEST"),
        (Special(streaming=True), "FORBIDDEN"),
        (Special(mention_all=True), "FORBIDDEN"),
    ],
)
async def test_what_may_not_be_there_is_refused(special: Special, code: str) -> None:
    async with logic() as node:
        node.storage.group("g:big", "amy", *(f"user{number}" for number in range(20)), large_from=1)
        sent = message("user1", "g:big", "hi")
        sent.special.CopyFrom(special)
        [outcome] = await node.send_rows(sent)
        assert outcome.fault.code == code
        assert node.storage.stored == []


# ---- the hook


class Endpoint:
    """Answers with what the test has it say; notes what it was asked."""

    def __init__(self, **decision: Any) -> None:
        self.decision = decision or {"action": "allow"}
        self.asked: list[dict[str, Any]] = []

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        [asked] = json.loads(request.content)["messages"]
        self.asked.append(asked)
        return httpx2.Response(200, content=json.dumps({"decisions": [self.decision]}))


async def test_the_hook_is_asked_about_an_edit_and_may_change_it() -> None:
    endpoint = Endpoint(action="change", content={"text": "h*", "mentions": ["bob"], "replyTo": "7"})
    async with hooks(endpoint) as opened, logic(hooks=opened) as node:
        node.storage._there("d:amy|bob").messages.append(pb.StoreItem(conversation="d:amy|bob", sender="amy"))
        [outcome] = await node.send_rows(change("amy", "d:amy|bob", content="ho"))
        assert outcome.seq == 2
    assert endpoint.asked == [
        {
            "conversation": "d:amy|bob",
            "sender": "amy",
            "clientId": "amy-edit-1",
            "change": "edit",
            "seq": "1",
            "content": {"text": "ho"},
        }
    ]
    stored = node.storage.stored[-1]
    assert Content.FromString(stored.content) == Content(text="h*", mentions=["bob"])
    assert (list(stored.special.mentions), Change.FromString(stored.special.change).seq) == (["bob"], 1)


async def test_an_edit_that_the_hook_refuses_is_not_stored() -> None:
    async with hooks(Endpoint(action="refuse", reason="no")) as opened, logic(hooks=opened) as node:
        node.storage._there("d:amy|bob").messages.append(pb.StoreItem(conversation="d:amy|bob", sender="amy"))
        [outcome] = await node.send_rows(change("amy", "d:amy|bob", content="ho"))
        assert (outcome.fault.code, outcome.fault.message) == ("FORBIDDEN", "no")
        assert node.storage.stored == []


@pytest.mark.parametrize("act", [{"pin": True}, {"recall": Change.Recall()}])
async def test_the_hook_is_not_asked_about_what_has_no_content(act: dict[str, Any]) -> None:
    endpoint = Endpoint(action="refuse")
    async with hooks(endpoint) as opened, logic(hooks=opened) as node:
        node.storage._there("d:amy|bob").messages.append(pb.StoreItem(conversation="d:amy|bob", sender="amy"))
        [outcome] = await node.send_rows(change("amy", "d:amy|bob", **act))
        assert (outcome.seq, endpoint.asked) == (2, [])


def stream(node: Logic, *parts: str, sender: str = "amy") -> None:
    """A message that grows."""
    content = Content(streaming=True).SerializeToString()
    there = node.storage._there("d:amy|bob")
    there.messages.append(pb.StoreItem(conversation="d:amy|bob", sender=sender, content=content))
    node.storage.states["d:amy|bob", len(there.messages)] = State(streaming=True)
    node.storage.streams["d:amy|bob", len(there.messages)] = list(parts)


def finish(text: str = "", parts: int = 2, **fields: Any) -> logic_pb2.SendItem:
    return change("amy", "d:amy|bob", finish=Change.Finish(text=text, parts=parts), **fields)


@pytest.mark.parametrize("given", ["", "all that was said"])
async def test_the_hook_is_asked_about_the_whole_text_of_a_stream_that_ends(given: str) -> None:
    endpoint = Endpoint()
    async with hooks(endpoint) as opened, logic(hooks=opened) as node:
        stream(node, "so ", "far")
        [outcome] = await node.send_rows(finish(given))
        assert (outcome.seq, State.FromString(outcome.state).streaming) == (2, False)
    [asked] = endpoint.asked
    assert (asked["change"], asked["seq"], asked["content"]["text"]) == ("finish", "1", given or "so far")
    stored = node.storage.stored[-1]
    assert (Change.FromString(stored.special.change).finish.text, stored.content) == (given or "so far", b"")


async def test_what_the_hook_makes_of_a_stream_that_ends_is_its_text() -> None:
    endpoint = Endpoint(action="change", content={"text": "s* far"})
    async with hooks(endpoint) as opened, logic(hooks=opened) as node:
        stream(node, "so ", "far")
        await node.send_rows(finish())
    assert Change.FromString(node.storage.stored[-1].special.change).finish == Change.Finish(text="s* far", parts=2)


async def test_a_stream_whose_end_the_hook_refuses_is_recalled_by_the_operator() -> None:
    async with hooks(Endpoint(action="refuse", reason="no")) as opened, logic(hooks=opened) as node:
        stream(node, "b", "ad")
        [outcome] = await node.send_rows(finish(session="amys"))
        assert (outcome.fault.code, outcome.fault.message) == ("FORBIDDEN", "no")
        [stored] = node.storage.stored
        assert (stored.sender, stored.rights.is_operator) == ("tidings", True)
        assert Change.FromString(stored.special.change) == Change(seq=1, recall=Change.Recall())
        (_, _, entry, excepted), (bob, *_) = await told(node)
        assert (entry.state.recalled_by, excepted, bob) == ("tidings", "", "bob")


async def test_the_recall_of_what_storage_ended_is_tried_again_as_long_as_storage_is_away() -> None:
    async with hooks(Endpoint(action="refuse")) as opened, logic(hooks=opened) as node:
        stream(node, "b", "ad")
        node.storage.refuse = [Unavailable("later", 1)]
        await EntryTeller(node.publisher, node.sender).tell([told_item(node, finish=Change.Finish(text="bad"))])
        while not node.storage.stored:
            await node.all_told()
        assert Change.FromString(node.storage.stored[0].special.change).HasField("recall")


async def test_a_refused_end_whose_message_could_not_be_recalled_is_to_be_tried_again() -> None:
    async with hooks(Endpoint(action="refuse", reason="no")) as opened, logic(hooks=opened) as node:
        stream(node, "b", "ad")
        node.storage.refuse = [Unavailable("later", 300)]
        [outcome] = await node.send_rows(finish())
        assert (outcome.fault.code, outcome.fault.retry_after_ms) == ("UNAVAILABLE", 300)


async def test_an_end_that_was_stored_before_the_hook_refused_it_stays() -> None:
    endpoint = Endpoint()
    async with hooks(endpoint) as opened, logic(hooks=opened) as node:
        stream(node, "so ", "far")
        await node.send_rows(finish())
        endpoint.decision = {"action": "refuse"}
        # It is open still, as whoever asked just before has seen it.
        [again] = await node.send_rows(finish())
        assert (again.seq, again.duplicate) == (2, True)
        assert len(node.storage.stored) == 1


async def test_nobody_has_anothers_message_recalled_by_the_hook() -> None:
    endpoint = Endpoint(action="refuse", reason="no")
    async with hooks(endpoint) as opened, logic(hooks=opened) as node:
        stream(node, "fi", "ne", sender="bob")
        node.storage.refuse = [Forbidden("it is not yours: leave it")]
        [outcome] = await node.send_rows(finish("bad"))
        assert (outcome.fault.message, endpoint.asked, node.storage.stored) == ("it is not yours: leave it", [], [])


async def test_an_end_whose_parts_have_not_all_come_is_told_which_is_wanted() -> None:
    endpoint = Endpoint()
    async with hooks(endpoint) as opened, logic(hooks=opened) as node:
        stream(node, "so ")
        [outcome] = await node.send_rows(finish())
        assert (outcome.fault.code, outcome.fault.next_part, endpoint.asked) == ("BAD_REQUEST", 2, [])
        node.storage.streams["d:amy|bob", 1].append("far")
        [outcome] = await node.send_rows(finish(client_id="again"))
        assert (outcome.seq, endpoint.asked[0]["content"]["text"]) == (2, "so far")


async def test_an_end_is_not_decided_while_the_text_cannot_be_had() -> None:
    endpoint = Endpoint()
    async with hooks(endpoint) as opened, logic(hooks=opened) as node:
        stream(node, "so ", "far")
        node.storage.fail["Parts"] = [Unavailable("away", 200)]
        [outcome] = await node.send_rows(finish())
        assert (outcome.fault.code, outcome.fault.retry_after_ms, endpoint.asked) == ("UNAVAILABLE", 200, [])


# ---- what storage made by itself


def told_item(node: Logic, **act: Any) -> logic_pb2.TellItem:
    entry = Message(conversation="d:amy|bob", seq=3, sender="amy", kind=Message.CHANGE, change=Change(seq=1, **act))
    return logic_pb2.TellItem(
        conversation="d:amy|bob",
        message=entry.SerializeToString(),
        recipients=["amy", "bob"],
        numbers=[5, 6],
        stubs=["bob"],
    )


async def test_what_storage_made_by_itself_is_told_to_all_who_have_it() -> None:
    async with logic() as node:
        reacted = Change.Reacted(added=[Change.Reacted.One(user="amy", reaction="+")])
        await EntryTeller(node.publisher, node.sender).tell([told_item(node, reacted=reacted)])
        (amy, number, entry, excepted), (bob, other, stub, _) = await told(node)
        assert (amy, number, entry.change.reacted, excepted) == ("amy", 5, reacted, "")
        assert (bob, other, stub) == ("bob", 6, Message(conversation="d:amy|bob", seq=3))


async def test_an_entry_of_a_large_group_that_storage_made_is_told_to_all_nodes() -> None:
    async with logic() as node:
        entry = Message(conversation="g:big", seq=3, kind=Message.CHANGE)
        item = logic_pb2.TellItem(conversation="g:big", message=entry.SerializeToString())
        await EntryTeller(node.publisher, node.sender).tell([item])
        await node.all_told()
        [(topic, parcel)] = node.parcels()
        assert (topic, body(parcel.pushes[0])) == ("t.broadcast", entry)


async def test_a_stream_that_storage_ended_is_recalled_if_the_hook_refuses_it() -> None:
    endpoint = Endpoint(action="refuse")
    async with hooks(endpoint) as opened, logic(hooks=opened) as node:
        stream(node, "b", "ad")
        await EntryTeller(node.publisher, node.sender).tell([told_item(node, finish=Change.Finish(text="bad"))])
        while not node.storage.stored:
            await node.all_told()
        [stored] = node.storage.stored
        assert (stored.sender, endpoint.asked[0]["change"]) == ("tidings", "finish")
