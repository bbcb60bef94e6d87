"""Signals: told, not stored."""

from __future__ import annotations

from protos.tidings.internal.v1 import delivery_pb2, logic_pb2
from tests.unit.logic.harness import Logic, logic
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError, Unavailable


def signal(sender: str, conversation: str, **fields: object) -> logic_pb2.SignalItem:
    return logic_pb2.SignalItem(sender=sender, session="s", conversation=conversation, name="typing", **fields)  # type: ignore[arg-type]


async def told(node: Logic) -> list[tuple[client_pb2.Signal, list[str], str]]:
    return [
        (client_pb2.Signal.FromString(push.body), sorted(push.users), push.except_session)
        for push in node.pushes(delivery_pb2.Push.SIGNAL)
    ]


def codes(outcomes: list[TidingsError | None]) -> list[str]:
    return [outcome.code if outcome else "" for outcome in outcomes]


async def test_a_signal_goes_to_the_peer_and_the_senders_other_devices() -> None:
    async with logic() as node:
        assert codes(await node.signals.signal([signal("amy", "d:amy|bob", data=b"x")])) == [""]
    found = await told(node)
    assert sorted(user for _, users, _ in found for user in users) == ["amy", "bob"]
    for value, _, session in found:
        assert session == "s"
        assert (value.conversation, value.name, value.data, getattr(value, "from")) == (
            "d:amy|bob",
            "typing",
            b"x",
            "amy",
        )


async def test_a_signal_goes_to_the_members_as_they_are_now() -> None:
    async with logic() as node:
        there = node.storage.group("g:x", "amy", "bob")
        await node.signals.signal([signal("amy", "g:x")])
        there.join("cleo")
        del there.members["bob"]
        there.record.version += 1
        outcomes = await node.signals.signal([signal("amy", "g:x"), signal("bob", "g:x")])
        assert codes(outcomes) == ["", "FORBIDDEN"]
    users = [user for _, users, _ in await told(node) for user in users]
    assert sorted(users) == ["amy", "amy", "bob", "cleo"]


async def test_what_is_not_allowed_is_refused() -> None:
    async with logic() as node:
        node.storage.group("g:big", "amy", large_from=1)
        node.storage.group("g:channel", "olga", "amy", channel=True)
        outcomes = await node.signals.signal(
            [
                signal("amy", "g:big"),
                signal("amy", "g:none"),
                signal("amy", "g:channel"),
                signal("amy", "b:all"),
                signal("eve", "d:amy|bob"),
                signal("amy", "d:amy|tidings"),
                signal("amy", "d:amy|bob", data=bytes(1025)),
            ]
        )
        assert codes(outcomes) == [
            "FORBIDDEN",
            "NOT_FOUND",
            "FORBIDDEN",
            "FORBIDDEN",
            "FORBIDDEN",
            "BAD_REQUEST",
            "TOO_LARGE",
        ]
    assert await told(node) == []


async def test_nobody_waits_for_kafka() -> None:
    async with logic() as node:
        node.broker.away()
        assert codes(await node.signals.signal([signal("amy", "d:amy|bob")])) == [""]


async def test_nothing_is_signalled_to_who_blocks_the_sender() -> None:
    async with logic() as node:
        node.storage.blocks["bob", "amy"] = 1
        outcomes = await node.signals.signal(
            [signal("amy", "d:amy|bob"), signal("bob", "d:amy|bob"), signal("amy", "d:amy|cleo")]
        )
        assert codes(outcomes) == ["FORBIDDEN", "", ""]
        assert outcomes[0] is not None
        assert "does not take messages from you" in outcomes[0].message
    assert {(value.conversation, getattr(value, "from")) for value, _, _ in await told(node)} == {
        ("d:amy|bob", "bob"),
        ("d:amy|cleo", "amy"),
    }


async def test_nothing_is_signalled_while_nobody_knows_who_blocks_whom() -> None:
    async with logic() as node:
        node.storage.fail["Load"] = [Unavailable("away", 100)]
        assert codes(await node.signals.signal([signal("amy", "d:amy|bob")])) == ["UNAVAILABLE"]
    assert await told(node) == []
