#!/bin/sh
# What a TLS connection costs a server when it is idle, and when it is idle again after one message of 32 KB, 128 KB and
# 400 KB: private memory of the process over 200 connections, with asyncio's loop and with uvloop. Linux.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "uvloop==0.23.0" "cryptography==50.0.2"
cd "$work"
cat > seen.py <<'PY'
import asyncio
import concurrent.futures
import datetime
import gc
import multiprocessing
import socket
import ssl

import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

CONNECTIONS = 200
SIZES = (32_000, 128_000, 400_000)


def make_certificate():
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
    certificate = builder.not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    with open("both.pem", "wb") as file:
        file.write(certificate.public_bytes(form[0]) + key.private_bytes(*form))


def private_kb():
    with open("/proc/self/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private_"))


def clients(port, pipe):
    trusting = ssl.create_default_context(cafile="both.pem")
    trusting.check_hostname = False
    open_ones = [trusting.wrap_socket(socket.create_connection(("127.0.0.1", port))) for _ in range(CONNECTIONS)]
    while size := pipe.recv():
        for each in open_ones:
            each.sendall(b"m" * size)


class Counting(asyncio.Protocol):
    received = 0

    def data_received(self, data):
        Counting.received += len(data)


async def measure():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("both.pem")
    server = await asyncio.get_running_loop().create_server(Counting, "127.0.0.1", 0, ssl=context, backlog=1_000)
    gc.collect()
    before = private_kb()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=clients, args=(server.sockets[0].getsockname()[1], theirs)
    )
    process.start()
    costs = []
    for size in (10, *SIZES):
        Counting.received = 0
        ours.send(size)
        while Counting.received < size * CONNECTIONS:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        gc.collect()
        costs.append((private_kb() - before) / CONNECTIONS)
    ours.send(0)
    process.join()
    return costs


def measured(run):
    return run(measure())


if __name__ == "__main__":
    make_certificate()
    print(ssl.OPENSSL_VERSION, "uvloop", uvloop.__version__)
    seen = {}
    for loop, run in (("asyncio", asyncio.run), ("uvloop", uvloop.run)):
        # In a process of its own: memory that the first one freed would be taken again.
        with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            costs = seen[loop] = pool.submit(measured, run).result()
        print(f"{loop}: KB a connection, idle and after {SIZES} bytes: {[round(cost) for cost in costs]}")
    idle, *_, after = seen["uvloop"]
    raise SystemExit(0 if seen["asyncio"][0] > 200 and idle < 50 and after > 8 * idle else "this changed")
PY
"$work/venv/bin/python" --version
"$work/venv/bin/python" seen.py
