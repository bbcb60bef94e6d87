"""The links between the processes of a stack: small TCP proxies that can be cut, cut one way, or slowed, and mended.

Every proxy stands before one process (a node's gRPC port, or a backend). Who is calling is found by the caller's
socket in /proc, so that one link can be cut and another to the same process left as it is.

Guarantees: a cut link is silent, as a network is that loses everything: nothing passes, nothing is refused, no end of
a connection is told. What was under way when it was cut passes when it is mended, in order.
Does not know: what the bytes mean.
"""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

PIECE_BYTES = 65_536
TCP_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))  # gRPC calls IPv4 by IPv6 sockets

Way = Literal["both", "there", "back"]
Pids = Callable[[], Awaitable[Mapping[str, int]]]


@dataclass(frozen=True, slots=True)
class Harm:
    """What is wrong with the links that match; names may have `*`.

    `way`: "there" harms what the caller sends, "back" what it is answered. `delay_s` 0: nothing passes at all.
    """

    caller: str
    callee: str
    way: Way = "both"
    delay_s: float = 0.0

    def touches(self, caller: str, callee: str, way: Way) -> bool:
        ways = self.way in ("both", way)
        return ways and fnmatch.fnmatch(caller, self.caller) and fnmatch.fnmatch(callee, self.callee)


class Links:
    """`pids` tells the processes by name: those whose calls are told apart."""

    def __init__(self, pids: Pids) -> None:
        self._pids = pids
        self.harmed = 0  # pieces and connections that met a harm, so that a case can see that it did something
        self._harms: tuple[Harm, ...] = ()
        self._changed = asyncio.Condition()
        self._servers: list[asyncio.Server] = []
        self._group = asyncio.TaskGroup()
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.close()
        for connection in self._connections:
            connection.cancel()
        await self._group.__aexit__(None, None, None)

    async def add(self, callee: str, listen: str, target: str) -> None:
        """Lets `listen` lead to `target`, the address of `callee`, from now on."""

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = self._group.create_task(self._carry(callee, target, reader, writer), name=f"to {callee}")
            self._connections.add(connection)
            connection.add_done_callback(self._connections.discard)

        host, port = _split(listen)
        self._servers.append(await asyncio.start_server(accept, host, port, limit=PIECE_BYTES))

    async def harm(self, *harms: Harm) -> None:
        """Besides what is wrong already."""
        await self._set((*self._harms, *harms))

    async def mend(self) -> None:
        """All is well again."""
        await self._set(())

    async def _set(self, harms: tuple[Harm, ...]) -> None:
        async with self._changed:
            self._harms = harms
            self._changed.notify_all()

    async def _carry(
        self, callee: str, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        onward: asyncio.StreamWriter | None = None
        try:
            caller = await self._caller(writer)
            await self._pass(caller, callee, "there")
            answers, onward = await asyncio.open_connection(*_split(target), limit=PIECE_BYTES)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(caller, callee, "there", reader, onward))
                group.create_task(self._pump(caller, callee, "back", answers, writer))
        except* OSError:
            pass  # one side is gone: so is the other
        finally:
            for end in (writer, onward):
                if end is not None:
                    end.transport.abort()

    async def _pump(
        self, caller: str, callee: str, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            piece = await reader.read(PIECE_BYTES)
            await self._pass(caller, callee, way)
            if not piece:
                break
            writer.write(piece)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()

    async def _pass(self, caller: str, callee: str, way: Way) -> None:
        """Waits as long as the link makes wait."""
        while True:
            harms = [harm for harm in self._harms if harm.touches(caller, callee, way)]
            if not harms:
                return
            self.harmed += 1
            if all(harm.delay_s for harm in harms):
                await asyncio.sleep(sum(harm.delay_s for harm in harms))
                return
            async with self._changed:
                await self._changed.wait()

    async def _caller(self, writer: asyncio.StreamWriter) -> str:
        here, there = writer.get_extra_info("sockname")[1], writer.get_extra_info("peername")[1]
        pids = await self._pids()
        return await asyncio.to_thread(_owner, there, here, pids)


def _owner(local: int, remote: int, pids: Mapping[str, int]) -> str:
    """The name of the process whose connection goes from port `local` to port `remote`; "" if it is none of these."""
    inode = _inode(local, remote)
    wanted = f"socket:[{inode}]"
    for name, pid in pids.items():
        with suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    if str(descriptor.readlink()) == wanted:
                        return name
    return ""


def _inode(local: int, remote: int) -> str:
    for table in TCP_TABLES:
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            fields = line.split()
            if int(fields[1].split(":")[1], 16) == local and int(fields[2].split(":")[1], 16) == remote:
                return fields[9]
    return ""


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)
