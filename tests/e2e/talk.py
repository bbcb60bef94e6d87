"""What tests say to the running cluster in a word: a send, a change, a page, and how something is refused.

Guarantees: nothing is tried again; what is refused is raised (Refused), or returned by `refusal`.
Does not know: what the server should have answered.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from tests.e2e.cluster import Cluster
from tests.support.device.pipes import Way
from tests.support.device.wire import Refused, Wire
from tidings_protocol.client_pb2 import (
    Change,
    Content,
    Conversation,
    Entry,
    GroupInfo,
    GroupRequest,
    GroupSettings,
    Hide,
    History,
    ListConversations,
    Message,
    Page,
    Ping,
    Read,
    Send,
    Sent,
    ServerFrame,
    Sync,
)

_numbers = itertools.count(1)


def new_id() -> str:
    """A client id that was not used before."""
    return f"c{next(_numbers)}"


async def say(wire: Wire, conversation: str, text: str = "", *, client_id: str = "", **content: Any) -> Sent:
    if text or content.get("streaming"):
        content["text"] = text
    asked = Send(client_id=client_id or new_id(), conversation=conversation, content=Content(**content))
    return (await wire.request(send=asked)).sent


async def change(wire: Wire, conversation: str, seq: int, *, client_id: str = "", **act: Any) -> Sent:
    asked = Change(client_id=client_id or new_id(), conversation=conversation, seq=seq, **act)
    return (await wire.request(change=asked)).sent


async def edit(wire: Wire, conversation: str, seq: int, text: str, *, client_id: str = "", **content: Any) -> Sent:
    return await change(wire, conversation, seq, client_id=client_id, edit=Content(text=text, **content))


async def recall(wire: Wire, conversation: str, seq: int, *, client_id: str = "") -> Sent:
    return await change(wire, conversation, seq, client_id=client_id, recall=Change.Recall())


async def act(wire: Wire, **request: Any) -> ServerFrame:
    return await wire.request(group=GroupRequest(**request))


async def created(owner: Wire, members: list[str], **fields: Any) -> str:
    create = GroupRequest.Create(name="team", members=members, **fields)
    return (await act(owner, create=create)).group_info.conversation


async def update(wire: Wire, group: str, **settings: Any) -> GroupInfo:
    asked = GroupRequest.Update(conversation=group, settings=GroupSettings(**settings))
    return (await act(wire, update=asked)).group_info


async def mute(wire: Wire, group: str, user: str, until_ms: int = -1) -> None:
    await act(wire, mute=GroupRequest.Mute(conversation=group, users=[user], until_ms=until_ms))


async def group_info(wire: Wire, group: str) -> GroupInfo:
    return (await act(wire, info=GroupRequest.Info(conversation=group))).group_info


async def read(wire: Wire, conversation: str, seq: int) -> None:
    await wire.request(read=Read(conversation=conversation, seq=seq))


async def hide(wire: Wire, conversation: str, *seqs: int, through: int = 0) -> None:
    await wire.request(hide=Hide(conversation=conversation, seqs=seqs, through=through))


async def page(wire: Wire, conversation: str, **fields: Any) -> Page:
    return (await wire.request(history=History(conversation=conversation, **fields))).page


async def shown(wire: Wire, conversation: str, seq: int) -> Message:
    """One message as history shows it."""
    found = (await page(wire, conversation, after=seq - 1, limit=1, changes=True)).entries[0].message
    assert found.seq == seq
    return found


async def synced(wire: Wire, after: int = 0) -> list[Entry]:
    return list((await wire.request(sync=Sync(after=after, limit=500))).page.entries)


async def listed(wire: Wire, conversation: str) -> Conversation:
    found = (await wire.request(conversations=ListConversations(limit=200))).conversation_page.conversations
    return next(each for each in found if each.conversation == conversation)


async def live(wire: Wire, conversation: str, seq: int = 0) -> Message:
    """The next message of this conversation that comes live; with `seq`: of those, the one that has it."""
    while True:
        frame = await wire.push("deliver")
        for entry in frame.deliver.entries:
            if entry.message.conversation == conversation and seq in {0, entry.message.seq}:
                return entry.message


async def still_waiting(wire: Wire) -> list[Message]:
    """All messages that came and that nobody took, once everything before now has come."""
    await wire.request(ping=Ping())
    return [entry.message for frame in wire.pushed("deliver") for entry in frame.deliver.entries]


async def refusal(asked: Awaitable[Any]) -> str:
    """The code with which this is refused; empty: it is not."""
    return (await refused(asked)).code


async def refused(asked: Awaitable[Any]) -> Refused:
    """How this is refused; with an empty code: it is not."""
    try:
        await asked
    except Refused as error:
        return error
    return Refused("", "", 0)


async def until(look: Callable[[], Awaitable[bool]], within_s: float) -> None:
    """Looks again and again, until it is so."""
    deadline = time.monotonic() + within_s
    while not await look():
        assert time.monotonic() < deadline, f"it is not so after {within_s:g} s"


class People(AsyncExitStack):
    """Sessions by people's names, all ended with this."""

    def __init__(self, cluster: Cluster, name: Callable[[str], str], way: Way) -> None:
        super().__init__()
        self._cluster, self._name, self._way = cluster, name, way

    async def come(self, *people: str, device: str = "phone", **fields: Any) -> list[Wire]:
        """A session of each of these people, on their own node."""
        sessions = [self._cluster.session(self._name(each), self._way, device=device, **fields) for each in people]
        return [(await self.enter_async_context(session))[0] for session in sessions]
