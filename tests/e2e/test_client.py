"""The client library on the real cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster
from tidings import (
    Client,
    Event,
    Forbidden,
    Kicked,
    Message,
    MessageState,
    NotFound,
    Presence,
    Progress,
    Receipt,
    Role,
    Signal,
    TokenRefused,
    TooLarge,
)

pytestmark = pytest.mark.e2e
Name = Callable[[str], str]
PATIENCE_S = 30.0


def client(cluster: Cluster, user: str, *, way: str = "ws", codec: str = "proto", **options: object) -> Client:
    """At any node: it is sent where it belongs."""
    addresses = [f"tcp://{node.tcp}" if way == "tcp" else node.ws for node in cluster.access().values()]
    return Client(addresses, token=cluster.token(user), codec=codec, **options)  # type: ignore[arg-type]


async def take(reader: Client, count: int) -> list[str]:
    """The texts of the next messages."""
    found: list[str] = []
    async with asyncio.timeout(PATIENCE_S):
        async for message in reader.messages():
            found.append(message.text)
            if len(found) == count:
                break
    return found


async def until(reader: Client, fits: Callable[[Event], bool]) -> Event:
    async with asyncio.timeout(PATIENCE_S):
        async for event in reader.events():
            if fits(event):
                return event
    raise AssertionError("the events ended")


@pytest.mark.parametrize(("way", "codec"), [("ws", "proto"), ("ws", "json"), ("tcp", "proto")])
async def test_two_people_talk_over_every_transport(cluster: Cluster, name: Name, way: str, codec: str) -> None:
    async with (
        client(cluster, name("ann"), way=way, codec=codec) as ann,
        client(cluster, name("bob"), way=way, codec=codec) as bob,
    ):
        sent = await ann.send(name("bob"), "hi", headers={"k": "v"})
        async with asyncio.timeout(PATIENCE_S):
            message = await anext(bob.messages())
        assert (message.id, message.seq, message.text, message.headers) == (sent.message_id, 1, "hi", {"k": "v"})
        await bob.send(message.conversation, data=b"\x00\xff", mime="image/png", reply_to=message.seq)
        async with asyncio.timeout(PATIENCE_S):
            answer = await anext(ann.messages())
        assert (answer.data, answer.mime, answer.reply_to) == (b"\x00\xff", "image/png", 1)


async def test_a_message_is_sent_delivered_and_read(cluster: Cluster, name: Name) -> None:
    async with client(cluster, name("ann")) as ann, client(cluster, name("bob")) as bob:
        sent = await ann.send(name("bob"), "hi")
        assert await take(bob, 1) == ["hi"]
        await bob.read(sent.conversation, sent.seq)
        await until(ann, lambda event: isinstance(event, Progress) and event.state is MessageState.READ)
        # Notices to everyone, of another test, may be listed too.
        (listed,) = [each for each in await ann.conversations() if each.id == sent.conversation]
        assert (listed.peer_read_seq, listed.unread) == (1, 0)


async def test_a_device_that_was_away_gets_what_it_missed_once(cluster: Cluster, name: Name, tmp_path: Path) -> None:
    state = tmp_path / "bob.json"
    async with client(cluster, name("ann")) as ann:
        async with client(cluster, name("bob"), state=state) as bob:
            await ann.send(name("bob"), "live")
            assert await take(bob, 1) == ["live"]
        for number in range(250):
            ann.post(name("bob"), f"away {number}")
        await ann.send(name("bob"), "the last")
        async with client(cluster, name("bob"), state=state) as bob:
            assert await take(bob, 251) == [*(f"away {number}" for number in range(250)), "the last"]
            await ann.send(name("bob"), "live again")
            assert await take(bob, 1) == ["live again"]


async def test_both_devices_get_it_and_so_does_the_senders_other_one(cluster: Cluster, name: Name) -> None:
    async with (
        client(cluster, name("ann")) as ann,
        client(cluster, name("ann"), device="tablet") as tablet,
        client(cluster, name("bob"), device="phone") as phone,
        client(cluster, name("bob"), device="laptop") as laptop,
    ):
        await ann.send(name("bob"), "to all of you")
        assert [await take(device, 1) for device in (phone, laptop, tablet)] == [["to all of you"]] * 3


async def test_a_group_lives(cluster: Cluster, name: Name) -> None:
    async with (
        client(cluster, name("ann")) as ann,
        client(cluster, name("bob")) as bob,
        client(cluster, name("cleo")) as cleo,
    ):
        group = await ann.create_group("crew", [name("bob")])
        await ann.add(group.id, [name("cleo")])
        await ann.send(group.id, "welcome")

        def welcome(event: Event) -> bool:
            return isinstance(event, Message) and event.text == "welcome"

        for member in (bob, cleo):
            await until(member, welcome)
        await bob.read(group.id, 3)
        await until(ann, lambda event: isinstance(event, Receipt) and event.user == name("bob"))
        await ann.set_role(group.id, name("bob"), Role.ADMIN)
        assert (await bob.rename(group.id, "the crew")).name == "the crew"
        roles = {member.user: member.role for member in await bob.members(group.id)}
        assert roles == {name("ann"): Role.OWNER, name("bob"): Role.ADMIN, name("cleo"): Role.MEMBER}
        await bob.remove(group.id, [name("cleo")])
        with pytest.raises(Forbidden):
            await cleo.send(group.id, "am I still in?")
        with pytest.raises(Forbidden):
            await cleo.history(group.id)


async def test_a_large_group_is_read_by_cursor_live_and_after_being_away(
    cluster: Cluster, name: Name, tmp_path: Path
) -> None:
    state = tmp_path / "bob.json"
    crowd = [name(f"user{number}") for number in range(700)]
    async with client(cluster, name("ann")) as ann:
        async with client(cluster, name("bob"), state=state) as bob:
            group = await ann.create_group("crowd", [name("bob"), *crowd])
            assert group.member_count == 702
            assert group.large_from
            await ann.send(group.id, "live")
            await until(bob, lambda event: isinstance(event, Message) and event.text == "live")
        for number in range(5):
            await ann.send(group.id, f"away {number}")
        async with client(cluster, name("bob"), state=state) as bob:
            assert await take(bob, 5) == [f"away {number}" for number in range(5)]
            await bob.send(group.id, "from bob")
            await until(ann, lambda event: isinstance(event, Message) and event.text == "from bob")


async def test_presence_and_typing(cluster: Cluster, name: Name) -> None:
    async with client(cluster, name("ann")) as ann:
        assert await ann.presence([name("bob")], watch=True) == [Presence(name("bob"), online=False)]
        async with client(cluster, name("bob")) as bob:
            await until(ann, lambda event: isinstance(event, Presence) and event.online)
            await bob.typing(name("ann"))
            signal = await until(ann, lambda event: isinstance(event, Signal))
            assert signal == Signal(ann.direct(name("bob")), name("bob"), "typing")
        await until(ann, lambda event: isinstance(event, Presence) and not event.online)


async def test_history_is_read_in_pages_both_ways(cluster: Cluster, name: Name) -> None:
    async with client(cluster, name("ann"), pipeline=20) as ann:
        async with asyncio.TaskGroup() as tasks:
            for number in range(1, 31):
                tasks.create_task(ann.send(name("bob"), f"{number}"))
        newest = await ann.history(name("bob"), limit=10)
        older = await ann.history(name("bob"), before=newest.next, limit=10)
        first = await ann.history(name("bob"), after=0, limit=10)
        assert [message.text for message in newest.messages] == [str(number) for number in range(21, 31)]
        assert [message.text for message in older.messages] == [str(number) for number in range(11, 21)]
        assert [message.text for message in first.messages] == [str(number) for number in range(1, 11)]
        assert (newest.more, first.more, newest.head) == (True, True, 30)


async def test_what_is_refused_says_why(cluster: Cluster, name: Name) -> None:
    async with client(cluster, name("ann")) as ann:
        with pytest.raises(NotFound):
            await ann.group("g:there-is-none")
        with pytest.raises(TooLarge):
            await ann.send(name("bob"), "x" * 33_000)
        assert (await ann.send(name("bob"), "still here")).seq == 1
    with pytest.raises(TokenRefused):
        async with Client([node.ws for node in cluster.access().values()], token="not a token"):
            raise AssertionError("unreachable")


async def test_who_is_kicked_is_told(cluster: Cluster, name: Name) -> None:
    async with client(cluster, name("ann")) as ann:
        await asyncio.to_thread(cluster.tidings, "kick", name("ann"))
        with pytest.raises(Kicked):
            await take(ann, 1)
