"""What somebody who is blocked may still do where the blocker is, on a real storage node."""

from __future__ import annotations

from protos.tidings.internal.v1 import logic_pb2
from tests.unit.logic.harness import Logic, message
from tests.unit.logic.messages.test_changes import change, recall
from tests.unit.logic.messages.test_reactions_on_storage import CHAT, reacts
from tests.unit.logic.messages.test_stream_parts import part
from tests.unit.logic.on_storage import on_storage
from tests.unit.storage.nodes import World
from tidings_protocol import client_pb2

Block = client_pb2.BlockRequest
Group = client_pb2.GroupRequest


async def block(node: Logic, user: str, *others: str, blocked: bool = True) -> None:
    answer = await node.ask(user, block=Block(set=Block.Set(users=others, blocked=blocked)))
    assert answer.HasField("ok")


def says_that_it_is_refused(outcome: logic_pb2.SendOutcome) -> bool:
    return outcome.fault.code == "FORBIDDEN" and "does not take messages from you" in outcome.fault.message


async def test_the_blocked_change_nothing_but_recall_what_is_their_own() -> None:
    async with on_storage() as node:
        await node.send_rows(message("amy", CHAT, "mine"), message("bob", CHAT, "yours"))
        await block(node, "bob", "amy")
        edited, pinned, others, own, theirs = await node.send_rows(
            change("amy", CHAT, content="other", client_id="1"),
            change("amy", CHAT, pin=True, client_id="2"),
            recall("amy", CHAT, 2, client_id="3"),
            recall("amy", CHAT, 1, client_id="4"),
            change("bob", CHAT, 2, content="better", client_id="5"),
        )
        assert says_that_it_is_refused(edited)
        assert says_that_it_is_refused(pinned)
        assert others.fault.code == "FORBIDDEN"
        assert client_pb2.State.FromString(own.state).recalled_by == "amy"
        assert (own.seq, theirs.seq) == (3, 4)


async def test_the_blocked_take_reactions_back_and_give_none() -> None:
    async with on_storage() as node:
        await node.send(message("bob", CHAT, "hello"), reacts("amy", "+"))
        await block(node, "bob", "amy")
        other, again, taken = await node.send(
            reacts("amy", "-"), reacts("amy", "+", client_id="again"), reacts("amy", "+", removes=True)
        )
        assert says_that_it_is_refused(other)
        assert (again.fault.code, taken.fault.code) == ("", "")
        assert client_pb2.State.FromString(taken.state).reactions == []


async def test_the_blocked_stream_nothing() -> None:
    world = World()
    async with on_storage(world) as node:
        start = message("amy", CHAT, "so ")
        start.content = client_pb2.Content(text="so ", streaming=True).SerializeToString()
        start.special.streaming = True
        [sent] = await node.send_rows(start)
        assert await node.parts.take([part("amy", CHAT, 1, seq=sent.seq)]) == [None]
        await block(node, "bob", "amy")
        world.clock.advance(1.0)
        [refused] = await node.parts.take([part("amy", CHAT, 2, seq=sent.seq)])
        assert refused is not None
        assert refused.code == "FORBIDDEN"
        assert "does not take messages from you" in refused.message


async def test_the_blocker_is_left_out_when_the_blocked_add_them_to_a_group() -> None:
    async with on_storage() as node:
        await block(node, "bob", "amy")
        create = Group(create=Group.Create(name="x", members=["bob", "cleo"]))
        made = (await node.ask("amy", op="1", group=create)).group_info
        assert list(made.refused) == ["bob"]
        add = Group(add=Group.Add(conversation=made.conversation, users=["bob", "dan"]))
        assert list((await node.ask("amy", op="2", group=add)).ok.refused) == ["bob"]
        members = Group(members=Group.Members(conversation=made.conversation))
        page = (await node.ask("amy", group=members)).member_page
        assert [member.user for member in page.members] == ["amy", "cleo", "dan"]


async def test_what_is_preferred_is_in_the_list_and_what_is_hidden_is_not_until_the_next_message() -> None:
    async with on_storage() as node:
        await node.send_rows(message("amy", CHAT, "hello"), message("amy", "d:amy|cleo", "hello"))
        prefer = client_pb2.Prefer(conversation=CHAT, pinned=True, draft="Dear")
        await node.ask("amy", prefer=prefer)
        await node.ask("amy", prefer=client_pb2.Prefer(conversation="d:amy|cleo", hidden=True))

        async def listed() -> dict[str, client_pb2.ConversationPreferences]:
            page = (await node.ask("amy", conversations=client_pb2.ListConversations())).conversation_page
            return {each.conversation: each.preferences for each in page.conversations}

        preferred = client_pb2.ConversationPreferences(conversation=CHAT, pinned=True, draft="Dear")
        assert await listed() == {CHAT: preferred}
        await node.send_rows(message("cleo", "d:amy|cleo", "there"))
        assert set(await listed()) == {CHAT, "d:amy|cleo"}
