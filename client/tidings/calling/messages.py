"""Messages: sent, read as they come, read from the history."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import cast

from tidings import composing
from tidings.calling.asking import PAGE, Asking
from tidings.core.signals import Tell
from tidings.listing import newest_first
from tidings.model import Conversation, Event, HistoryPage, InboxPage, Media, Message, Sent
from tidings.shell.outgoing import Outgoing
from tidings.shell.reading import read
from tidings.shell.stream import Stream
from tidings_protocol import client_pb2 as pb
from tidings_protocol.ids import new_id
from tidings_protocol.operations import frame_of


class MessageCalls(Asking):
    async def send(
        self,
        to: str,
        text: str = "",
        *,
        data: bytes | None = None,
        mime: str = "",
        headers: Mapping[str, str] | None = None,
        reply_to: int = 0,
        mentions: Iterable[str] = (),
        mention_all: bool = False,
        media: Iterable[Media] = (),
        expire_after_s: int = 0,
        client_id: str | None = None,
        timeout_s: float | None = None,
    ) -> Sent:
        """Returns when it is durable. Tries again by itself, over connections, for `timeout_s` (or `send_timeout_s`).

        Raises NoAnswer when it gave up: the message may have been stored. Sending it again with the same `client_id`
        cannot store it twice. `expire_after_s`: it is gone for everybody that long after it was stored; 0: it is kept.
        """
        content = composing.content(
            text,
            data,
            mime,
            headers,
            reply_to,
            mentions=mentions,
            mention_all=mention_all,
            media=media,
            expire_after_s=expire_after_s,
        )
        return await self._opened().calls.send(self._message(to, content, client_id), timeout_s)

    def post(
        self,
        to: str,
        text: str = "",
        *,
        data: bytes | None = None,
        mime: str = "",
        headers: Mapping[str, str] | None = None,
        reply_to: int = 0,
        mentions: Iterable[str] = (),
        mention_all: bool = False,
        media: Iterable[Media] = (),
        expire_after_s: int = 0,
        client_id: str | None = None,
        timeout_s: float | None = None,
    ) -> Outgoing:
        """Like `send`, but does not wait. Raises Busy when `outbox_max` are on their way already."""
        content = composing.content(
            text,
            data,
            mime,
            headers,
            reply_to,
            mentions=mentions,
            mention_all=mention_all,
            media=media,
            expire_after_s=expire_after_s,
        )
        opened = self._opened()
        return opened.calls.post(self._message(to, content, client_id), timeout_s, pending=opened.device.pending)

    def stream(
        self,
        to: str,
        text: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        reply_to: int = 0,
        mentions: Iterable[str] = (),
        expire_after_s: int = 0,
        client_id: str | None = None,
    ) -> Stream:
        """A message that is written while the others read it: see tidings.shell.stream. Not in large groups."""
        content = composing.content(
            text,
            None,
            "",
            headers,
            reply_to,
            mentions=mentions,
            expire_after_s=expire_after_s,
            streaming=True,
        )
        message = self._message(to, content, client_id)
        return Stream(self._opened(), message, may_be_there=client_id is not None)

    def messages(self) -> AsyncIterator[Message]:
        """Each message once, in order, as they come; ends when the client is closed.

        A message counts as taken when the next one is asked for, or the loop is left: see tidings.client. Several
        readers share them: each message goes to one. One that was changed while it waited comes as it is now; what
        changes it later is only told by `events`. Raises SessionEnded when the server ends the session.
        """
        return cast("AsyncIterator[Message]", read(self._opened, notices=False))

    def events(self) -> AsyncIterator[Event]:
        """Messages, what changes them (each once, in order, like the messages), and everything else.

        Else: receipts, states of own messages, presence, signals, groups, the connection. In the order in which they
        came, but at most ten others in a row while a message waits. At most 1000 of them wait here, then the oldest are
        let go.
        """
        return read(self._opened, notices=True)

    async def read(self, conversation: str, seq: int) -> None:
        """The user has read up to here."""
        await self._ask(pb.Read(conversation=self.conversation(conversation), seq=seq))

    async def history(
        self,
        conversation: str,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int = 50,
        changes: bool = False,
    ) -> HistoryPage:
        """A page, oldest first: before or after a seq (which excludes itself), or the newest.

        Messages are as they are now. `changes`: with the changes among them, for who keeps a copy and catches up.
        """
        asked = pb.History(
            conversation=self.conversation(conversation), before=before, after=after, limit=limit, changes=changes
        )
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

    def _message(self, to: str, content: pb.Content, client_id: str | None) -> pb.Send:
        return pb.Send(client_id=client_id or new_id(), conversation=self.conversation(to), content=content)
