"""What a connection without a session may cost."""

from __future__ import annotations

import asyncio

import pytest

from services.access.transport.listening import EARLY_BYTES_MAX
from tests.support.cluster.access_nodes import AccessCluster, eventually
from tests.support.device.raw import Transport, masked, masked_header, raw
from tidings_protocol.client_pb2 import ClientFrame, Content, Hello, Member, Ping, Send

each_transport = pytest.mark.parametrize("transport", ["ws", "tcp"])


def hello(cluster: AccessCluster, user: str = "ann", **fields: object) -> ClientFrame:
    return ClientFrame(id=1, hello=Hello(token=cluster.token(user), device="d", **fields))  # type: ignore[arg-type]


@each_transport
async def test_a_frame_over_32_kib_before_the_welcome_is_refused_by_its_header(
    cluster: AccessCluster, transport: Transport
) -> None:
    async with raw(cluster.nodes["access-0"].address, transport) as wire:
        await wire.upgrade()
        wire.send(wire.announce(EARLY_BYTES_MAX + 1))
        goodbye = await wire.goodbye()
        assert goodbye.code == 4504
        assert str(EARLY_BYTES_MAX) in goodbye.message


@each_transport
async def test_it_is_refused_also_behind_a_hello_that_is_still_checked(
    cluster: AccessCluster, transport: Transport
) -> None:
    cluster.logic.gate.clear()
    async with raw(cluster.nodes["access-0"].address, transport) as wire:
        await wire.upgrade()
        wire.send_frame(hello(cluster))
        wire.send(wire.announce(EARLY_BYTES_MAX + 1))
        assert (await wire.goodbye()).code == 4504
    cluster.logic.gate.set()


async def test_fragments_count_together(cluster: AccessCluster) -> None:
    async with raw(cluster.nodes["access-0"].address) as wire:
        await wire.upgrade()
        wire.send(masked(0x02, bytes(EARLY_BYTES_MAX)) + masked(0x00, b"xx"))
        assert (await wire.goodbye()).code == 4504


@each_transport
async def test_a_hello_of_32_kib_is_taken_and_larger_frames_after_the_welcome(
    cluster: AccessCluster, transport: Transport
) -> None:
    said = hello(cluster)
    said.hello.group_cursors.update({f"g:{number:022}": number for number in range(800)})
    assert 24_000 < said.ByteSize() <= EARLY_BYTES_MAX
    async with raw(cluster.nodes["access-0"].address, transport) as wire:
        await wire.upgrade()
        wire.send_frame(said)
        assert (await wire.frame()).WhichOneof("body") == "welcome"
        for _ in said.hello.group_cursors:
            assert (await wire.frame()).group_info.role == Member.ROLE_UNSPECIFIED  # a member of none of them
        content = Content(data=bytes(32_000), headers={"x": "y" * 2000})
        large = ClientFrame(id=2, send=Send(client_id="c", user="bob", content=content))
        assert large.ByteSize() > EARLY_BYTES_MAX
        wire.send_frame(large)
        assert (await wire.frame()).sent.seq == 1


