"""How the `tidings` command talks to the supervisor: one JSON line each way on a Unix socket in the data folder.

Only this user can open the socket. A request names a command; the answer is {"ok": …} or {"error", "advice"}.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from tools.cli.failure import Failure
from tools.cli.stack.folder import Folder

LINE_BYTES_MAX = 1024 * 1024

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


@asynccontextmanager
async def serve(folder: Folder, handle: Handler) -> AsyncIterator[None]:
    """Answers requests until left. `handle` raises Failure for what the user must be told."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, ValueError):
            request = json.loads(await reader.readline())
            try:
                reply: dict[str, Any] = {"ok": await handle(request)}
            except Failure as failure:
                reply = {"error": failure.message, "advice": failure.advice, "code": failure.code}
            except Exception as error:  # the edge: a defect here must not leave the command without an answer
                reply = {"error": f"The local stack failed: {error!r}.", "advice": "", "code": 1}
            writer.write(json.dumps(reply).encode() + b"\n")
            await writer.drain()
        writer.close()

    folder.control_socket.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(answer, folder.control_socket, limit=LINE_BYTES_MAX)
    folder.control_socket.chmod(0o600)
    try:
        yield
    finally:
        server.close()
        folder.control_socket.unlink(missing_ok=True)


def ask(folder: Folder, request: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:
    """What the supervisor answers. Raises Failure: its own word, or NoSupervisor when none is there."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(folder.control_socket))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as lines:
                line = lines.readline()
    except TimeoutError as error:
        raise Failure(
            f"The local stack did not answer within {timeout_s:.0f} s.", f"Look at {folder.log('supervisor')}."
        ) from error
    except OSError as error:
        raise NoSupervisor(folder) from error
    if not line:
        raise NoSupervisor(folder)
    reply = json.loads(line)
    if "error" in reply:
        failure = Failure(reply["error"], reply["advice"])
        failure.code = reply["code"]
        raise failure
    ok: dict[str, Any] = reply["ok"]
    return ok


class NoSupervisor(Failure):
    def __init__(self, folder: Folder) -> None:
        super().__init__(
            f"No cluster runs on {folder.path}.", "Start one with `tidings up`, or name its folder by --data."
        )
