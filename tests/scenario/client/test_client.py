"""The client library against a scripted access node on real sockets."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.cluster.fake_access import FakeAccess, busy
from tests.support.cluster.model_server import ModelServer, Session
from tidings import (
    BadRequest,
    Busy,
    Client,
    ClientClosed,
    Event,
    Forbidden,
    Kicked,
    LinkState,
    MemoryState,
    Message,
    MessageState,
    NoAnswer,
    NotConnected,
    NotFound,
    Presence,
    Progress,
    Receipt,
    Replaced,
    Restarted,
    Signal,
    TokenRefused,
    TooLarge,
)
from tidings.model import Link
from tidings_protocol import client_pb2 as pb
from tidings_protocol.close import reason_of
from tidings_protocol.ids import BROADCAST

PATIENCE_S = 10.0


async def _take(client: Client, count: int) -> list[Message]:
    taken: list[Message] = []
    async with asyncio.timeout(PATIENCE_S):
        async for message in client.messages():
            taken.append(message)
            if len(taken) == count:
                break
    return taken


async def _until(client: Client, fits: Callable[[Event], bool]) -> Event:
    """The first event that fits."""
    async with asyncio.timeout(PATIENCE_S):
        async for event in client.events():
            if fits(event):
                return event
    raise AssertionError("the events ended")


def _token(user: str, server: ModelServer, ttl_s: float) -> str:
    """A JWT with a signature that nobody checks, which ends that long after what the server's clock shows."""
    claims = json.dumps({"sub": user, "exp": server.time_ms / 1000 + ttl_s})
    return f"e30.{base64.urlsafe_b64encode(claims.encode()).decode().rstrip('=')}.x"


def _texts(messages: list[Message]) -> list[str]:
    return [message.text for message in messages]


@pytest.mark.parametrize("way", ["ws proto", "ws json", "tcp"])
async def test_two_people_talk(access: FakeAccess, way: str) -> None:
    url = f"tcp://{access.tcp}" if way == "tcp" else access.ws
    codec = "json" if way == "ws json" else "proto"
    async with Client(url, token="ann", codec=codec) as ann, Client(url, token="bob", codec=codec) as bob:
        sent = await ann.send("bob", "hi", headers={"k": "v"})
        (message,) = await _take(bob, 1)
        assert (sent.conversation, sent.seq) == ("d:ann|bob", 1)
        assert (message.id, message.sender, message.text) == (sent.message_id, "ann", "hi")
        assert message.headers == {"k": "v"}

        await bob.send(message.conversation, data=b"\x00\x01", mime="image/png", reply_to=1)
        (answer,) = await _take(ann, 1)
        assert (answer.data, answer.mime, answer.reply_to, answer.seq) == (b"\x00\x01", "image/png", 1, 2)


async def test_a_message_goes_through_its_states(access: FakeAccess) -> None:
    async with Client(access.ws, token="ann") as ann, Client(access.ws, token="bob") as bob:
        outgoing = ann.post("bob", "hi")
        sent = await outgoing.sent()
        assert str(outgoing.state) == "sent"
        (message,) = await _take(bob, 1)
        await bob.read(message.conversation, message.seq)

        states: list[MessageState] = []

        def is_read(event: Event) -> bool:
            if isinstance(event, Progress):
                assert event.client_id == sent.client_id
                states.append(event.state)
            return bool(states) and states[-1] is MessageState.READ

        await _until(ann, is_read)
        assert states == [MessageState.SENDING, MessageState.SENT, MessageState.DELIVERED, MessageState.READ]


async def test_what_came_while_the_connection_was_broken_is_shown_once(access: FakeAccess, server: ModelServer) -> None:
    async with Client(access.ws, token="bob") as bob:
        server.text("ann", "d:ann|bob", "one")
        assert _texts(await _take(bob, 1)) == ["one"]
        access.cut()
        server.text("ann", "d:ann|bob", "two")
        server.text("ann", "d:ann|bob", "three")
        assert _texts(await _take(bob, 2)) == ["two", "three"]
        assert access.hellos[-1].cursor == 1
        assert access.hellos[-1].epoch == server.epoch


