"""`prefer`, on a real storage node."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1 import delivery_pb2, logic_pb2
from services.logic.requests.people.preferences import DRAFT_BYTES_MAX
from tests.unit.logic.harness import Logic
from tests.unit.logic.on_storage import database_of, on_storage
from tidings_protocol import client_pb2
from tidings_protocol.wire.varint import varint

Preferences = client_pb2.ConversationPreferences
CHAT = "d:ann|bob"
THEIRS = "a group of bob's"


async def prefer(node: Logic, user: str, conversation: str = CHAT, **given: object) -> client_pb2.ServerFrame:
    return await node.ask(user, prefer=client_pb2.Prefer(conversation=conversation, **given))  # type: ignore[arg-type]


def told(node: Logic) -> list[tuple[list[str], str, Preferences]]:
    return [
        (list(push.users), push.except_session, Preferences.FromString(push.body))
        for push in node.pushes(delivery_pb2.Push.PREFERENCES)
    ]


async def test_what_is_set_is_told_to_the_users_other_devices() -> None:
    async with on_storage() as node:
        answer = await prefer(node, "ann", muted_until_ms=-1, draft="Hel")
        assert answer.HasField("ok")
        assert (await prefer(node, "ann", pinned=True)).HasField("ok")
    first, second = told(node)
    assert first == (["ann"], "ann-session", Preferences(conversation=CHAT, muted_until_ms=-1, draft="Hel"))
    assert second[2] == Preferences(conversation=CHAT, muted_until_ms=-1, draft="Hel", pinned=True)


async def test_what_is_nested_too_deep_to_be_carried_on_goes_no_further() -> None:
    nested = varint(1000 << 3 | 3) * 99 + varint(1000 << 3 | 4) * 99  # groups in groups, which nobody knows
    prefer = client_pb2.Prefer(conversation=CHAT, pinned=True)
    prefer.MergeFromString(nested)
    frame = client_pb2.ClientFrame(prefer=prefer).SerializeToString()
    assert nested in client_pb2.ClientFrame.FromString(frame).SerializeToString()  # the door reads it
    async with on_storage() as node:
        [answer] = await node.dispatcher.handle([logic_pb2.HandleItem(user="ann", session="s", frame=frame, op="op")])
    assert client_pb2.ServerFrame.FromString(answer.frame).HasField("ok")


async def test_who_gives_nothing_is_told_ok_and_nobody_hears_of_it() -> None:
    async with on_storage() as node:
        assert (await prefer(node, "ann")).HasField("ok")
    assert told(node) == []


async def test_a_read_that_takes_a_mark_away_is_told_as_well() -> None:
    async with on_storage() as node:
        await prefer(node, "ann", marked_unread=True, pinned=True)
        read = client_pb2.Read(conversation=CHAT, seq=1)
        for _ in range(2):
            assert (await node.ask("ann", read=read)).HasField("ok")
    _, after = told(node)
    assert after == (["ann"], "ann-session", Preferences(conversation=CHAT, pinned=True))


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"conversation": "nonsense", "pinned": True}, "BAD_REQUEST"),
        ({"conversation": "d:bob|cid", "pinned": True}, "FORBIDDEN"),
        ({"conversation": "g:none", "pinned": True}, "NOT_FOUND"),
        ({"conversation": THEIRS, "pinned": True}, "FORBIDDEN"),
        ({"muted_until_ms": -2}, "BAD_REQUEST"),
        ({"muted_until_ms": 1}, "BAD_REQUEST"),
        ({"draft": "x" * (DRAFT_BYTES_MAX + 1)}, "TOO_LARGE"),
        ({"draft": "ü" * (DRAFT_BYTES_MAX // 2 + 1)}, "TOO_LARGE"),
    ],
)
async def test_what_is_refused_changes_nothing(given: dict[str, object], code: str) -> None:
    async with on_storage() as node:
        create = client_pb2.GroupRequest(create=client_pb2.GroupRequest.Create(name="x"))
        made = await node.ask("bob", op="op", group=create)
        if given.get("conversation") == THEIRS:
            given = {**given, "conversation": made.group_info.conversation}
        answer = await prefer(node, "ann", **given)  # type: ignore[arg-type]
        assert answer.error.code == code
        assert database_of(node).preferences == {}
    assert told(node) == []


@pytest.mark.parametrize("given", [{"muted_until_ms": 0}, {"muted_until_ms": 2**53}, {"draft": "x" * DRAFT_BYTES_MAX}])
async def test_what_is_just_allowed(given: dict[str, object]) -> None:
    async with on_storage() as node:
        assert (await prefer(node, "ann", **given)).HasField("ok")  # type: ignore[arg-type]
