"""Changes of messages by clients that are broken, hostile or hasty: each is judged, and nobody else notices.

The real nodes in one process, on twins of the backends, asked over real sockets.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster.access_nodes import whole_cluster
from tests.support.device.pipes import WAYS, Address, Way
from tests.support.device.wire import Refused, Wire, connect
from tidings_protocol.client_pb2 import Change, Content, History, Message, ReactorsRequest, Send, State, StreamPart
from tidings_protocol.ids import direct

CHAT = direct("ann", "bob")
EDITS = 10_000
CONTENT_MAX = 32_768
# How long others may wait for an answer meanwhile. It takes milliseconds; a machine that is busy may need more.
MEANWHILE_S = 5.0

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
LONGEST = FAMILY + "\u200d" + "\U0001f44d" * 9  # 64 bytes that are one cluster to whoever draws them
assert len(LONGEST.encode()) == 64


class Cluster:
    def __init__(self, address: Address, token: Any) -> None:
        self._address, self._token = address, token

    @asynccontextmanager
    async def session(self, user: str, way: Way = "tcp") -> AsyncIterator[Wire]:
        async with connect(self._address, way) as wire:
            await wire.hello(self._token(user), "phone")
            yield wire


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with whole_cluster(tmp_path) as nodes:
        node = await nodes.start("access-0", content_bytes_max=CONTENT_MAX)
        yield Cluster(node.address, nodes.token)


async def said(wire: Wire, to: str, key: str, text: str = "hi", **content: Any) -> int:
    content_ = Content(text=text, **content)
    return (await wire.request(MEANWHILE_S, send=Send(client_id=key, user=to, content=content_))).sent.seq


def change(key: str, seq: int, **act: Any) -> Change:
    return Change(client_id=key, conversation=CHAT, seq=seq, **act)


async def code(wire: Wire, **body: Any) -> str:
    """With which code it is refused; empty: it is not."""
    try:
        await wire.request(**body)
    except Refused as refused:
        return refused.code
    return ""


async def history(wire: Wire, *, changes: bool = False) -> list[Message]:
    found: list[Message] = []
    after, more = 0, True
    while more:
        asked = History(conversation=CHAT, after=after, limit=200, changes=changes)
        page = (await wire.request(history=asked)).page
        found += [entry.message for entry in page.entries]
        after, more = page.next, page.more
    return found


async def state(wire: Wire, seq: int = 1) -> State:
    return next(message.state for message in await history(wire) if message.seq == seq)


async def refused_part(writer: Wire, reader: Wire, part: StreamPart) -> Refused | None:
    """None: the reader has it."""
    frame = await writer.post(stream_part=part)
    taken, refused = asyncio.ensure_future(reader.push("stream_part")), asyncio.ensure_future(writer.reply(frame))
    await asyncio.wait((taken, refused), return_when=asyncio.FIRST_COMPLETED)
    if taken.done():
        assert taken.result().stream_part.part == part.part
        refused.cancel()
        return None
    taken.cancel()
    error = refused.exception()
    assert isinstance(error, Refused)
    return error


class Bystander:
    """Somebody else who sends all the time, and counts how long each send took."""

    def __init__(self) -> None:
        self.took_s: list[float] = []

    async def talk(self, wire: Wire, to: str) -> None:
        while True:
            began = time.monotonic()
            await said(wire, to, f"meanwhile {len(self.took_s)}")
            self.took_s.append(time.monotonic() - began)
            await asyncio.sleep(0.05)


async def test_ten_thousand_edits_of_one_message_are_all_judged_and_others_are_answered_meanwhile(
    cluster: Cluster,
) -> None:
    stranger, partner = Bystander(), Bystander()
    async with cluster.session("ann") as ann, cluster.session("bob") as bob, cluster.session("cid") as cid:
        assert await said(ann, "bob", "0") == 1
        places: dict[int, int] = {}
        codes: set[str] = set()
        async with asyncio.TaskGroup() as group:
            others = [group.create_task(stranger.talk(cid, "dan")), group.create_task(partner.talk(bob, "ann"))]
            left = list(range(EDITS))
            while left:
                asked = {
                    number: await ann.post(change=change(f"e{number}", 1, edit=Content(text=f"edit {number}")))
                    for number in left
                }
                left, waits_ms = [], [1]
                for number, frame in asked.items():
                    try:
                        sent = (await ann.reply(frame, timeout_s=120)).sent
                    except Refused as refused:
                        codes.add(refused.code)
                        left.append(number)
                        waits_ms.append(refused.retry_after_ms)
                    else:
                        assert sent.state.revision == sent.seq or (sent.duplicate and sent.state.revision > sent.seq)
                        places[number] = sent.seq
                assert min(waits_ms) > 0
                await asyncio.sleep(max(waits_ms) / 1000)
            for task in others:
                task.cancel()
        assert "RATE_LIMITED" in codes, "the limit of sends holds for changes too"
        assert codes <= {"RATE_LIMITED", "OVERLOADED"}
        assert len(set(places.values())) == EDITS
        newest = max(places, key=lambda number: places[number])
        log = await history(bob, changes=True)
        assert [message.seq for message in log] == list(range(1, len(log) + 1))
        assert sum(message.kind == Message.CHANGE for message in log) == EDITS, "none was made twice"
        first = log[0]
        assert (first.content.text, first.state.revision) == (f"edit {newest}", places[newest])
        told = [each.seq for each in log if each.kind == Message.CHANGE and each.change.edit.WhichOneof("body")]
        assert told in ([], [places[newest]]), "no other edit has its content any more"
    for bystander in (stranger, partner):
        assert len(bystander.took_s) > 20
        assert max(bystander.took_s) < MEANWHILE_S


@pytest.mark.parametrize("way", WAYS)
async def test_a_reaction_is_whatever_is_short_and_one_form_of_it_is_one_reaction(cluster: Cluster, way: Way) -> None:
    async with cluster.session("ann", way) as ann, cluster.session("bob", way) as bob:
        await said(ann, "bob", "0")
        same = ["\u2764", "\u2764\ufe0f", "\u2764\ufe0f\ufe0f"]
        composed = ["caf\u00e9", "cafe\u0301"]
        for number, reaction in enumerate([*same, *composed, LONGEST, "a word"]):
            assert await code(bob, change=change(f"r{number}", 1, react=reaction)) == ""
        assert await code(ann, change=change("r", 1, react="\u2764")) == ""
        await asyncio.sleep(1.5)  # gathered ones are announced
        found = {each.reaction: (each.count, list(each.users), each.mine) for each in (await state(ann)).reactions}
        assert found == {
            "\u2764": (2, ["bob", "ann"], True),
            "caf\u00e9": (1, ["bob"], False),
            LONGEST: (1, ["bob"], False),
            "a word": (1, ["bob"], False),
        }
        asked = ReactorsRequest(conversation=CHAT, seq=1, reaction=LONGEST)
        assert [each.user for each in (await ann.request(reactors=asked)).reactor_page.reactors] == ["bob"]
        assert await code(bob, change=change("u", 1, unreact=composed[1])) == ""
        await asyncio.sleep(1.5)
        assert "caf\u00e9" not in [each.reaction for each in (await state(ann)).reactions]


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_no_reaction_is_refused_and_leaves_nothing(cluster: Cluster, way: Way) -> None:
    none = ["", "\ufe0f", "\0", "a\nb", "\x7f", "\x85", "\x1b[31m", "x" * 65, LONGEST + "\u200d", "\U0001f44d" * 1000]
    async with cluster.session("ann", way) as ann, cluster.session("bob", way) as bob:
        await said(ann, "bob", "0")
        for act in ("react", "unreact"):
            for number, reaction in enumerate(none):
                refused = await code(bob, change=change(f"{act}{number}", 1, **{act: reaction}))
                assert refused == "BAD_REQUEST", (act, reaction)
        assert await code(bob, change=change("t", 1, reacted=Change.Reacted())) == "BAD_REQUEST"
        assert not (await state(ann)).reactions
        assert await said(bob, "ann", "1") == 2


async def test_a_message_takes_so_many_reactions_and_no_more(cluster: Cluster) -> None:
    async with cluster.session("ann") as ann, cluster.session("bob") as bob:
        await said(ann, "bob", "0")
        codes = [await code(bob, change=change(f"r{number}", 1, react=f"w{number}")) for number in range(6)]
        assert codes == ["", "", "", "", "", "BAD_REQUEST"]
        again = [await code(bob, change=change(f"s{number}", 1, unreact="w0")) for number in range(3)]
        assert again == ["", "", ""]
        hasty = [
            await code(ann, change=change(f"h{number}", 1, **{("react", "unreact")[number % 2]: "+1"}))
            for number in range(50)
        ]
        assert hasty[:40] == [""] * 40, "acts of one user on one message in an hour"
        assert hasty[40:] == ["BAD_REQUEST", ""] * 5, "to take back what is not there is no act"


async def test_a_stream_that_never_ends_is_bounded_and_is_ended_by_who_began_it(cluster: Cluster) -> None:
    """Its text is as long as a message's, its parts come at a pace, and others do not wait for it."""
    piece = "x" * 1000
    bystander = Bystander()
    async with cluster.session("ann") as ann, cluster.session("bob") as bob, cluster.session("cid") as cid:
        seq = await said(ann, "bob", "0", "", streaming=True)
        refused: dict[str, int] = {}
        async with asyncio.TaskGroup() as group:
            talking = group.create_task(bystander.talk(cid, "dan"))
            part = 1
            while refused.get("TOO_LARGE", 0) < 10:
                error = await refused_part(ann, bob, StreamPart(conversation=CHAT, seq=seq, part=part, text=piece))
                if error is None:
                    part += 1
                else:
                    refused[error.code] = refused.get(error.code, 0) + 1
                    await asyncio.sleep(error.retry_after_ms / 1000)
            talking.cancel()
        assert set(refused) <= {"TOO_LARGE", "RATE_LIMITED"}
        [message] = await history(bob)
        assert message.state.streaming
        assert CONTENT_MAX - 1000 <= len(message.content.text) <= CONTENT_MAX
        assert set(message.content.text) == {"x"}
        end = change("end", seq, finish=Change.Finish(parts=message.state.parts))
        assert (await ann.request(change=end)).sent.state.streaming is False
        [message] = await history(bob)
        assert (len(message.content.text) > CONTENT_MAX - 1000, message.state.streaming) == (True, False)
        assert await said(bob, "ann", "1") > 1
    assert bystander.took_s
    assert max(bystander.took_s) < MEANWHILE_S


async def test_more_streams_than_a_conversation_may_have_are_refused_and_the_rest_goes_on(cluster: Cluster) -> None:
    async with cluster.session("ann") as ann, cluster.session("bob") as bob:
        codes = [
            await code(ann, send=Send(client_id=str(number), user="bob", content=Content(streaming=True)))
            for number in range(110)
        ]
        assert codes[:100] == [""] * 100
        assert set(codes[100:]) == {"RATE_LIMITED"}
        assert await code(ann, send=Send(client_id="plain", user="bob", content=Content(text="x"))) == ""
        assert await code(bob, send=Send(client_id="plain", user="ann", content=Content(text="x"))) == ""
        assert await code(ann, change=change("end", 1, finish=Change.Finish(text="done"))) == ""
        more = Send(client_id="more", user="bob", content=Content(streaming=True))
        async with asyncio.timeout(10):
            while await code(ann, send=more):
                await asyncio.sleep(0.2)