async def test_a_lost_push_is_fetched_when_the_next_one_shows_the_gap(access: FakeAccess, server: ModelServer) -> None:
    async with Client(access.ws, token="bob") as bob:
        access.lose = lambda frame: frame.HasField("deliver")
        server.text("ann", "d:ann|bob", "one")
        access.lose = lambda _frame: False
        server.text("ann", "d:ann|bob", "two")
        assert _texts(await _take(bob, 2)) == ["one", "two"]


async def test_a_send_is_tried_again_with_the_same_client_id_until_it_is_stored(
    access: FakeAccess, server: ModelServer
) -> None:
    tries: list[str] = []

    def refuse(_session: object, frame: pb.ClientFrame) -> pb.ServerFrame | None:
        if not frame.HasField("send"):
            return None
        tries.append(frame.send.client_id)
        if len(tries) == 1:
            return pb.ServerFrame(error=pb.Error(code="UNAVAILABLE", message="later", retry_after_ms=10))
        if len(tries) == 2:
            access.cut()
            return pb.ServerFrame()
        return None

    server.refuse = refuse
    async with Client(access.ws, token="ann") as ann:
        sent = await ann.send("bob", "hi")
    assert len(set(tries)) == 1
    assert len(tries) >= 3
    assert sent.seq == 1
    assert len(server.rooms["d:ann|bob"].messages) == 1


async def test_a_send_whose_answer_was_lost_is_settled_by_what_the_inbox_shows(
    access: FakeAccess, server: ModelServer
) -> None:
    async with Client(access.ws, token="ann") as ann:

        def store_and_die(session: object, frame: pb.ClientFrame) -> pb.ServerFrame | None:
            if frame.HasField("send"):
                server.post("ann", "d:ann|bob", frame.send.content, frame.send.client_id)
                server.refuse = lambda _session, again: pb.ServerFrame() if again.HasField("send") else None
                access.cut()
            return None

        server.refuse = store_and_die
        outgoing = ann.post("bob", "hi")
        sent = await outgoing.sent()
        assert (sent.seq, sent.client_id) == (1, outgoing.client_id)
        server.text("bob", "d:ann|bob", "answer")
        assert _texts(await _take(ann, 1)) == ["answer"]


async def test_a_refusal_is_raised_with_the_servers_sentence(access: FakeAccess, server: ModelServer) -> None:
    server.group("g:others", ["ann"])
    async with Client(access.ws, token="bob") as bob:
        with pytest.raises(Forbidden, match="you are not a member"):
            await bob.send("g:others", "let me in")
        with pytest.raises(NotFound):
            await bob.group("g:nowhere")
        with pytest.raises(BadRequest, match="user id"):
            await bob.send("not a user", "hi")
        with pytest.raises(BadRequest, match="empty"):
            await bob.send("ann", "")
        with pytest.raises(TooLarge):
            await bob.send("ann", "x" * 40_000)
        assert len(access.lines) == 1


async def test_a_send_that_gets_no_answer_is_given_up_in_time(access: FakeAccess, server: ModelServer) -> None:
    server.refuse = lambda _session, frame: (
        pb.ServerFrame(error=pb.Error(code="UNAVAILABLE", message="later", retry_after_ms=10))
        if frame.HasField("send")
        else None
    )
    async with Client(access.ws, token="ann") as ann:
        with pytest.raises(NoAnswer, match=r"\(later\).*may have been stored: send it again with the same client_id"):
            await ann.send("bob", "hi", timeout_s=0.2)


async def test_an_outbox_that_is_full_says_so(access: FakeAccess, server: ModelServer) -> None:
    async with Client(access.ws, token="ann", outbox_max=3) as ann:
        posted = [ann.post("bob", f"{number}") for number in range(3)]
        with pytest.raises(Busy):
            ann.post("bob", "one too many")
        assert [(await outgoing.sent()).seq for outgoing in posted] == [1, 2, 3]


async def test_what_was_posted_is_sent_before_the_client_leaves(access: FakeAccess, server: ModelServer) -> None:
    async with Client(access.ws, token="ann") as ann:
        for number in range(20):
            ann.post("bob", f"{number}")
    assert len(server.rooms["d:ann|bob"].messages) == 20


