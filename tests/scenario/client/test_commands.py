"""`send`, `listen` and `chat` as processes, against the scripted access node."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import struct
import sys
import termios
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.cluster.fake_access import FakeAccess
from tests.support.cluster.model_server import ModelServer
from tidings_protocol import client_pb2 as pb
from tidings_protocol.close import reason_of
from tools.cli.chat.session import run_chat
from tools.cli.failure import Failure
from tools.cli.reach import Reach

PATIENCE_S = 120.0  # a process starts slowly on a busy machine
ROOT = Path(__file__).resolve().parents[3]


SAID_S = 15.0  # within which a chat says what is waited for


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text("s" * 40)
    return file


@asynccontextmanager
async def _started(*arguments: str, folder: Path, terminal: int | None = None) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("tidings"),
        *arguments,
        cwd=ROOT,
        env={
            **os.environ,
            "XDG_STATE_HOME": str(folder),
            "TIDINGS_DATA": str(folder / "none"),
            "TERM": "xterm",
        },
        stdin=terminal or PIPE,
        stdout=terminal or PIPE,
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _run(*arguments: str, folder: Path) -> tuple[int, str, str]:
    async with _started(*arguments, folder=folder) as process:
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()


@pytest.fixture
def place(access: FakeAccess, secret: Path) -> list[str]:
    return ["--url", access.ws, "--secret-file", str(secret)]


async def test_send_prints_what_the_server_answered(place: list[str], server: ModelServer, tmp_path: Path) -> None:
    code, out, _ = await _run("send", "--user", "ann", "--to", "bob", "hi", "--json", *place, folder=tmp_path)
    sent = json.loads(out)
    assert (code, sent["conversation"], sent["seq"]) == (0, "d:ann|bob", "1")
    assert server.rooms["d:ann|bob"].messages[0].content.text == "hi"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--to", "bob", ""], 2, "nothing to send"),
        (["hi"], 2, "--to USER or --group"),
        (["--to", "bob", "--group", "g:x", "hi"], 2, "--to USER or --group"),
        (["--group", "crew", "hi"], 2, "begins with g:"),
        (["--to", "not a user", "hi"], 2, "not a user id"),
        (["--group", "g:nowhere", "hi"], 1, "not a member"),
    ],
)
async def test_a_send_that_cannot_be_says_why(
    place: list[str], tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    got, out, err = await _run("send", "--user", "ann", *place, *arguments, folder=tmp_path)
    assert (got, out) == (code, "")
    assert said in err
    assert "Traceback" not in err


async def test_listen_prints_what_arrives_since_it_was_called_and_counts(
    place: list[str], server: ModelServer, access: FakeAccess, tmp_path: Path
) -> None:
    server.text("ann", "d:ann|bob", "long ago")
    server.time_ms += 3_600_000
    arguments = ("listen", "--user", "bob", "--count", "2", "--timeout", "40", "--json", *place)
    async with _started(*arguments, folder=tmp_path) as process:
        assert process.stdout is not None
        await access.greeted.wait()
        server.text("ann", "d:ann|bob", "one")
        server.text("ann", "d:ann|bob", "two")
        out, err = await process.communicate()
    assert [json.loads(line)["content"]["text"] for line in out.decode().splitlines()] == ["one", "two"]
    assert (process.returncode, err) == (0, b"")


async def test_listen_that_gets_too_little_in_time_fails(place: list[str], tmp_path: Path) -> None:
    code, out, err = await _run("listen", "--user", "bob", "--count", "1", "--timeout", "0.1", *place, folder=tmp_path)
    assert (code, out) == (1, "")
    assert "0 of 1" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["listen", "--timeout", "2"],
        ["listen", "--timeout", "2", "--count", "1", "--json"],
        ["send", "--to", "ann", "hi", "--timeout", "2"],
    ],
)
async def test_an_address_that_nobody_answers_is_told_in_the_time_that_was_given(
    secret: Path, tmp_path: Path, arguments: list[str]
) -> None:
    place = ["--url", "ws://127.0.0.1:1", "--secret-file", str(secret)]
    code, out, err = await _run(*arguments, "--user", "bob", *place, folder=tmp_path)
    assert (code, out) == (1, "")
    assert "Not connected within" in err
    assert "cannot be reached" in err
    assert "Traceback" not in err


def test_a_chat_at_an_address_that_nobody_answers_says_so(tmp_path: Path) -> None:
    place = Reach(["ws://127.0.0.1:1"], "ann", lambda: "ann", connect_s=0.2)
    with pytest.raises(Failure, match=r"Not connected within 0\.2 s .*cannot be reached") as told:
        run_chat(place, "device", tmp_path / "state", "bob", None)
    assert told.value.code == 1
    assert "tidings status" in told.value.advice


async def test_listen_without_a_count_is_content_with_nothing(place: list[str], tmp_path: Path) -> None:
    code, out, err = await _run("listen", "--user", "bob", "--timeout", "0.1", *place, folder=tmp_path)
    assert (code, out, err) == (0, "", "")


async def test_a_refused_token_is_one_sentence(place: list[str], access: FakeAccess, tmp_path: Path) -> None:
    access.on_hello = lambda _hello: reason_of(4500).goodbye("the token is not valid")
    code, _, err = await _run("send", "--user", "ann", "--to", "bob", "hi", *place, folder=tmp_path)
    assert code == 1
    assert "token is not valid" in err.lower()
    assert "Traceback" not in err


async def test_a_chat_in_a_pipe_sends_lines_and_prints_what_comes(
    place: list[str], server: ModelServer, tmp_path: Path
) -> None:
    server.text("bob", "d:ann|bob", "from before")
    async with _started("chat", "--user", "ann", "--to", "bob", *place, folder=tmp_path) as process:
        assert process.stdin is not None
        lines = _lines(process)
        await _until(lines, "bob: from before")
        process.stdin.write(b"hello\n/who bob\n/nonsense\n")
        await _until(lines, "* sent #2")
        await _until(lines, "There is no command /nonsense")
        server.text("bob", "d:ann|bob", "hello yourself")
        await _until(lines, "bob: hello yourself")
        process.stdin.close()
        assert await process.wait() == 0
    assert [message.content.text for message in server.rooms["d:ann|bob"].messages][1] == "hello"


async def test_messages_are_changed_in_a_chat(place: list[str], server: ModelServer, tmp_path: Path) -> None:
    server.group("g:1", ["ann", "bob"], name="friends")
    server.text("bob", "g:1", "from before")
    server.post("bob", "g:1", pb.Content(text="so ", streaming=True))
    async with _started("chat", "--user", "ann", "--group", "g:1", *place, folder=tmp_path) as process:
        assert process.stdin is not None
        lines = _lines(process)
        for typed, said in (
            ("hello @bob and @all", "* sent #3"),
            ("/edit . hello", "* ann changed #3: hello"),
            ("/react #1 👍", "* about #1: ann 👍"),
            ("/pin 1", "* ann pinned #1"),
            ("/pinned", "* #1 bob: from before"),
            ("/reactions 1", "* #1: ann 👍"),
            ("/unreact 1 👍", "* about #1: ann no more 👍"),
            ("/recall .", "* ann took #3 back"),
            ("/edit 99 hello", "* There is no message #99 here"),
            ("/hide 1", ""),
            ("/mute 8", ""),
            ("/block cleo", "* You take no more messages from cleo."),
            ("/set slow 5", ""),
            ("/set silent on", ""),
            ("/info", "silent, one message in 5 s"),
            ("/invite 24 3", "* /join g:1 "),
            ("/ban dan", ""),
            ("/banned", "* dan"),
            ("/name Ann M.", "* You are called Ann M. now."),
            ("/dissolve foes", "* The group is called friends"),
        ):
            process.stdin.write(typed.encode() + b"\n")
            if said:
                await _until(lines, said)
        server.changes.change(
            "bob", pb.Change(client_id="f", conversation="g:1", seq=2, finish=pb.Change.Finish(text="so it is"))
        )
        await _until(lines, "* bob finished #2: so it is")
        process.stdin.close()
        assert await process.wait() == 0
    assert server.changes.hidden == {"ann": {("g:1", 1)}}
    sent = server.rooms["g:1"].by_client_id
    (mentions,) = [
        message.change.edit.mentions or message.content.mentions
        for (user, _), message in sent.items()
        if user == "ann" and message.seq == 3
    ]
    assert list(mentions) == []  # the edit took it away
    assert server.people.preferences["ann", "g:1"].muted_until_ms > 0


async def test_a_chat_tells_that_one_is_no_member_any_more(
    place: list[str], server: ModelServer, access: FakeAccess, tmp_path: Path
) -> None:
    server.group("g:1", ["ann", "bob"], name="friends")
    async with _started("chat", "--user", "ann", "--group", "g:1", *place, folder=tmp_path) as process:
        assert process.stdin is not None
        lines = _lines(process)
        await _until(lines, "chatting in g:1")
        access.say(pb.ServerFrame(group_info=pb.GroupInfo(conversation="g:1", name="friends")))
        await _until(lines, "You are no member of friends any more")
        process.stdin.close()
        assert await process.wait() == 0


async def test_a_chat_that_is_opened_again_is_the_same_device(
    place: list[str], access: FakeAccess, tmp_path: Path
) -> None:
    for _ in range(2):
        async with _started("chat", "--user", "ann", "--to", "bob", *place, folder=tmp_path) as process:
            await process.communicate(b"hi\n")
            assert process.returncode == 0
    first, second = access.hellos
    assert first.device == second.device
    assert second.epoch


async def test_the_screen_shows_the_chat_and_ctrl_c_leaves(
    place: list[str], server: ModelServer, tmp_path: Path
) -> None:
    server.text("bob", "d:ann|bob", "from before")
    with _terminal() as (keyboard, terminal):
        arguments = ("chat", "--user", "ann", "--to", "bob", *place)
        async with _started(*arguments, folder=tmp_path, terminal=terminal) as process:
            screen = _Screen(keyboard)
            await screen.until("from before")
            os.write(keyboard, b"typed by a person\r")
            await screen.until("typed by a person")
            await screen.until("✓")
            os.write(keyboard, b"\x03")
            assert await process.wait() == 0
    assert server.rooms["d:ann|bob"].messages[1].content.text == "typed by a person"


async def test_the_screen_completes_names_and_shows_what_is_done_to_messages(
    place: list[str], server: ModelServer, tmp_path: Path
) -> None:
    server.group("g:1", ["ann", "bob", "cleo"], name="friends")
    server.text("bob", "g:1", "from before")
    server.people.set_profile(pb.Profile(user="cleo", name="Cleopatra"))
    with _terminal() as (keyboard, terminal):
        arguments = ("chat", "--user", "ann", "--group", "g:1", *place)
        async with _started(*arguments, folder=tmp_path, terminal=terminal) as process:
            screen = _Screen(keyboard)
            await screen.until("from before")
            while "cleo" not in {user for session in server.sessions for user in session.profiles}:
                await screen.more()  # until it knows who is there
            os.write(keyboard, b"hi @cleop")
            await screen.until("Cleopatra")
            os.write(keyboard, b"\t\r")
            await screen.until("hi @cleo")
            os.write(keyboard, b"/react 1 ok\r")
            await screen.until("  ok")
            server.post("bob", "g:1", pb.Content(text="so ", streaming=True))
            await screen.until("▌")
            os.write(keyboard, b"\x03")
            assert await process.wait() == 0
    sent = next(message for message in server.rooms["g:1"].messages if message.sender == "ann")
    assert (sent.content.text.strip(), list(sent.content.mentions)) == ("hi @cleo", ["cleo"])


class _Screen:
    """What a terminal was given so far."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._seen = ""

    async def until(self, text: str) -> None:
        while text not in self._seen:
            await self.more()

    async def more(self) -> None:
        """Something more is drawn."""
        readable = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._descriptor, readable.set)
        try:
            await readable.wait()
            self._seen += os.read(self._descriptor, 65536).decode(errors="replace")
        finally:
            loop.remove_reader(self._descriptor)


@contextmanager
def _terminal() -> Iterator[tuple[int, int]]:
    """(what a person holds, what the program gets)."""
    keyboard, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    try:
        yield keyboard, terminal
    finally:
        os.close(keyboard)
        os.close(terminal)


async def _lines(process: Process) -> AsyncIterator[str]:
    assert process.stdout is not None
    async for line in process.stdout:
        yield line.decode()


async def _until(lines: AsyncIterator[str], text: str) -> None:
    seen: list[str] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(SAID_S):
            async for line in lines:
                if text in line:
                    return
                seen.append(line)
    raise AssertionError(f"nothing said {text!r}, but: {seen}")
