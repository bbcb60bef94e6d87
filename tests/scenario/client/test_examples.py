"""The examples do what they say, against the scripted access node."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.cluster.fake_access import FakeAccess
from tests.support.cluster.model_server import ModelServer
from tidings import Client, Message, MessageChanged, StreamGrew
from tidings_protocol.close import reason_of

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "client" / "examples"
PATIENCE_S = 120.0  # a process starts slowly on a busy machine


@asynccontextmanager
async def _example(name: str, *arguments: str, path: str = "") -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        EXAMPLES / name,
        *arguments,
        env={
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'client'}",
            "PATH": f"{path}:{os.environ['PATH']}",
            "PYTHONWARNINGS": "error",
        },
        stdout=PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _line(process: Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().rstrip("\n")


async def test_hello_sends_and_reads_the_answer(access: FakeAccess) -> None:
    async with Client(access.ws, token="bob") as bob, _example("hello.py", access.ws, "ann", "bob", "hi Bob") as hello:
        question = await anext(bob.messages())
        await bob.send(question.conversation, "hi Ann")
        assert await _line(hello) == "stored as number 1 of d:ann|bob"
        assert await _line(hello) == "bob: hi Ann"
        assert await hello.wait() == 0


async def test_the_echo_bot_answers_once_also_what_came_while_it_was_down(
    access: FakeAccess, server: ModelServer, tmp_path: Path
) -> None:
    arguments = ("echo_bot.py", access.ws, "echo", str(tmp_path / "echo.json"))
    async with Client(access.ws, token="ann") as ann:
        for number in range(2):
            async with _example(*arguments) as bot:
                assert await _line(bot) == "echo listens"
                expected = ["live"] if number == 0 else ["while you were down", "live"]
                await ann.send("echo", "live")
                async with asyncio.timeout(PATIENCE_S):
                    answers = [(await anext(ann.messages())).text for _ in expected]
                assert answers == expected
            await ann.send("echo", "while you were down")
    texts = [message.content.text for message in server.rooms["d:ann|echo"].messages]
    assert texts.count("live") == 4


async def test_the_group_example_follows_its_message_until_it_is_read(access: FakeAccess) -> None:
    async with Client(access.ws, token="bob") as bob, _example("group.py", access.ws, "ann", "bob", "cleo") as group:
        message = await anext(bob.messages())
        assert message.text == "Pizza at noon?"
        await bob.read(message.conversation, message.seq)
        lines = [await _line(group) for _ in range(6)]
        assert lines[0].startswith("lunch is g:")
        assert lines[1:] == ["sending", "sent", "delivered", "read", "1 messages so far"]
        assert await group.wait() == 0


async def test_the_stream_bots_answer_grows_while_it_is_read(access: FakeAccess) -> None:
    async with Client(access.ws, token="ann") as ann, _example("stream_bot.py", access.ws, "bot") as bot:
        assert await _line(bot) == "bot listens"
        await ann.send("bot", "why?")
        seen: list[str] = []
        whole: Message | None = None
        async for event in ann.events():
            if isinstance(event, StreamGrew) and event.message is not None:
                seen.append(event.message.text)
            if isinstance(event, MessageChanged):
                whole = event.message
                break
        assert whole is not None
        assert whole.text.strip() == "You ask: why? I have to think about that."
        assert whole.reply_to == 1
        assert len(seen) > 1
        assert all(whole.text.startswith(text) for text in seen)


async def test_fresh_tokens_are_fetched_when_one_ran_out(access: FakeAccess, tmp_path: Path) -> None:
    signer = tmp_path / "tidings"
    signer.write_text("#!/bin/sh\necho $2\n")
    signer.chmod(0o755)
    async with _example("fresh_tokens.py", access.ws, "ann", path=str(tmp_path)) as example:
        lines = [await _line(example) for _ in range(2)]
        access.goodbye(4506)
        lines += [await _line(example) for _ in range(2)]
        assert [line.split()[0] for line in lines] == ["connecting", "online", "connecting", "online"]
        access.on_hello = lambda _hello: reason_of(4501).goodbye("enough")
        access.goodbye(4501)
        assert "logged in again" in await _line(example)