async def test_what_was_posted_is_sent_though_the_connection_broke_as_the_client_left(
    access: FakeAccess, server: ModelServer
) -> None:
    async with Client(access.ws, token="ann") as ann:
        access.cut()
        await _until(ann, lambda event: isinstance(event, Link) and event.state is LinkState.WAITING)
        assert not ann.online
        ann.post("bob", "good bye")
    assert [message.content.text for message in server.rooms["d:ann|bob"].messages] == ["good bye"]


async def test_many_sends_at_once_keep_their_order(access: FakeAccess, server: ModelServer) -> None:
    async with (
        Client(access.ws, token="ann", outbox_max=5) as ann,
        asyncio.timeout(PATIENCE_S),
        asyncio.TaskGroup() as tasks,
    ):
        for number in range(50):
            tasks.create_task(ann.send("bob", f"{number}"))
    assert [message.content.text for message in server.rooms["d:ann|bob"].messages] == [str(n) for n in range(50)]


async def test_an_application_that_does_not_read_loses_nothing(access: FakeAccess, server: ModelServer) -> None:
    async with Client(access.ws, token="bob", inbox_max=10) as bob:
        for number in range(300):
            server.text("ann", "d:ann|bob", f"{number}")
        await bob.send("ann", "I am busy")  # answers still come while messages wait
        assert _texts(await _take(bob, 300)) == [str(number) for number in range(300)]


async def test_a_client_follows_the_address_it_is_given(server: ModelServer) -> None:
    async with FakeAccess(server, "access-0") as first, FakeAccess(server, "access-1") as second:
        first.on_hello = lambda _hello: reason_of(4001).goodbye(address=second.ws)
        async with Client(first.ws, token="ann") as ann:
            assert ann.welcome.node == "access-1"
            second.goodbye(4001, address=first.ws)
            first.on_hello = lambda _hello: None
            await _until(ann, lambda event: isinstance(event, Link) and event.node == "access-0")


async def test_a_client_follows_a_tcp_address(server: ModelServer) -> None:
    async with FakeAccess(server, "access-0") as first, FakeAccess(server, "access-1") as second:
        first.on_hello = lambda _hello: reason_of(4001).goodbye(address=second.tcp)
        async with Client(f"tcp://{first.tcp}", token="ann") as ann:
            assert ann.welcome.node == "access-1"


async def test_a_node_that_cannot_be_reached_is_avoided(server: ModelServer) -> None:
    async with FakeAccess(server, "access-0") as first, FakeAccess(server, "access-1") as second:
        dead = second.ws
        await second.stop()
        first.on_hello = lambda hello: None if dead in hello.avoid else reason_of(4001).goodbye(address=dead)
        async with Client(first.ws, token="ann") as ann:
            assert ann.welcome.node == "access-0"


async def test_when_a_node_dies_the_next_address_is_tried_at_once(server: ModelServer) -> None:
    async with (
        FakeAccess(server, "access-0") as first,
        FakeAccess(server, "access-1") as second,
        Client([first.ws, second.ws], token="bob") as bob,
    ):
        await first.stop()
        server.text("ann", "d:ann|bob", "still there?")
        assert _texts(await _take(bob, 1)) == ["still there?"]
        assert bob.welcome.node == "access-1"


async def test_a_server_that_is_too_busy_is_tried_again_later(access: FakeAccess) -> None:
    access.refuse_http = [busy(0), busy(0)]
    async with Client(access.ws, token="ann") as ann:
        assert ann.online


async def test_nobody_there_is_told_in_time() -> None:
    with pytest.raises(NotConnected, match="cannot be reached"):
        async with Client("ws://127.0.0.1:1", token="ann", connect_timeout_s=0.3):
            raise AssertionError("unreachable")


@pytest.mark.parametrize(
    ("code", "error"), [(4501, Replaced), (4502, Kicked), (4500, TokenRefused), (4506, TokenRefused)]
)
async def test_a_session_that_is_ended_for_good_is_raised_to_the_reader(
    access: FakeAccess, code: int, error: type[Exception]
) -> None:
    async with Client(access.ws, token="ann") as ann:
        access.goodbye(code)
        with pytest.raises(error):
            await _take(ann, 1)
        with pytest.raises(error):
            await ann.send("bob", "hi")


