"""The commands `send` and `listen`: one message out, and what comes in, for people and scripts."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Annotated, Any, TypeVar

import psutil
import typer
from rich.markup import escape

from tidings import Client, Message, Sent
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import new_id
from tidings_protocol.wire.json.write import json_bytes
from tools.cli.failure import WrongUse
from tools.cli.options import DATA_DEFAULT, ClusterName, Data, Etcd, Json, SecretFile
from tools.cli.output import notes, results, safe
from tools.cli.reach import Reach, reach, told
from tools.cli.target import check_user

LOOK_BACK = 100
GROUPS_MAX = 20

Answer = TypeVar("Answer")

User = Annotated[str, typer.Option("--user", metavar="NAME", help="Who you are.")]
Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="An access node, instead of looking for one: ws:// or tcp://."),
]


def send(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say; - reads it from standard input.")],
    user: User,
    to: Annotated[str | None, typer.Option("--to", metavar="USER", help="To a user.")] = None,
    group: Annotated[str | None, typer.Option("--group", metavar="g:ID", help="To a group.")] = None,
    timeout: Annotated[float, typer.Option("--timeout", metavar="S", help="How long to try.")] = 30.0,
    url: Url = None,
    data: Data = DATA_DEFAULT,
    etcd: Etcd = None,
    cluster: ClusterName = None,
    secret_file: SecretFile = None,
    json: Json = False,
) -> None:
    """Send one message, and wait until it is durable."""
    if text == "-":
        text = sys.stdin.read().rstrip("\n")
    if not text:
        raise WrongUse("There is nothing to send.", "Give a text that is not empty.")
    if timeout <= 0:
        raise WrongUse(f"--timeout {timeout:g} is no time to try.", "Give seconds above 0.")
    if (to is None) == (group is None):
        raise WrongUse("Who is it for?", "Give either --to USER or --group g:ID.")
    check_addressee(to, group)
    place = reach(user, data=data, etcd=etcd, cluster=cluster, secret_file=secret_file, url=url)
    sent = _run(_send(place, to, group, text, timeout))
    if json:
        _put(json_bytes(sent.to_proto()))
    else:
        again = " (it was there already)" if sent.duplicate else ""
        results.print(f"sent to {escape(sent.conversation)}, number {sent.seq}{again}")


def listen(
    user: User,
    count: Annotated[int | None, typer.Option("--count", metavar="N", min=1, help="End after so many.")] = None,
    timeout: Annotated[float | None, typer.Option("--timeout", metavar="S", help="End after this time.")] = None,
    url: Url = None,
    data: Data = DATA_DEFAULT,
    etcd: Etcd = None,
    cluster: ClusterName = None,
    secret_file: SecretFile = None,
    json: Json = False,
) -> None:
    """Print what arrives from now on. Ends with 1 if the time is over before the count, or no server was reached."""
    if timeout is not None and timeout <= 0:
        raise WrongUse(f"--timeout {timeout:g} is no time to listen.", "Give seconds above 0.")
    place = reach(user, data=data, etcd=etcd, cluster=cluster, secret_file=secret_file, url=url)
    try:
        seen = _run(_listen(place, count, timeout, as_json=json))
    except KeyboardInterrupt:
        raise typer.Exit(0 if count is None else 1) from None
    if count is not None and seen < count:
        notes.print(f"{seen} of {count} messages came in {timeout:g} s")
        raise typer.Exit(1)


async def _send(place: Reach, to: str | None, group: str | None, text: str, timeout_s: float) -> Sent:
    until = asyncio.get_running_loop().time() + timeout_s
    async with place.within(timeout_s).client(f"send-{new_id()}") as client:
        left_s = max(0.0, until - asyncio.get_running_loop().time())
        return await client.send(group or client.direct(to or ""), text, timeout_s=left_s)


async def _listen(place: Reach, count: int | None, timeout_s: float | None, *, as_json: bool) -> int:
    """How many messages came in the time; that no server was reached is raised, whatever the time."""
    seen = 0
    place = place if timeout_s is None else place.within(timeout_s - _age_s())
    async with place.client(f"listen-{new_id()}") as client:
        try:
            async with asyncio.timeout(None if timeout_s is None else max(0.0, timeout_s - _age_s())):
                async for message in _arriving(client):
                    _show(message, as_json=as_json)
                    seen += 1
                    if seen == count:
                        break
        except TimeoutError:
            pass  # the time is over: the caller looks at the count
    return seen


async def _arriving(client: Client) -> AsyncIterator[Message]:
    """Everything since the command was called: what came while it was connecting, then what comes."""
    begun_ms = client.welcome.time_ms - round(_age_s() * 1000)
    for message in sorted(await _meanwhile(client), key=lambda message: message.time_ms):
        if message.time_ms >= begun_ms:
            yield message
    async for message in client.messages():
        yield message


async def _meanwhile(client: Client) -> list[Message]:
    """The newest messages that were there when the session began."""
    head = client.welcome.inbox_head
    page = await client.inbox(max(0, head - LOOK_BACK), limit=LOOK_BACK)
    found = [message for number, message in page.entries if number <= head]
    for name, group_head in list(client.welcome.group_heads.items())[:GROUPS_MAX]:
        history = await client.history(name, before=group_head + 1)
        found += history.messages
    return found


def _age_s() -> float:
    """How long ago this process was started."""
    return max(0.0, time.time() - psutil.Process().create_time())


def _show(message: Message, *, as_json: bool) -> None:
    if as_json:
        _put(json_bytes(message.to_proto()))
        return
    where = "" if message.conversation.startswith("d:") else f" [dim]{escape(message.conversation)}[/dim]"
    clock = message.time.astimezone().strftime("%H:%M:%S")
    results.print(f"[dim]{clock}[/dim] [bold]{safe(message.sender)}[/bold]{where} {safe(_content(message))}")


def _content(message: Message) -> str:
    if message.recalled:
        return "(taken back)"
    membership = message.membership
    if membership is not None:
        return f"* {membership.act} {' '.join(membership.users)} {membership.name}".rstrip()
    if message.media and not message.text:
        return f"({len(message.media)} files)"
    return message.text or f"({len(message.data)} bytes of {message.mime or 'application/octet-stream'})"


def _put(document: bytes) -> None:
    sys.stdout.buffer.write(document + b"\n")
    sys.stdout.buffer.flush()


def check_addressee(to: str | None, group: str | None) -> None:
    """Raises WrongUse."""
    if group is not None and not group.startswith("g:"):
        raise WrongUse(f"{group!r} is not a group.", "Its id begins with g:.")
    if to is not None:
        check_user(to)


def _run(action: Coroutine[Any, Any, Answer]) -> Answer:
    try:
        return asyncio.run(action)
    except TidingsError as error:
        raise told(error) from error
