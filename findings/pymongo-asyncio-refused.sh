#!/bin/sh
# Does pymongo's asyncio client close the sockets of attempts that are refused (nothing listens at the port)? Beside it the
# client with threads. No server is needed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "pymongo==4.20.0"
cat > "$work/seen.py" <<'PY'
import asyncio
import gc
import socket
import warnings

import pymongo
from pymongo.errors import ServerSelectionTimeoutError

CLIENTS = 10
unclosed = []
warnings.simplefilter("always", ResourceWarning)
warnings.showwarning = lambda message, *_: unclosed.append(message) if "unclosed <socket" in str(message) else None

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
address = f"mongodb://127.0.0.1:{port}/?directConnection=true"


async def with_asyncio():
    for _ in range(CLIENTS):
        async with pymongo.AsyncMongoClient(address, serverSelectionTimeoutMS=700) as client:
            try:
                await client.admin.command("ping")
            except ServerSelectionTimeoutError:
                pass


def with_threads():
    for _ in range(CLIENTS):
        with pymongo.MongoClient(address, serverSelectionTimeoutMS=700) as client:
            try:
                client.admin.command("ping")
            except ServerSelectionTimeoutError:
                pass


def left():
    gc.collect()
    count = len(unclosed)
    unclosed.clear()
    return count


print("pymongo", pymongo.version)
asyncio.run(with_asyncio())
asyncio_left = left()
with_threads()
threads_left = left()
print(f"sockets that were never closed, after {CLIENTS} clients: asyncio {asyncio_left}, threads {threads_left}")
raise SystemExit(0 if asyncio_left and not threads_left else "this changed")
PY
"$work/venv/bin/python" --version
"$work/venv/bin/python" "$work/seen.py"