async def test_a_refused_token_is_raised_at_once(access: FakeAccess) -> None:
    access.on_hello = lambda _hello: reason_of(4500).goodbye("the token is not valid")
    with pytest.raises(TokenRefused, match="not valid"):
        async with Client(access.ws, token="ann"):
            raise AssertionError("unreachable")


async def test_a_token_that_ran_out_is_replaced_by_a_fresh_one(access: FakeAccess, server: ModelServer) -> None:
    given: list[str] = []

    async def token() -> str:
        given.append("ann")
        return "ann"

    async with Client(access.ws, token=token) as ann:
        access.goodbye(4506)
        await _until(ann, lambda event: isinstance(event, Link) and event.state is LinkState.CONNECTING)
        server.text("bob", "d:ann|bob", "hi")
        assert _texts(await _take(ann, 1)) == ["hi"]
    assert len(given) == 2


async def test_a_restarted_client_shows_nothing_twice(access: FakeAccess, server: ModelServer, tmp_path: Path) -> None:
    server.group("g:large", ["ann", "bob"], large=True)
    for life in range(3):
        async with Client(access.ws, token="bob", device="laptop", state=tmp_path / "bob.json") as bob:
            server.text("ann", "d:ann|bob", f"{life} direct")
            server.text("ann", "g:large", f"{life} group")
            expected = 2 if life == 0 else 4
            assert sorted(_texts(await _take(bob, expected))) == sorted(
                f"{one}{kind}"
                for kind in (" direct", " group")
                for one in ([f"{life}"] if life == 0 else [f"{life}", f"{life - 1} late"])
            )
        server.text("ann", "d:ann|bob", f"{life} late direct")
        server.text("ann", "g:large", f"{life} late group")


async def test_another_epoch_begins_anew_and_says_so(access: FakeAccess, server: ModelServer) -> None:
    store = MemoryState()
    async with Client(access.ws, token="bob", device="laptop", state=store) as bob:
        server.text("ann", "d:ann|bob", "old")
        await _take(bob, 1)
    server.epoch = "epoch-2"
    async with Client(access.ws, token="bob", device="laptop", state=store) as bob:
        restarted = await _until(bob, lambda event: isinstance(event, Restarted))
        assert restarted == Restarted("epoch-2", first=False)
        server.text("ann", "d:ann|bob", "new")
        assert _texts(await _take(bob, 1)) == ["new"]


async def test_an_older_login_that_comes_late_is_replaced_and_does_not_try_again(access: FakeAccess) -> None:
    access.on_hello = lambda _hello: reason_of(4501).goodbye("a newer login of this device came first")
    with pytest.raises(Replaced, match="newer login"):
        async with Client(access.ws, token="ann"):
            raise AssertionError("unreachable")
    assert len(access.hellos) == 1


async def test_each_login_of_a_device_is_a_higher_attempt_also_after_a_restart(
    access: FakeAccess, tmp_path: Path
) -> None:
    for _ in range(2):
        async with Client(access.ws, token="bob", device="laptop", state=tmp_path / "bob.json") as bob:
            access.cut()
            await _until(bob, lambda event: isinstance(event, Link) and event.state is LinkState.WAITING)
            await _until(bob, lambda event: isinstance(event, Link) and event.state is LinkState.ONLINE)
    attempts = [hello.attempt for hello in access.hellos]
    assert len(attempts) == 4
    assert attempts == sorted(set(attempts))
    assert {hello.protocol for hello in access.hellos} == {11}


async def test_a_token_that_ends_soon_is_replaced_within_the_session(access: FakeAccess, server: ModelServer) -> None:
    given = [_token("ann", server, 1.0), _token("ann", server, 3600.0)]
    refreshed = asyncio.Event()

    def look(_session: object, frame: pb.ClientFrame) -> None:
        if frame.HasField("refresh"):
            refreshed.set()

    server.refuse = look
    async with asyncio.timeout(PATIENCE_S), Client(access.ws, token=lambda: given.pop(0)) as ann:
        await refreshed.wait()
        assert (await ann.send("bob", "still here")).seq == 1
    assert len(access.hellos) == 1
    assert given == []


