"""Commands about single messages: answered, written anew, taken back, reacted to, pinned, hidden."""

from __future__ import annotations

from abc import abstractmethod

from tidings import ConversationKind
from tidings_protocol.errors import BadRequest
from tools.cli.chat.doing.standing import Standing
from tools.cli.chat.mentions import mentioned

REACTORS_MAX = 100


class MessageCommands(Standing):
    @abstractmethod
    def _say(self, text: str, reply_to: int = 0) -> None:
        """Sends a text to the conversation on the screen."""

    async def _on_reply(self, word: str, text: str) -> None:
        _, seq = self._message(word)
        self._say(text, seq)

    async def _on_edit(self, word: str, text: str) -> None:
        talk, seq = self._message(word, own=True)
        users, everybody = mentioned(text, talk.people)
        everybody = everybody and talk.kind is ConversationKind.GROUP
        await self._client.edit(talk.id, seq, text, mentions=users, mention_all=everybody)

    async def _on_recall(self, word: str) -> None:
        talk, seq = self._message(word, own=True)
        await self._client.recall(talk.id, seq)

    async def _on_react(self, word: str, sign: str) -> None:
        talk, seq = self._message(word)
        await self._client.react(talk.id, seq, sign)

    async def _on_unreact(self, word: str, sign: str) -> None:
        talk, seq = self._message(word)
        await self._client.unreact(talk.id, seq, sign)

    async def _on_reactions(self, word: str) -> None:
        talk, seq = self._message(word)
        reactors = await self._client.reactors(talk.id, seq, limit=REACTORS_MAX)
        said = [f"{reactor.user} {reactor.reaction}" for reactor in reactors]
        self._note(f"#{seq}: {', '.join(said)}" if said else f"Nobody reacted to #{seq}.")

    async def _on_pin(self, word: str) -> None:
        talk, seq = self._message(word)
        await self._client.pin(talk.id, seq)

    async def _on_unpin(self, word: str) -> None:
        talk, seq = self._message(word)
        await self._client.unpin(talk.id, seq)

    async def _on_pinned(self) -> None:
        talk = self._here()
        if not talk.pinned:
            self._note("Nothing is pinned here.")
        for seq in talk.pinned:
            line = talk.line(seq)
            text = f"{line.sender}: {line.text}" if line is not None else "(further up: /older shows it)"
            self._note(f"#{seq} {text}")

    async def _on_readers(self, word: str) -> None:
        talk, seq = self._message(word)
        if talk.kind is not ConversationKind.GROUP:
            raise BadRequest("this is not a group: the marks beside your messages say whether they were read")
        readers = await self._client.readers(talk.id, seq, limit=REACTORS_MAX)
        self._note(f"#{seq} was read by {readers.count}: {', '.join(readers.users)}")

    async def _on_hide(self, word: str) -> None:
        if word.lower() == "all":
            talk = self._here()
            await self._client.hide(talk.id, through=talk.head)
            self._model.hide(talk.id, (), talk.head)
            return
        talk, seq = self._message(word)
        await self._client.hide(talk.id, [seq])
        self._model.hide(talk.id, [seq], 0)
