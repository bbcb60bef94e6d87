"""The contents that changes give to their targets.

    edit      what the sender gave, but `reply_to`, `expire_after_s` and `streaming` stay as they were sent
    finish    the content of the stream with its whole text

Guarantees: pure; what goes in as encoded contents comes out as one that is encoded the same way.
Does not know: what may become what (access and logic checked it), who may change it (judge.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from services.storage.repository.records import EVERYBODY
from tidings_protocol import client_pb2


def edited(content: bytes, given: bytes) -> bytes:
    """The content after an edit that gives this one."""
    before, after = client_pb2.Content.FromString(content), client_pb2.Content.FromString(given)
    after.reply_to, after.expire_after_s, after.streaming = before.reply_to, before.expire_after_s, before.streaming
    return after.SerializeToString()


def with_text(content: bytes, text: str) -> bytes:
    """The content with another text."""
    whole = client_pb2.Content.FromString(content)
    whole.text = text
    return whole.SerializeToString()


def text_of(content: bytes) -> str:
    return client_pb2.Content.FromString(content).text


def is_stream(content: bytes) -> bool:
    """Whether it was sent as a stream, which may have ended."""
    return client_pb2.Content.FromString(content).streaming


def named_in(content: bytes) -> set[str]:
    """Whom a content mentions, members or not; EVERYBODY with `mention_all`."""
    found = client_pb2.Content.FromString(content)
    return {*found.mentions, EVERYBODY} if found.mention_all else set(found.mentions)


def in_order(users: Iterable[str]) -> tuple[str, ...]:
    """Those who are mentioned, each once, as they are kept."""
    return tuple(sorted(set(users)))