@each_transport
async def test_what_is_pipelined_behind_a_hello_stops_at_32_kib(cluster: AccessCluster, transport: Transport) -> None:
    node = cluster.nodes["access-0"]
    cluster.logic.gate.clear()
    async with raw(node.address, transport) as wire:
        await wire.upgrade()
        wire.send_frame(hello(cluster))
        frame = ClientFrame(send=Send(client_id="c", user="bob", content=Content(text="x" * 1000)))
        for number in range(200):
            frame.id = 2 + number
            frame.send.client_id = str(number)
            wire.send_frame(frame)
        await eventually(lambda: node.state["held_frames"] >= EARLY_BYTES_MAX // 1100)
        await asyncio.sleep(0.2)
        assert node.state["held_frames"] <= (EARLY_BYTES_MAX + 16_384) // 1000
        cluster.logic.gate.set()
        assert (await wire.frame()).WhichOneof("body") == "welcome"
        assert [(await wire.frame()).sent.seq for _ in range(200)] == list(range(1, 201))


@each_transport
async def test_all_of_them_together_hold_so_much_and_the_next_is_told_to_come_later(
    empty: AccessCluster, transport: Transport
) -> None:
    node = await empty.start("access-0", handshake_bytes_max=1_048_576)
    async with asyncio.TaskGroup() as group:
        done = asyncio.Event()

        async def half_a_frame(began: asyncio.Event) -> None:
            async with raw(node.address, transport) as wire:
                await wire.upgrade()
                wire.send(wire.announce(EARLY_BYTES_MAX) + bytes(EARLY_BYTES_MAX - 1000))
                began.set()
                await done.wait()

        began = [asyncio.Event() for _ in range(33)]
        for each in began:
            group.create_task(half_a_frame(each))
        for each in began:
            await each.wait()
        await asyncio.sleep(0.2)
        async with raw(node.address, transport) as wire:
            await wire.upgrade()
            wire.send(wire.announce(20_000) + bytes(19_000))
            goodbye = await wire.goodbye()
            assert (goodbye.code, goodbye.retry_after_ms) == (4003, 1000)
        done.set()
    async with raw(node.address, transport) as wire:  # those are gone, and what they held
        await wire.upgrade()
        wire.send_frame(hello(empty))
        assert (await wire.frame()).WhichOneof("body") == "welcome"


@each_transport
async def test_a_session_lives_on_through_many_frames_after_its_welcome(
    cluster: AccessCluster, transport: Transport
) -> None:
    async with raw(cluster.nodes["access-0"].address, transport) as wire:
        await wire.upgrade()
        wire.send_frame(hello(cluster))
        assert (await wire.frame()).WhichOneof("body") == "welcome"
        data = b"".join(wire.wrap(ClientFrame(id=n, ping=Ping()).SerializeToString()) for n in range(2, 52))
        for start in range(0, len(data), 7):
            wire.send(data[start : start + 7])
        assert [(await wire.frame()).id for _ in range(50)] == list(range(2, 52))


# ---- the end of a WebSocket


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
async def test_a_code_that_no_close_frame_may_have_is_answered_with_1002(cluster: AccessCluster, code: int) -> None:
    async with raw(cluster.nodes["access-0"].address) as wire:
        await wire.upgrade()
        wire.send(masked(0x88, code.to_bytes(2, "big")))
        answer = await wire.rest()
        assert answer[:1] == b"\x88"
        assert int.from_bytes(answer[2:4], "big") == 1002


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 1014, 3000, 4000, 4999])
async def test_a_code_that_may_be_is_answered_with_itself(cluster: AccessCluster, code: int) -> None:
    async with raw(cluster.nodes["access-0"].address) as wire:
        await wire.upgrade()
        wire.send(masked(0x88, code.to_bytes(2, "big")))
        assert await wire.rest() == b"\x88\x02" + code.to_bytes(2, "big")


async def test_a_close_frame_without_a_code_is_answered_with_1000(cluster: AccessCluster) -> None:
    async with raw(cluster.nodes["access-0"].address) as wire:
        await wire.upgrade()
        wire.send(masked(0x88, b""))
        assert await wire.rest() == b"\x88\x02\x03\xe8"


@pytest.mark.parametrize("code", [1000, 1006])
async def test_what_comes_behind_a_close_frame_in_one_segment_is_not_acted_upon(
    cluster: AccessCluster, code: int
) -> None:
    async with raw(cluster.nodes["access-0"].address) as wire:
        await wire.upgrade()
        wire.send_frame(hello(cluster))
        assert (await wire.frame()).WhichOneof("body") == "welcome"
        send = ClientFrame(id=2, send=Send(client_id="late", user="bob", content=Content(text="x")))
        wire.send(masked(0x88, code.to_bytes(2, "big")) + wire.wrap(send.SerializeToString()))
        await wire.rest()
    await eventually(lambda: not cluster.nodes["access-0"].state["connections"])
    assert not cluster.logic.sent


def test_a_header_is_as_long_as_it_says() -> None:
    assert [len(masked_header(0x82, size)) for size in (1, 126, 65536)] == [6, 8, 14]
