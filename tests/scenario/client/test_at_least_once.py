"""A message counts as taken when the application is done with it: what it was at work on comes again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.cluster.fake_access import FakeAccess
from tests.support.cluster.model_server import ModelServer
from tidings import BadState, Client, Event, MemoryState, Message, NotKept, Receipt, SavedState
from tidings_protocol import client_pb2 as pb

PATIENCE_S = 10.0
ROOT = Path(__file__).resolve().parents[3]


class Broken(Exception):
    """What goes wrong in the application."""


class FullDisk(MemoryState):
    """Takes nothing while `full`."""

    def __init__(self) -> None:
        super().__init__()
        self.full = False
        self.tries = 0

    def save(self, state: SavedState) -> None:
        self.tries += 1
        if self.full:
            raise OSError(28, "No space left on device")
        super().save(state)


def _bob(access: FakeAccess, state: MemoryState | Path) -> Client:
    return Client(access.ws, token="bob", device="laptop", state=state)


async def _rest(access: FakeAccess, server: ModelServer, state: MemoryState | Path) -> list[str]:
    """What comes after the restart, up to a last message."""
    found: list[str] = []
    async with asyncio.timeout(PATIENCE_S), _bob(access, state) as bob:
        server.text("ann", "d:ann|bob", "last")
        async for message in bob.messages():
            if message.text == "last":
                return found
            found.append(message.text)
    raise AssertionError("the messages ended")


async def test_an_error_that_leaves_the_client_gives_its_message_again(access: FakeAccess, server: ModelServer) -> None:
    state = MemoryState()

    async def live() -> None:
        async with _bob(access, state) as bob:
            for text in ("one", "two", "three"):
                server.text("ann", "d:ann|bob", text)
            async for message in bob.messages():
                if message.text == "two":
                    raise Broken

    with pytest.raises(Broken):
        await live()
    assert await _rest(access, server, state) == ["two", "three"]


async def test_an_error_of_one_of_several_tasks_gives_its_message_again(
    access: FakeAccess, server: ModelServer
) -> None:
    """It passes a group of tasks, which takes its time, before it leaves the client."""
    state = MemoryState()

    async def work(bob: Client) -> None:
        async for message in bob.messages():
            if message.text == "two":
                raise Broken

    async def stay() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(20):
                await asyncio.sleep(0)

    async def live() -> None:
        async with _bob(access, state) as bob, asyncio.TaskGroup() as tasks:
            tasks.create_task(work(bob))
            tasks.create_task(stay())
            for text in ("one", "two"):
                server.text("ann", "d:ann|bob", text)

    with pytest.raises(ExceptionGroup):
        await live()
    assert await _rest(access, server, state) == ["two"]


async def test_what_another_task_is_still_at_work_on_when_the_client_is_left_comes_again(
    access: FakeAccess, server: ModelServer
) -> None:
    state = MemoryState()
    at_work = asyncio.Event()

    async def work(bob: Client) -> None:
        async for _message in bob.messages():
            at_work.set()
            await asyncio.Event().wait()

    async with _bob(access, state) as bob:
        working = asyncio.create_task(work(bob))
        server.text("ann", "d:ann|bob", "one")
        await at_work.wait()
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
    assert await _rest(access, server, state) == ["one"]


@pytest.mark.parametrize("how", ["break", "return", "a named loop", "another task"])
async def test_a_loop_that_is_left_normally_is_done_with_its_message(
    access: FakeAccess, server: ModelServer, how: str
) -> None:
    state = MemoryState()

    async def take(bob: Client) -> str:
        if how == "a named loop":
            stream = bob.messages()
            return (await anext(stream)).text
        async for message in bob.messages():
            if how == "return":
                return message.text
            break
        return message.text

    async with _bob(access, state) as bob:
        server.text("ann", "d:ann|bob", "one")
        taken = await (asyncio.create_task(take(bob)) if how == "another task" else take(bob))
        assert taken == "one"
    assert await _rest(access, server, state) == []


async def test_a_loop_that_was_left_is_acknowledged_though_nobody_asks_for_more(
    access: FakeAccess, server: ModelServer
) -> None:
    acknowledged = _acknowledged(server)
    async with asyncio.timeout(PATIENCE_S), _bob(access, MemoryState()) as bob:
        server.text("ann", "d:ann|bob", "one")
        async for _message in bob.messages():
            break
        await acknowledged.wait()


async def test_who_is_cancelled_while_it_waits_sees_nothing_again(access: FakeAccess, server: ModelServer) -> None:
    """That is how Ctrl-C ends a program."""
    state = MemoryState()
    all_taken = asyncio.Event()

    async def live() -> None:
        async with _bob(access, state) as bob:
            for number in range(20):
                server.text("ann", "d:ann|bob", f"{number}")
            async for message in bob.messages():
                if message.text == "19":
                    asyncio.get_running_loop().call_soon(all_taken.set)

    living = asyncio.create_task(live())
    await all_taken.wait()
    living.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await living
    assert await _rest(access, server, state) == []


BOT = """
import asyncio, sys
from tidings import Client

