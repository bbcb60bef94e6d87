"""The client: one device of one user, for as long as the `async with` lasts, over any number of connections.

    async with Client("ws://127.0.0.1:8000", token=token) as client:
        await client.send("bob", "hi")
        async for message in client.messages():
            print(message.sender, message.text)

Guarantees:
- `send` returns when the message is durable, and never stores it twice, whatever happens in between.
- `messages` gives each message once, those of one conversation in order, also over reconnections, and with a `state`
  file over restarts.
- A message counts as taken when its reader asks for the next one, or leaves its loop. What the application worked on
  when the process was killed, or when an error left the client, comes again after the restart, and so does what was
  taken in the last half second before a kill: at least once per death of the process.
- An application that reads slowly loses nothing: at most `inbox_max` messages wait here, the rest waits on the server.
- Every call raises a TidingsError that says what to do, or answers.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from google.protobuf.message import Message as ProtoMessage

from tidings import composing
from tidings.core.device import Device, Options
from tidings.core.signals import Idle, Tell, Watch
from tidings.errors import ClientClosed, NotConnected
from tidings.listing import newest_first
from tidings.model import (
    Conversation,
    DeviceKind,
    Event,
    Group,
    HistoryPage,
    InboxPage,
    Member,
    Message,
    Presence,
    Role,
    Sent,
)
from tidings.shell.calls import Calls
from tidings.shell.engine import Engine
from tidings.shell.hands import Hands
from tidings.shell.opened import Opened
from tidings.shell.outgoing import Outgoing
from tidings.shell.reading import read
from tidings.shell.tokens import TokenSource
from tidings.state import FileState, MemoryState, StateStore
from tidings.transport import connector
from tidings_protocol import client_pb2 as pb
from tidings_protocol.ids import direct, new_id
from tidings_protocol.operations import frame_of
from tidings_protocol.wire.codec import JSON, PROTO

PAGE = 200
MEMBERS_PER_REQUEST = 500
PRESENCE_PER_REQUEST = 100
SETTLE_S = 5.0


class Client:
    """See the module. All limits and times have defaults that suit a bot; `docs/client.md` explains each."""

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        token: TokenSource,
        device: str | None = None,
        kind: DeviceKind = DeviceKind.BOT,
        state: StateStore | str | Path | None = None,
        codec: str = "proto",
        tls: ssl.SSLContext | None = None,
        connect_timeout_s: float | None = 30.0,
        open_timeout_s: float = 5.0,
        send_timeout_s: float | None = 60.0,
        request_timeout_s: float | None = 30.0,
        inbox_max: int = 1000,
        outbox_max: int = 1000,
        pipeline: int = 1,
        from_start: bool = False,
        name: str = "tidings-python/0.1",
    ) -> None:
        """`url`: one or several of ws://, wss://, tcp://, tcps://. `token`: a JWT, or a function that gives one.

        `state`: a file (or a store) that keeps the place of this device over restarts. `from_start`: a new device
        reads the user's whole inbox instead of what comes from now on. `pipeline`: sends to one conversation that may
        be unanswered at once; above 1 they are faster, but one that has to be tried again may come after a later one.
        """
        if codec not in ("proto", "json"):
            raise ValueError(f"codec {codec!r}: it is proto or json")
        seeds = [url] if isinstance(url, str) else list(url)
        self._connect = connector(seeds, codec=PROTO if codec == "proto" else JSON, tls=tls, timeout_s=open_timeout_s)
        self._seeds = seeds
        self._token = token
        self._device = device
        self._kind = kind
        self._store = _store(state)
        self._connect_timeout_s = connect_timeout_s
        self._send_timeout_s = send_timeout_s
        self._request_timeout_s = request_timeout_s
        self._inbox_max = inbox_max
        self._outbox_max = outbox_max
        self._pipeline = pipeline
        self._from_start = from_start
        self._name = name
        self._inside: Opened | None = None

    async def __aenter__(self) -> Self:
        """Returns when a session lives. Raises NotConnected in time, or SessionEnded when the server refuses us."""
        saved = await asyncio.to_thread(self._store.load)
        self._device = self._device or (saved.device if saved else new_id())
        options = Options(
            self._seeds,
            self._device,
            self._kind,
            self._name,
            fresh_tokens=not isinstance(self._token, str),
            capacity=self._inbox_max,
            outbox_capacity=2 * self._outbox_max,
            pipeline=self._pipeline,
            from_start=self._from_start,
        )
        device = Device(options, saved, random.random)
        engine = Engine(device, self._connect, self._token, self._store)
        calls = Calls(
            engine,
            outbox_max=self._outbox_max,
            send_timeout_s=self._send_timeout_s,
            request_timeout_s=self._request_timeout_s,
        )
        self._inside = Opened(device, await engine.__aenter__(), calls, Hands(engine.took))
        try:
            await self._first_session(device, engine)
            await engine.save_first()  # from here on a killed process comes back as this device
        except BaseException as error:
            await engine.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """What was posted has a moment to be sent, over a new connection too, unless this is left by an error.

        Raises BadState if the place of this device could not be kept to the end.
        """
        opened = self._opened()
        try:
            if error is None and opened.device.over is None:
                await opened.engine.settle(SETTLE_S)
        except asyncio.CancelledError as cancelled:
            await opened.close(cancelled)
            raise
        await opened.close(error)

    # Who and where

    @property
    def user(self) -> str:
        """Whose token it is."""
        return self._opened().device.user

    @property
    def device(self) -> str:
        return self._device or ""

    @property
    def online(self) -> bool:
        """Whether there is a session right now."""
        return self._inside is not None and self._inside.device.live

    @property
    def welcome(self) -> pb.Welcome:
        """The last welcome of a server: node, limits, inbox head."""
        welcome = self._opened().device.welcome
        assert welcome is not None
        return welcome

    def direct(self, user: str) -> str:
        """The id of the direct chat with `user`."""
        return direct(self.user, user)

    def conversation(self, to: str) -> str:
        """The conversation that a user id or a conversation id means."""
        return composing.conversation_of(to, self.user)

    def set_idle(self, idle: bool) -> None:
        """The person is away (or back): a mobile device then beats more slowly."""
        self._opened().engine.step(Idle(idle))

    # Messages

    async def send(
        self,
        to: str,
        text: str = "",
        *,
        data: bytes | None = None,
        mime: str = "",
        headers: Mapping[str, str] | None = None,
        reply_to: int = 0,
        client_id: str | None = None,
        timeout_s: float | None = None,
    ) -> Sent:
        """Returns when it is durable. Tries again by itself, over connections, for `timeout_s` (or `send_timeout_s`).

        Raises NoAnswer when it gave up: the message may have been stored. Sending it again with the same `client_id`
        cannot store it twice.
        """
        message = self._message(to, composing.content(text, data, mime, headers, reply_to), client_id)
        return await self._opened().calls.send(message, timeout_s)

    def post(
        self,
        to: str,
        text: str = "",
        *,
        data: bytes | None = None,
        mime: str = "",
        headers: Mapping[str, str] | None = None,
        reply_to: int = 0,
        client_id: str | None = None,
        timeout_s: float | None = None,
    ) -> Outgoing:
        """Like `send`, but does not wait. Raises Busy when `outbox_max` are on their way already."""
        message = self._message(to, composing.content(text, data, mime, headers, reply_to), client_id)
        opened = self._opened()
        return opened.calls.post(message, timeout_s, pending=opened.device.pending)

    def messages(self) -> AsyncIterator[Message]:
        """Each message once, in order, as they come; ends when the client is closed.

        A message counts as taken when the next one is asked for, or the loop is left: see the module. Several readers
        share them: each message goes to one. Raises SessionEnded when the server ends the session.
        """
        return cast("AsyncIterator[Message]", read(self._opened, notices=False))

    def events(self) -> AsyncIterator[Event]:
        """Messages and everything else: receipts, states of own messages, presence, signals, groups, the connection.

        In the order in which they came, but at most ten others in a row while a message waits. At most 1000 of what is
        not a message wait here, then the oldest are let go.
        """
        return read(self._opened, notices=True)

    async def read(self, conversation: str, seq: int) -> None:
        """The user has read up to here."""
        await self._ask(pb.Read(conversation=self.conversation(conversation), seq=seq))

    async def history(
        self, conversation: str, *, before: int | None = None, after: int | None = None, limit: int = 50
    ) -> HistoryPage:
        """A page, oldest first: before or after a seq (which excludes itself), or the newest."""
        asked = pb.History(conversation=self.conversation(conversation), before=before, after=after, limit=limit)
        return HistoryPage.from_proto((await self._ask(asked)).page)

    async def inbox(self, after: int, *, limit: int = 100) -> InboxPage:
        """A page of the user's inbox, whatever this device has shown already."""
        return InboxPage.from_proto((await self._ask(pb.Sync(after=after, limit=limit))).page)

    async def conversations(self, limit: int = 1000) -> list[Conversation]:
        """The user's conversations, newest first, each once; also those that move up while the pages are read."""
        found: list[Conversation] = []
        after = ""
        while len(found) < limit:
            asked = pb.ListConversations(after=after, limit=min(PAGE, limit - len(found)))
            page = (await self._ask(asked)).conversation_page
            found = newest_first(found, [Conversation.from_proto(told) for told in page.conversations])
            if not page.more or page.next == after:
                break
            after = page.next
        return found[:limit]

    # Signals and presence

    async def typing(self, to: str) -> None:
        """Tell the others that the user is typing."""
        await self.signal(to, "typing")

    async def signal(self, to: str, name: str, data: bytes = b"") -> None:
        """Something that is not kept. It is let go while there is no session, or when the network is slow."""
        conversation = self.conversation(to)
        engine = self._opened().engine
        if not engine.congested:
            engine.step(Tell(frame_of(pb.Signal(conversation=conversation, name=name, data=data))))
        await asyncio.sleep(0)

    async def presence(self, users: Iterable[str], *, watch: bool = False) -> list[Presence]:
        """Who is online. `watch`: changes come in `events`, also over reconnections (at most 500 users)."""
        names = list(users)
        found: list[Presence] = []
        for start in range(0, len(names), PRESENCE_PER_REQUEST):
            part = names[start : start + PRESENCE_PER_REQUEST]
            answer = (await self._ask(pb.PresenceRequest(users=part, watch=watch))).presence_list
            found += map(Presence.from_proto, answer.users)
            if watch:
                self._opened().engine.step(Watch(tuple(part), on=True))
        return found

    async def unwatch(self, users: Iterable[str]) -> None:
        """No more changes of these."""
        names = list(users)
        self._opened().engine.step(Watch(tuple(names), on=False))
        await self.presence(names, watch=False)

    # Groups

    async def create_group(
        self,
        name: str,
        members: Iterable[str] = (),
        *,
        open: bool = False,  # noqa: A002  # the protocol's word
        channel: bool = False,
        share_history: bool = False,
        client_id: str | None = None,
    ) -> Group:
        """Any number of members: those beyond the protocol's limit of a request are added behind it.

        Tried again like a send; making it again with the same `client_id` gives the same group.
        """
        names = list(members)
        first, rest = names[:MEMBERS_PER_REQUEST], names[MEMBERS_PER_REQUEST:]
        asked = pb.GroupRequest.Create(
            name=name,
            members=first,
            open=open,
            channel=channel,
            share_history=share_history,
            client_id=client_id or new_id(),
        )
        group = Group.from_proto((await self._ask(asked)).group_info)
        if not rest:
            return group
        await self.add(group.id, rest)
        return await self.group(group.id)

    async def join(self, group: str) -> Group:
        return Group.from_proto((await self._ask(pb.GroupRequest.Join(conversation=group))).group_info)

    async def leave(self, group: str) -> None:
        await self._ask(pb.GroupRequest.Leave(conversation=group))

    async def add(self, group: str, users: Iterable[str]) -> None:
        names = list(users)
        for start in range(0, len(names), MEMBERS_PER_REQUEST):
            users = names[start : start + MEMBERS_PER_REQUEST]
            await self._ask(pb.GroupRequest.Add(conversation=group, users=users))

    async def remove(self, group: str, users: Iterable[str]) -> None:
        names = list(users)
        for start in range(0, len(names), MEMBERS_PER_REQUEST):
            users = names[start : start + MEMBERS_PER_REQUEST]
            await self._ask(pb.GroupRequest.Remove(conversation=group, users=users))

    async def set_role(self, group: str, user: str, role: Role) -> None:
        told = cast("pb.Member.Role.ValueType", int(role))
        await self._ask(pb.GroupRequest.SetRole(conversation=group, user=user, role=told))

    async def rename(self, group: str, name: str) -> Group:
        return Group.from_proto((await self._ask(pb.GroupRequest.Rename(conversation=group, name=name))).group_info)

    async def group(self, group: str) -> Group:
        """What is known of it."""
        return Group.from_proto((await self._ask(pb.GroupRequest.Info(conversation=group))).group_info)

    async def members(self, group: str, limit: int = 1000) -> list[Member]:
        found: list[Member] = []
        after = ""
        while len(found) < limit:
            asked = pb.GroupRequest.Members(conversation=group, after=after, limit=min(PAGE, limit - len(found)))
            page = (await self._ask(asked)).member_page
            found += [Member(member.user, Role(member.role)) for member in page.members]
            if not page.more or page.next == after:
                break
            after = page.next
        return found

    # Inside

    def _opened(self) -> Opened:
        if self._inside is None:
            raise ClientClosed("the client is not open: use it inside `async with Client(…) as client`")
        return self._inside

    async def _first_session(self, device: Device, engine: Engine) -> None:
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                while not device.live:
                    if device.over is not None:
                        raise device.over
                    await engine.changed()
        except TimeoutError as error:
            reason = engine.last_detail or "no server answered"
            raise NotConnected(
                f"not connected within {self._connect_timeout_s:g} s ({reason}): "
                "look whether the server runs and whether its address is right"
            ) from error

    def _message(self, to: str, content: pb.Content, client_id: str | None) -> pb.Send:
        return pb.Send(client_id=client_id or new_id(), conversation=self.conversation(to), content=content)

    async def _ask(self, request: ProtoMessage) -> pb.ServerFrame:
        return await self._opened().calls.ask(request)


def _store(state: StateStore | str | Path | None) -> StateStore:
    if state is None:
        return MemoryState()
    return FileState(state) if isinstance(state, str | Path) else state
