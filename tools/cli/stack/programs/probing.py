"""The cheap questions on loopback: does something listen there, and what does it answer to a GET."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from urllib.parse import urlsplit

from tools.cli.stack.programs.program import NotReadyError

TIMEOUT_S = 2.0
ANSWER_BYTES_MAX = 65536


async def check_listens(servers: str) -> None:
    """At least one of `host:port,host:port` takes a connection. Raises NotReadyError."""
    for server in servers.split(","):
        host, _, port = server.strip().rpartition(":")
        with suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(TIMEOUT_S):
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            writer.close()
            return
    raise NotReadyError(f"nothing listens at {servers}", silent=True)


async def http_get(url: str, tls: ssl.SSLContext | None = None) -> tuple[int, str]:
    """Status and body of an HTTP answer, over TLS if a context is given. Raises NotReadyError."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if tls else 80)
    request = f"GET {parts.path or '/'} HTTP/1.0\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port, ssl=tls)
            try:
                writer.write(request.encode())
                head = (await reader.readuntil(b"\r\n\r\n")).decode(errors="replace")
                body = await reader.read(ANSWER_BYTES_MAX)
            finally:
                writer.close()
        return int(head.split(maxsplit=2)[1]), body.decode(errors="replace")
    except (OSError, TimeoutError, EOFError, ValueError, IndexError, asyncio.LimitOverrunError) as error:
        raise NotReadyError(f"{url} does not answer ({type(error).__name__})", silent=True) from error
