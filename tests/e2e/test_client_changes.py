"""Changes of messages, and streams, through the client library on the real cluster."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.test_client import PATIENCE_S, client
from tests.support.cluster.backends import clean_environment
from tidings import ChangeAct, Client, Event, Forbidden, Message, MessageChanged, StreamGrew

pytestmark = pytest.mark.e2e
Name = Callable[[str], str]
Told = TypeVar("Told", bound=Event)


async def the_next(reader: Client, kind: type[Told]) -> Told:
    """The next event of this kind."""
    async with asyncio.timeout(PATIENCE_S):
        async for event in reader.events():
            if isinstance(event, kind):
                return event
    raise AssertionError("the events ended")


@pytest.mark.parametrize(("way", "codec"), [("ws", "proto"), ("ws", "json"), ("tcp", "proto")])
async def test_a_message_lives_over_every_transport(cluster: Cluster, name: Name, way: str, codec: str) -> None:
    async with (
        client(cluster, name("ann"), way=way, codec=codec) as ann,
        client(cluster, name("bob"), way=way, codec=codec) as bob,
    ):
        group = await ann.create_group("crew", [name("bob")])
        sent = await ann.send(group.id, "one")
        while (await the_next(bob, Message)).text != "one":
            pass
        await ann.edit(group.id, sent.seq, "two")
        await bob.react(group.id, sent.seq, "👍")
        await ann.pin(group.id, sent.seq)
        told = [await the_next(bob, MessageChanged) for _ in range(3)]
        assert [change.act for change in told] == [ChangeAct.EDIT, ChangeAct.REACT, ChangeAct.PIN]
        last = told[-1].message
        assert last is not None
        assert (last.text, last.edited, last.state.pinned) == ("two", True, True)
        assert [(reaction.reaction, reaction.mine) for reaction in last.reactions] == [("👍", True)]
        await ann.recall(group.id, sent.seq)
        change = await the_next(bob, MessageChanged)
        assert (change.act, change.state.recalled_by) == (ChangeAct.RECALL, name("ann"))
        with pytest.raises(Forbidden):
            await bob.react(group.id, sent.seq, "👍")


async def test_a_device_that_was_away_is_told_what_was_changed_meanwhile(
    cluster: Cluster, name: Name, tmp_path: Path
) -> None:
    state = tmp_path / "bob.json"
    async with client(cluster, name("ann")) as ann:
        async with client(cluster, name("bob"), state=state) as bob:
            for text in ("one", "two"):
                await ann.send(name("bob"), text)
            messages = [await the_next(bob, Message) for _ in range(2)]
            await bob.history(name("ann"))  # so that both are taken
        await ann.edit(name("bob"), messages[0].seq, "won")
        await ann.edit(name("bob"), messages[0].seq, "wonder")
        await ann.recall(name("bob"), messages[1].seq)
        async with client(cluster, name("bob"), state=state) as bob:
            told = [await the_next(bob, MessageChanged) for _ in range(2)]
            assert [(change.act, change.seq) for change in told] == [(ChangeAct.EDIT, 1), (ChangeAct.RECALL, 2)]
            assert told[0].content is not None
            assert told[0].content.text == "wonder"  # the edit before it has no content any more
            page = await bob.history(name("ann"))
            assert [message.text for message in page.messages] == ["wonder", ""]


async def test_a_stream_is_read_while_it_is_written(cluster: Cluster, name: Name) -> None:
    words = [f"word {number} " for number in range(100)]
    async with client(cluster, name("ann")) as ann, client(cluster, name("bot"), way="tcp") as bot:
        async with bot.stream(name("ann")) as stream:
            begun = await the_next(ann, Message)
            assert begun.streaming
            for word in words:
                await stream.write(word)
                await asyncio.sleep(0.005)
            grew = await the_next(ann, StreamGrew)
            assert grew.message is not None
            assert "".join(words).startswith(grew.message.text)
        change = await the_next(ann, MessageChanged)
        assert change.act is ChangeAct.FINISH
        assert change.message is not None
        assert change.message.text == "".join(words)


async def test_people_change_what_they_wrote_in_a_chat(cluster: Cluster, name: Name) -> None:
    async with client(cluster, name("bob")) as bob:
        group = await bob.create_group("crew", [name("ann")])
        await bob.send(group.id, "from before")
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("tidings"),
            *("chat", "--user", name("ann"), "--group", group.id, "--data", str(cluster.data)),
            env=clean_environment(),
            stdin=PIPE,
            stdout=PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(3 * PATIENCE_S):
                for typed, said in (
                    ("", "from before"),
                    (f"hello @{name('bob')}", "* sent #3"),
                    ("/edit . hi", "changed #3: hi"),
                    ("/react 2 ok", f"about #2: {name('ann')} ok"),
                    ("/recall 3", "took #3 back"),
                    ("/readers 2", "#2 was read by"),
                    ("/name Ann M.", "You are called Ann M. now"),
                    ("/mute 8", ""),
                    ("/hide 2", ""),
                    ("/leave", "You left"),
                ):
                    if typed:
                        process.stdin.write(typed.encode() + b"\n")
                    while said:
                        line = (await process.stdout.readline()).decode()
                        assert line, said
                        if said in line:
                            break
                process.stdin.close()
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        acts = [(await the_next(bob, MessageChanged)).act for _ in range(3)]
        assert acts == [ChangeAct.EDIT, ChangeAct.REACT, ChangeAct.RECALL]