async def main(url, state):
    async with Client(url, token="bob", state=state) as client:
        print("ready", flush=True)
        async for message in client.messages():
            print(message.text, flush=True)
            if message.text == "two":
                await asyncio.sleep(3600)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_what_a_killed_process_was_at_work_on_comes_again(
    access: FakeAccess, server: ModelServer, tmp_path: Path
) -> None:
    state = tmp_path / "bob.json"
    acknowledged = _acknowledged(server)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'client'}"}
    bot = await asyncio.create_subprocess_exec(
        sys.executable, "-c", BOT, access.ws, str(state), stdout=PIPE, env=environment
    )
    assert bot.stdout is not None
    async with asyncio.timeout(60):
        assert await bot.stdout.readline() == b"ready\n"
        for text in ("one", "two", "three"):
            server.text("ann", "d:ann|bob", text)
        while await bot.stdout.readline() != b"two\n":
            pass
        await acknowledged.wait()
        bot.send_signal(signal.SIGKILL)
        await bot.wait()
    assert max(server.acknowledged) == 1
    async with asyncio.timeout(PATIENCE_S), Client(access.ws, token="bob", state=state) as again:
        texts = [(await anext(again.messages())).text for _ in range(2)]
    assert texts in (["two", "three"], ["one", "two"])  # what was taken in the last half second may come again as well


async def test_a_disk_that_is_full_for_a_moment_is_told_and_nothing_is_interrupted(
    access: FakeAccess, server: ModelServer
) -> None:
    state = FullDisk()
    async with asyncio.timeout(PATIENCE_S), _bob(access, state) as bob:
        state.full = True
        server.text("ann", "d:ann|bob", "one")
        told = await _until(bob, lambda event: isinstance(event, NotKept))
        assert isinstance(told, NotKept)
        assert "No space left" in told.reason
        assert told.retry_in_s > 0
        server.text("ann", "d:ann|bob", "two")
        await _until(bob, lambda event: isinstance(event, Message) and event.text == "two")
        state.full = False
    assert await _rest(access, server, state) == []


async def test_a_disk_that_stays_full_is_an_error_at_the_end_only(access: FakeAccess, server: ModelServer) -> None:
    state = FullDisk()
    taken: list[str] = []

    async def live() -> None:
        async with asyncio.timeout(PATIENCE_S), _bob(access, state) as bob:
            state.full = True
            server.text("ann", "d:ann|bob", "one")
            await _until(bob, lambda event: isinstance(event, NotKept))
            taken.append("all of it")

    with pytest.raises(BadState, match="No space left"):
        await live()
    assert taken
    state.full = False
    assert await _rest(access, server, state) == ["one"]


async def test_the_applications_own_error_is_not_hidden_by_a_full_disk(access: FakeAccess) -> None:
    state = FullDisk()

    async def live() -> None:
        async with _bob(access, state):
            state.full = True
            raise Broken

    with pytest.raises(Broken):
        await live()


async def test_a_disk_that_is_full_from_the_beginning_is_tried_for_a_few_seconds(access: FakeAccess) -> None:
    class Recovers(FullDisk):
        def save(self, state: SavedState) -> None:
            self.full = self.tries < 2
            super().save(state)

    async with asyncio.timeout(PATIENCE_S), _bob(access, Recovers()) as bob:
        assert bob.online


async def test_messages_come_while_receipts_come_faster_than_they_are_read(
    access: FakeAccess, server: ModelServer
) -> None:
    async with asyncio.timeout(PATIENCE_S), _bob(access, MemoryState()) as bob:
        (session,) = server.sessions
        seen = {"messages": 0, "receipts": 0}
        async for event in bob.events():
            seen["messages"] += isinstance(event, Message)
            seen["receipts"] += isinstance(event, Receipt)
            if seen["messages"] == 10:
                break
            for _ in range(3):
                session.push(pb.ServerFrame(receipt=pb.Receipt(conversation="g:x", user="u", read_seq=1)))
            server.text("ann", "d:ann|bob", "hello")
            await asyncio.sleep(0)
        assert seen["receipts"] < 20 * seen["messages"]


def _acknowledged(server: ModelServer) -> asyncio.Event:
    """Set with the first acknowledgement from now on."""
    came = asyncio.Event()

    def look(_session: object, frame: pb.ClientFrame) -> None:
        if frame.HasField("ack"):
            came.set()

    server.refuse = look
    return came


async def _until(client: Client, fits: Callable[[Event], bool]) -> Event:
    async for event in client.events():
        if fits(event):
            return event
    raise AssertionError("the events ended")
