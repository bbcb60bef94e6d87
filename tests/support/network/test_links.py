"""Links: what is sent arrives, a cut is silent, one way is one way, and all comes when it is mended."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping

import pytest

from tests.support.network.links import Harm, Links
from tests.support.network.ports import free_address

pytestmark = pytest.mark.integration
SILENCE_S = 0.2


async def pids() -> Mapping[str, int]:
    return {"logic-0": os.getpid(), "init": 1}


class Ends:
    """A caller, and an echo behind the link that counts what it got."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.got = b""

    async def echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1024):
            self.got += piece
            writer.write(piece)
        writer.close()

    async def call(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = self.address.rpartition(":")
        return await asyncio.open_connection(host, int(port))


@pytest.fixture
async def links() -> AsyncIterator[Links]:
    async with Links(pids) as links:
        yield links


@pytest.fixture
async def ends(links: Links) -> AsyncIterator[Ends]:
    ends = Ends(free_address())
    server = await asyncio.start_server(ends.echo, "127.0.0.1", 0)
    target = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await links.add("storage-0", ends.address, target)
    yield ends
    server.close()


async def answer(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(5):
        return await reader.read(1024)


async def is_silent(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(SILENCE_S):
            await reader.read(1024)
    except TimeoutError:
        return True
    return False


async def test_an_unharmed_link_carries_both_ways_and_the_end(ends: Ends) -> None:
    reader, writer = await ends.call()
    writer.write(b"hello")
    assert await answer(reader) == b"hello"
    writer.write_eof()
    assert await answer(reader) == b""
    writer.close()


async def test_a_cut_link_is_silent_and_carries_all_when_it_is_mended(ends: Ends, links: Links) -> None:
    reader, writer = await ends.call()
    writer.write(b"one")
    assert await answer(reader) == b"one"
    await links.harm(Harm("logic-*", "storage-0"))
    writer.write(b"two")
    assert await is_silent(reader)
    assert ends.got == b"one"
    await links.mend()
    assert await answer(reader) == b"two"
    writer.close()


async def test_a_new_connection_over_a_cut_link_waits_too(ends: Ends, links: Links) -> None:
    await links.harm(Harm("*", "storage-0"))
    reader, writer = await ends.call()
    writer.write(b"hello")
    assert await is_silent(reader)
    await links.mend()
    assert await answer(reader) == b"hello"
    writer.close()


async def test_a_link_that_is_cut_back_does_the_work_and_loses_the_answer(ends: Ends, links: Links) -> None:
    reader, writer = await ends.call()
    await links.harm(Harm("logic-0", "storage-0", "back"))
    writer.write(b"do it")
    assert await is_silent(reader)
    assert ends.got == b"do it"
    await links.mend()
    assert await answer(reader) == b"do it"
    writer.close()


async def test_the_links_of_other_callers_and_to_others_are_left_alone(ends: Ends, links: Links) -> None:
    await links.harm(Harm("init", "storage-0"), Harm("logic-0", "storage-1"))
    reader, writer = await ends.call()
    writer.write(b"hello")
    assert await answer(reader) == b"hello"
    writer.close()


async def test_a_slow_link_delays_what_it_carries(ends: Ends, links: Links) -> None:
    reader, writer = await ends.call()
    await links.harm(Harm("*", "*", delay_s=0.1))
    began = asyncio.get_running_loop().time()
    writer.write(b"hello")
    assert await answer(reader) == b"hello"
    assert asyncio.get_running_loop().time() - began >= 0.2
    writer.close()


async def test_a_caller_with_an_ipv6_socket_is_known_too(ends: Ends, links: Links) -> None:
    """gRPC's are such, also for IPv4."""
    await links.harm(Harm("logic-0", "storage-0"))
    host, _, port = ends.address.rpartition(":")
    caller = socket.socket(socket.AF_INET6)
    caller.setblocking(False)
    await asyncio.get_running_loop().sock_connect(caller, (f"::ffff:{host}", int(port)))
    reader, writer = await asyncio.open_connection(sock=caller)
    writer.write(b"hello")
    assert await is_silent(reader)
    await links.mend()
    assert await answer(reader) == b"hello"
    writer.close()


async def test_where_nobody_listens_the_caller_is_told(links: Links) -> None:
    ends = Ends(free_address())
    await links.add("storage-1", ends.address, free_address())
    reader, writer = await ends.call()
    try:
        told = await answer(reader)
    except ConnectionError:
        told = b""
    assert told == b""
    writer.close()
