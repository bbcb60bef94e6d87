"""Changes of messages. Each is an entry of its conversation, and is sent like a message.

Guarantees: a change returns when it is durable; it is tried again by itself, over connections, with one client id, and
never made twice. What one client sends and changes in one conversation keeps its order. What it makes of its message
comes in `events` too, at its place, also for who made it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tidings import composing
from tidings.calling.asking import Asking, pages, parts
from tidings.model import Media, Reactor, Readers, Sent
from tidings_protocol import client_pb2 as pb
from tidings_protocol.ids import new_id

SEQS_PER_REQUEST = 200


class ChangeCalls(Asking):
    async def edit(
        self,
        conversation: str,
        seq: int,
        text: str = "",
        *,
        data: bytes | None = None,
        mime: str = "",
        headers: Mapping[str, str] | None = None,
        mentions: Iterable[str] = (),
        mention_all: bool = False,
        media: Iterable[Media] = (),
        client_id: str | None = None,
        timeout_s: float | None = None,
    ) -> Sent:
        """Another content for an own message, all of it. What it replies to and when it expires stay."""
        content = composing.content(text, data, mime, headers, mentions=mentions, mention_all=mention_all, media=media)
        return await self._change(conversation, pb.Change(seq=seq, edit=content), client_id, timeout_s)

    async def recall(
        self, conversation: str, seq: int, *, client_id: str | None = None, timeout_s: float | None = None
    ) -> Sent:
        """Takes a message back: its content is gone for everybody."""
        return await self._change(conversation, pb.Change(seq=seq, recall=pb.Change.Recall()), client_id, timeout_s)

    async def react(
        self,
        conversation: str,
        seq: int,
        reaction: str,
        *,
        client_id: str | None = None,
        timeout_s: float | None = None,
    ) -> Sent:
        """The `seq` of what is returned is 0 if the reaction is announced a moment later, together with others."""
        return await self._change(conversation, pb.Change(seq=seq, react=reaction), client_id, timeout_s)

    async def unreact(
        self,
        conversation: str,
        seq: int,
        reaction: str,
        *,
        client_id: str | None = None,
        timeout_s: float | None = None,
    ) -> Sent:
        return await self._change(conversation, pb.Change(seq=seq, unreact=reaction), client_id, timeout_s)

    async def pin(
        self, conversation: str, seq: int, *, client_id: str | None = None, timeout_s: float | None = None
    ) -> Sent:
        return await self._change(conversation, pb.Change(seq=seq, pin=True), client_id, timeout_s)

    async def unpin(
        self, conversation: str, seq: int, *, client_id: str | None = None, timeout_s: float | None = None
    ) -> Sent:
        return await self._change(conversation, pb.Change(seq=seq, pin=False), client_id, timeout_s)

    async def hide(self, conversation: str, seqs: Iterable[int] = (), *, through: int = 0) -> None:
        """Not to be shown to this user any more, on any device: these, and all up to `through`. It is not undone."""
        name = self.conversation(conversation)
        for part in [*parts(seqs, SEQS_PER_REQUEST)] or [[]]:
            asked = pb.Hide(conversation=name, seqs=part, through=through)
            await self._ask(asked)
            self._opened().device.hide(asked)

    async def readers(self, conversation: str, seq: int, *, delivered: bool = False, limit: int = 1000) -> Readers:
        """Who has read a message (or holds it), in a group that is not large; without its sender."""
        count = 0

        async def ask(after: str, part: int) -> pb.ReaderPage:
            nonlocal count
            asked = pb.ReadersRequest(conversation=name, seq=seq, delivered=delivered, after=after, limit=part)
            page = (await self._ask(asked)).reader_page
            count = page.count
            return page

        name = self.conversation(conversation)
        users = await pages(ask, lambda page: page.users, limit)
        return Readers(tuple(users), count)

    async def reactors(self, conversation: str, seq: int, reaction: str = "", *, limit: int = 1000) -> list[Reactor]:
        """Who reacted with this (or with whatever), the oldest first."""
        name = self.conversation(conversation)

        async def ask(after: str, part: int) -> pb.ReactorPage:
            asked = pb.ReactorsRequest(conversation=name, seq=seq, reaction=reaction, after=after, limit=part)
            return (await self._ask(asked)).reactor_page

        return await pages(ask, lambda page: [Reactor.from_proto(told) for told in page.reactors], limit)

    async def _change(
        self, conversation: str, change: pb.Change, client_id: str | None, timeout_s: float | None
    ) -> Sent:
        change.conversation = self.conversation(conversation)
        change.client_id = client_id or new_id()
        return await self._opened().calls.change(change, timeout_s)