async def test_a_new_token_that_is_refused_ends_nothing_and_the_next_login_has_a_fresh_one(
    access: FakeAccess, server: ModelServer
) -> None:
    server.takes_tokens = False
    refused = asyncio.Event()
    server.refuse = lambda _session, frame: refused.set() if frame.HasField("refresh") else None
    given: list[str] = []

    async def token() -> str:
        given.append(_token("ann", server, 1.0 + len(given)))
        return given[-1]

    async with asyncio.timeout(PATIENCE_S), Client(access.ws, token=token) as ann:
        await refused.wait()
        assert (await ann.send("bob", "still here")).seq == 1
        access.goodbye(4506)
        await _until(ann, lambda event: isinstance(event, Link) and event.state is LinkState.CONNECTING)
        assert (await ann.send("bob", "back")).conversation == "d:ann|bob"
    assert [hello.token for hello in access.hellos] == [given[0], given[2]]


async def test_a_group_whose_answer_was_lost_is_made_once(access: FakeAccess, server: ModelServer) -> None:
    async with Client(access.ws, token="ann") as ann:

        def make_and_die(session: Session, frame: pb.ClientFrame) -> pb.ServerFrame | None:
            if not frame.HasField("group"):
                return None
            server.refuse = lambda _session, _frame: None
            server.answer(session, frame)
            access.cut()
            return pb.ServerFrame()

        server.refuse = make_and_die
        group = await ann.create_group("friends", ["bob"])
        assert [name for name in server.rooms if name.startswith("g:")] == [group.id]
        assert (await ann.create_group("friends", ["bob"], client_id="the same")).id != group.id
        again = await ann.create_group("friends", ["bob"], client_id="the same")
        assert len([name for name in server.rooms if name.startswith("g:")]) == 2
        assert again.member_count == 2


async def test_chats_that_move_up_while_the_list_is_read_are_in_it_once(
    access: FakeAccess, server: ModelServer
) -> None:
    server.page_max = 50
    names = [f"d:bob|u{number:03}" for number in range(120)]
    for name in names:
        server.text(name.partition("|")[2], name, "hi")
    pages = 0

    def busy_world(_session: object, frame: pb.ClientFrame) -> None:
        nonlocal pages
        if frame.HasField("conversations"):
            pages += 1
            if pages == 2:
                for name in names[:5]:
                    server.text(name.partition("|")[2], name, "again")

    server.refuse = busy_world
    async with Client(access.ws, token="bob") as bob:
        listed = await bob.conversations()
    assert sorted(one.id for one in listed) == sorted(names)
    assert [one.id for one in listed[:5]] == list(reversed(names[:5]))
    assert {one.last.text for one in listed[:5] if one.last} == {"again"}
    times = [one.last.time_ms for one in listed if one.last]
    assert times == sorted(times, reverse=True)


async def test_a_list_whose_pages_do_not_move_ends(access: FakeAccess, server: ModelServer) -> None:
    server.refuse = lambda _session, frame: (
        pb.ServerFrame(conversation_page=pb.ConversationPage(next="same", more=True))
        if frame.HasField("conversations")
        else None
    )
    async with asyncio.timeout(PATIENCE_S), Client(access.ws, token="bob") as bob:
        assert await bob.conversations() == []


async def test_a_new_device_reads_from_now_on_or_from_the_start(access: FakeAccess, server: ModelServer) -> None:
    server.text("ann", "d:ann|bob", "old")
    async with Client(access.ws, token="bob") as bob, Client(access.ws, token="bob", from_start=True) as all_of_it:
        server.text("ann", "d:ann|bob", "new")
        assert _texts(await _take(bob, 1)) == ["new"]
        assert _texts(await _take(all_of_it, 2)) == ["old", "new"]


