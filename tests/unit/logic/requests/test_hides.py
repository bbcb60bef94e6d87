"""Users hide messages for themselves."""

from __future__ import annotations

from protos.tidings.internal.v1 import delivery_pb2
from services.logic.requests.hides import SEQS_MAX
from tests.unit.logic.harness import Logic, logic, message, talk
from tests.unit.logic.on_storage import on_storage
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, Unavailable

Hide, History = client_pb2.Hide, client_pb2.History
CHAT = "d:amy|bob"


def told(node: Logic) -> list[tuple[client_pb2.Hidden, list[str], str]]:
    """(what is hidden, whose devices are told, which connection is not) of each push."""
    return [
        (client_pb2.Hidden.FromString(push.body), list(push.users), push.except_session)
        for push in node.pushes(delivery_pb2.Push.HIDDEN)
    ]


async def test_what_is_hidden_is_told_to_the_users_other_devices_alone() -> None:
    async with logic() as node:
        await talk(node, CHAT, "amy", 3)
        assert (await node.ask("bob", hide=Hide(conversation=CHAT, seqs=[3, 9, 3], through=1))).HasField("ok")
        assert told(node) == [(client_pb2.Hidden(conversation=CHAT, seqs=[3], through=1), ["bob"], "bob-session")]


async def test_of_what_is_not_there_nobody_is_told() -> None:
    async with logic() as node:
        for hide in (Hide(conversation=CHAT, seqs=[7]), Hide(conversation="b:all", through=5)):
            assert (await node.ask("bob", hide=hide)).HasField("ok")
        assert told(node) == []


async def test_what_is_wrong_or_not_allowed_is_refused_and_the_rest_done() -> None:
    async with logic() as node:
        await talk(node, CHAT, "amy", 2)
        node.storage.group("g:x", "amy")
        asked = [
            ("bob", Hide(conversation=CHAT, seqs=range(1, SEQS_MAX + 2)), "BAD_REQUEST"),
            ("bob", Hide(conversation=CHAT), "BAD_REQUEST"),
            ("bob", Hide(conversation="d:bob|amy", seqs=[1]), "BAD_REQUEST"),
            ("eve", Hide(conversation=CHAT, seqs=[1]), "FORBIDDEN"),
            ("eve", Hide(conversation="g:x", seqs=[1]), "FORBIDDEN"),
            ("eve", Hide(conversation="g:none", seqs=[1]), "NOT_FOUND"),
            ("bob", Hide(conversation=CHAT, seqs=range(1, SEQS_MAX + 1)), ""),
        ]
        replies = await node.ask_all(*((user, "", {"hide": hide}) for user, hide, _ in asked))
        assert [reply.error.code for reply in replies] == [code for _, _, code in asked]
        assert [list(hidden.seqs) for hidden, _, _ in told(node)] == [[1, 2]]
        assert node.storage.calls[-1] == ("Hide", 1)


async def test_what_storage_refuses_is_told_to_the_user_alone() -> None:
    async with logic() as node:
        await talk(node, CHAT, "amy", 1)
        for error in (BadRequest("too many"), Unavailable("away", 250)):
            node.storage.fail["Hide"] = [error]
            assert (await node.ask("bob", hide=Hide(conversation=CHAT, seqs=[1]))).error.code == error.code
        assert told(node) == []


async def test_what_a_user_hides_is_in_none_of_their_pages_any_more() -> None:
    async with on_storage() as node:
        await node.send(*(message("amy", CHAT, text) for text in ("one", "two", "three")))
        await node.ask("bob", hide=Hide(conversation=CHAT, seqs=[3]))
        await node.ask("bob", hide=Hide(conversation=CHAT, through=1))
        page = (await node.ask("bob", history=History(conversation=CHAT, changes=True))).page
        assert [entry.message.content.text for entry in page.entries] == ["two"]
        synced = (await node.ask("bob", sync=client_pb2.Sync())).page
        assert [(entry.number, entry.message.content.text, entry.message.sender) for entry in synced.entries] == [
            (1, "", ""),
            (2, "two", "amy"),
            (3, "", ""),
        ]
        (chat,) = (await node.ask("bob", conversations=client_pb2.ListConversations())).conversation_page.conversations
        assert (chat.last.seq, chat.unread, chat.hidden_through, chat.read_ordinal) == (2, 1, 1, 0)
        theirs = (await node.ask("amy", history=History(conversation=CHAT))).page
        assert len(theirs.entries) == 3
