#!/bin/sh
# What becomes of calls that reach a grpc.aio server while its event loop is busy: of 900, of 2,000, of 4,000. Then the same
# with the two options of gRPC's core that are about it, and with `maximum_concurrent_rpcs`.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "grpcio==1.85.1"
cat > "$work/seen.py" <<'PY'
import asyncio
import subprocess
import sys
import time
from collections import Counter

import grpc

BUSY_S = 3.0
RAISED = (("grpc.server.max_pending_requests", 10_000), ("grpc.server.max_pending_requests_hard_limit", 10_000))


async def serve(options, limit):
    begun = 0

    async def block(request, context):
        asyncio.get_running_loop().call_soon(time.sleep, BUSY_S)
        return b""

    async def work(request, context):
        nonlocal begun
        begun += 1
        await asyncio.sleep(0.2)
        return b""

    async def count(request, context):
        return str(begun).encode()

    server = grpc.aio.server(options=options, maximum_concurrent_rpcs=limit)
    handlers = {
        method.__name__: grpc.unary_unary_rpc_method_handler(method) for method in (block, work, count)
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", handlers),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()


async def burst(calls, *arguments):
    command = [sys.executable, __file__, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{int(process.stdout.readline())}") as channel:
                await channel.unary_unary("/test/block")(b"", wait_for_ready=True)
                work = channel.unary_unary("/test/work")

                async def one():
                    try:
                        await work(b"", timeout=60)
                    except grpc.aio.AioRpcError as error:
                        return error.code().name
                    return "OK"

                seen = Counter(await asyncio.gather(*(one() for _ in range(calls))))
                begun = int(await channel.unary_unary("/test/count")(b""))
        finally:
            process.kill()
    print(f"{calls} calls, {' '.join(arguments)}: {dict(seen)}; the handler began {begun} times", flush=True)
    return seen, begun


async def main():
    print("grpcio", grpc.__version__)
    few, _ = await burst(900, "default", "0")
    many, begun = await burst(2_000, "default", "0")
    more, _ = await burst(4_000, "default", "0")
    raised, _ = await burst(4_000, "raised", "0")
    limited, _ = await burst(4_000, "default", "100")
    return (
        set(few) == {"OK"}
        and set(many) == set(more) == {"OK", "CANCELLED"}
        and begun == many["OK"]
        and more["CANCELLED"] > 900
        and set(raised) == {"OK"}
        and limited["CANCELLED"] > 900
        and limited["RESOURCE_EXHAUSTED"] > 0
    )


if len(sys.argv) > 1:
    asyncio.run(serve(RAISED if sys.argv[1] == "raised" else (), int(sys.argv[2]) or None))
elif not asyncio.run(main()):
    raise SystemExit("this changed")
PY
"$work/venv/bin/python" --version
"$work/venv/bin/python" "$work/seen.py"
