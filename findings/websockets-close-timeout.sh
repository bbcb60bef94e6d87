#!/bin/sh
# How long `close()` of websockets' asyncio client takes with close_timeout=1: (1) alone, the server answers at once; (2) with
# unread messages in the client's queue, the server answers at once; (3) while the server does not read for 5 s; (4) the same,
# with a `send` that waits.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "websockets==17.4"
cat > "$work/seen.py" <<'PY'
import asyncio
import contextlib
import time

import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

SILENCE_S = 5.0


async def behave(connection):
    if connection.request.path == "/many":
        with contextlib.suppress(websockets.ConnectionClosed):
            for _ in range(1_000):
                await connection.send(b"m" * 20_000)
    elif connection.request.path == "/frozen":
        connection.transport.pause_reading()
        await asyncio.sleep(SILENCE_S)
        connection.transport.resume_reading()
    await connection.wait_closed()


async def closing(port, path, *, sends=False):
    address = f"ws://127.0.0.1:{port}{path}"
    client = await connect(address, compression=None, ping_interval=None, close_timeout=1)
    sending = asyncio.create_task(client.send(b"s" * 20_000_000) if sends else asyncio.sleep(0))
    await asyncio.sleep(0.5)
    began = time.monotonic()
    await client.close()
    took = time.monotonic() - began
    await asyncio.gather(sending, return_exceptions=True)
    print(f"{path}{' with a send that waits' if sends else ''}: close() took {took:.1f} s, code {client.close_code}")
    return took, client.close_code


async def main():
    print("websockets", websockets.__version__)
    async with serve(behave, "127.0.0.1", 0, compression=None, max_size=None) as server:
        port = server.sockets[0].getsockname()[1]
        alone = await closing(port, "/plain")
        unread = await closing(port, "/many")
        frozen = await closing(port, "/frozen")
        sending = await closing(port, "/frozen", sends=True)
    return (
        alone[0] < 0.5 and alone[1] == 1000
        and 0.9 < unread[0] < 2 and unread[1] == 1006
        and 0.9 < frozen[0] < 2 and frozen[1] == 1006
        and sending[0] > SILENCE_S - 1
    )


raise SystemExit(0 if asyncio.run(main()) else "this changed")
PY
"$work/venv/bin/python" --version
"$work/venv/bin/python" "$work/seen.py"
