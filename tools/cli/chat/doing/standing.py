"""What every command stands on: the client, the model, the conversation on the screen, and a word to the person."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from datetime import UTC, datetime

from tidings import Client, ConversationKind
from tidings_protocol.errors import BadRequest
from tools.cli.chat.model import ChatModel
from tools.cli.chat.talk import Talk


class Standing(ABC):
    _client: Client
    _model: ChatModel

    @abstractmethod
    def _note(self, text: str) -> None:
        """Says something below what is there."""

    @abstractmethod
    async def _enter(self, talk: Talk) -> None:
        """Goes to a conversation."""

    def _here(self) -> Talk:
        talk = self._model.talk
        if talk is None:
            raise BadRequest("no conversation is open: /to USER begins one, /help lists the rest")
        return talk

    def _group(self) -> Talk:
        talk = self._here()
        if talk.kind is not ConversationKind.GROUP:
            raise BadRequest("this is not a group: /open NAME goes to one, /create NAME makes one")
        return talk

    def _message(self, word: str, *, own: bool = False) -> tuple[Talk, int]:
        """The message that is meant: its number, with or without #, or . for the newest (of one's own)."""
        talk = self._here()
        if word == ".":
            line = talk.newest(by=self._model.me if own else "")
            if line is None:
                raise BadRequest("there is no such message here yet: give the number that stands beside one")
            return talk, line.seq
        number = word.removeprefix("#")
        if not (number.isascii() and number.isdigit()):
            raise BadRequest(
                f"{word!r} is no number of a message: give the one that stands beside it, or . for the newest"
            )
        seq = int(number)
        if seq == 0 or (talk.loaded and seq > talk.head):
            raise BadRequest(f"there is no message #{seq} here: give the number that stands beside one")
        return talk, seq


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def when(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC).astimezone():%Y-%m-%d %H:%M}"


def count(word: str, what: str, most: int) -> int:
    """A number that a person typed. Raises BadRequest."""
    if not (word.isascii() and word.isdigit()) or not 1 <= int(word) <= most:
        raise BadRequest(f"{word!r} is no number of {what}: give 1 to {most}")
    return int(word)
