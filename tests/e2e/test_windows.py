"""What is over after some time: edits, recalls, silent streams; on a cluster where that is soon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.conftest import started
from tests.e2e.talk import People, act, change, created, edit, live, page, recall, refusal, say, shown
from tests.support.device.pipes import WAYS, Way
from tidings_protocol.client_pb2 import Change, GroupRequest, Member, Message, StreamPart
from tidings_protocol.ids import direct

pytestmark = pytest.mark.e2e
Name = Callable[[str], str]
SETTINGS = {
    "TIDINGS_EDIT_WINDOW_S": "2",
    "TIDINGS_RECALL_WINDOW_S": "3",
    "TIDINGS_STREAM_IDLE_S": "2",
}


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """2 access, 1 logic, 1 storage, whose windows are short."""
    yield from started(tmp_path_factory.mktemp("hasty"), SETTINGS)


@pytest.mark.parametrize("way", WAYS)
async def test_windows_end_for_senders_but_not_for_owner_and_admins(hasty: Cluster, name: Name, way: Way) -> None:
    async with People(hasty, name, way) as people:
        async with hasty.session(name("zoe"), way) as (_, welcome):
            assert (welcome.limits.edit_window_s, welcome.limits.recall_window_s) == (2, 3)
        ann, adam, bob = await people.come("ann", "adam", "bob")
        group = await created(ann, [name("adam"), name("bob")])
        await act(ann, set_role=GroupRequest.SetRole(conversation=group, user=name("adam"), role=Member.ADMIN))
        one, two = (await say(bob, group, "one")).seq, (await say(bob, group, "two")).seq
        chat = direct(name("ann"), name("bob"))
        await say(bob, chat, "hi")
        await edit(bob, chat, 1, "hello")
        await asyncio.sleep(2.1)
        assert await refusal(edit(bob, chat, 1, "too late")) == "FORBIDDEN"
        assert await refusal(edit(bob, group, one, "too late")) == "FORBIDDEN"
        assert await refusal(recall(bob, group, two)) == ""
        await asyncio.sleep(1)
        assert await refusal(recall(bob, chat, 1)) == "FORBIDDEN"
        assert await refusal(recall(bob, group, one)) == "FORBIDDEN"
        assert await refusal(change(bob, chat, 1, pin=True)) == ""
        assert await refusal(change(bob, chat, 1, react="+")) == ""
        assert await refusal(recall(adam, group, one)) == ""
        own = (await say(ann, group, "the owner's")).seq
        await asyncio.sleep(3.1)
        assert await refusal(edit(ann, group, own, "too late")) == "FORBIDDEN"
        assert await refusal(recall(ann, group, own)) == ""


@pytest.mark.parametrize("way", WAYS)
async def test_a_stream_that_fell_silent_is_finished_with_what_it_has(hasty: Cluster, name: Name, way: Way) -> None:
    async with People(hasty, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "Once ", streaming=True)
        await ann.post(stream_part=StreamPart(conversation=chat, seq=1, part=1, text="upon"))
        assert (await bob.push("stream_part")).stream_part.text == "upon"
        told = await live(bob, chat, 2)
        assert (told.kind, told.change.WhichOneof("act"), told.sender) == (Message.CHANGE, "finish", name("ann"))
        assert (told.change.finish.text, told.state.streaming, told.client_id) == ("Once upon", False, "")
        assert (await live(ann, chat, 2)).change.finish.text == "Once upon", "its sender hears of it too"
        message = await shown(bob, chat, 1)
        assert (message.content.text, message.state.streaming, message.state.parts) == ("Once upon", False, 1)
        late = await ann.post(stream_part=StreamPart(conversation=chat, seq=1, part=2, text=" a time"))
        assert await refusal(ann.reply(late)) in {"BAD_REQUEST", "FORBIDDEN"}
        finish = Change.Finish(text="Once upon a time")
        assert await refusal(change(ann, chat, 1, finish=finish)) in {"BAD_REQUEST", "FORBIDDEN"}
        assert (await page(bob, chat)).head == 2


async def test_a_stream_that_says_something_now_and_then_goes_on(hasty: Cluster, name: Name) -> None:
    async with People(hasty, name, "proto") as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "", streaming=True)
        for number in range(1, 5):
            await asyncio.sleep(1)
            await ann.post(stream_part=StreamPart(conversation=chat, seq=1, part=number, text=str(number)))
        assert (await shown(bob, chat, 1)).state.streaming
        await change(ann, chat, 1, finish=Change.Finish(parts=4))
        assert (await shown(bob, chat, 1)).content.text == "1234"