async def test_pages_of_history_conversations_members_and_inbox(access: FakeAccess, server: ModelServer) -> None:
    server.page_max = 2
    for number in range(5):
        server.text("ann", "d:ann|bob", f"{number}")
        server.group(f"g:{number}", ["bob", "ann", "cleo"])
    async with Client(access.ws, token="bob") as bob:
        newest = await bob.history("ann")
        assert (_texts(list(newest.messages)), newest.more) == (["3", "4"], True)
        older = await bob.history("ann", before=newest.next)
        assert _texts(list(older.messages)) == ["1", "2"]
        first = await bob.history("ann", after=0)
        assert _texts(list(first.messages)) == ["0", "1"]
        assert len(await bob.conversations()) == 6
        assert [member.user for member in await bob.members("g:1")] == ["ann", "bob", "cleo"]
        page = await bob.inbox(0)
        assert ([number for number, _ in page.entries], page.more) == ([1, 2], True)


async def test_groups_are_made_and_changed(access: FakeAccess, server: ModelServer) -> None:
    async with Client(access.ws, token="ann") as ann, Client(access.ws, token="bob") as bob:
        group = await ann.create_group("friends", ["bob"])
        assert (group.name, group.member_count) == ("friends", 2)
        await ann.send(group.id, "welcome")
        assert _texts(await _take(bob, 1)) == ["welcome"]
        await ann.add(group.id, ["cleo", "dan"])
        await ann.remove(group.id, ["dan"])
        assert (await ann.rename(group.id, "close friends")).name == "close friends"
        await bob.leave(group.id)
        assert sorted(server.rooms[group.id].members) == ["ann", "cleo"]


async def test_signals_and_presence_come_as_events_and_watches_outlive_connections(
    access: FakeAccess, server: ModelServer
) -> None:
    async with Client(access.ws, token="ann") as ann, Client(access.ws, token="bob") as bob:
        assert await bob.presence(["ann", "cleo"], watch=True) == [Presence("ann", True), Presence("cleo", False)]
        await ann.typing("bob")
        signal = await _until(bob, lambda event: isinstance(event, Signal))
        assert signal == Signal("d:ann|bob", "ann", "typing")

        access.cut()
        await _until(bob, lambda event: isinstance(event, Presence) and event.user == "cleo")
        watching = [line.session for line in access.lines if line.session and line.session.user == "bob"]
        assert watching[0].watched == {"ann", "cleo"}


async def test_a_notice_to_everyone_arrives(access: FakeAccess, server: ModelServer) -> None:
    room = server.group(BROADCAST, ["bob"], large=True)
    async with Client(access.ws, token="bob") as bob:
        server.text("tidings", room.id, "maintenance at noon")
        (notice,) = await _take(bob, 1)
        assert (notice.conversation, notice.text) == (BROADCAST, "maintenance at noon")


async def test_receipts_of_others_come_as_events(access: FakeAccess) -> None:
    async with Client(access.ws, token="ann") as ann, Client(access.ws, token="bob") as bob:
        await ann.send("bob", "hi")
        await _take(bob, 1)
        await bob.read("ann", 1)
        receipt = await _until(ann, lambda event: isinstance(event, Receipt) and event.read_seq == 1)
        assert receipt == Receipt("d:ann|bob", "bob", 1, 1)


async def test_a_closed_client_says_that_it_is_closed(access: FakeAccess) -> None:
    client = Client(access.ws, token="ann")
    with pytest.raises(ClientClosed):
        await client.send("bob", "too early")
    async with client:
        pass
    with pytest.raises(ClientClosed):
        await client.send("bob", "too late")
    assert [message async for message in client.messages()] == []


async def test_the_applications_own_error_passes_through_unwrapped(access: FakeAccess) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Client(access.ws, token="ann"):
            raise ZeroDivisionError


async def test_a_call_that_is_cancelled_leaves_nothing_behind(access: FakeAccess, server: ModelServer) -> None:
    server.refuse = lambda _session, frame: (
        pb.ServerFrame(error=pb.Error(code="UNAVAILABLE", message="later", retry_after_ms=100))
        if frame.HasField("send")
        else None
    )
    async with Client(access.ws, token="ann", outbox_max=1) as ann:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await ann.send("bob", "never mind")
        server.refuse = lambda _session, _frame: None
        assert (await ann.send("cleo", "but this")).seq == 1
    assert "d:ann|bob" not in server.rooms
