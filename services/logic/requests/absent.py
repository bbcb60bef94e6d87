"""Requests for what this version has not: each is answered at once, with what there is instead.

Guarantees: pure; the welcome says the same of media and search (its `limits`).

Does not know: what they would do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from services.logic.requests.request import ClientRequest, Handler, Reply
from tidings_protocol.errors import BadRequest

_SENTENCES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "upload": "there is no media store in this cluster: send a link",
        "download": "there is no media store in this cluster: ask who sent the message",
        "push_target": "there are no push notifications in this cluster: stay connected",
        "search": "there is no search in this cluster: look through the history",
    }
)


def handlers() -> Mapping[str, Handler]:
    """By the names of operations."""
    return {name: _refusal(sentence) for name, sentence in _SENTENCES.items()}


def _refusal(sentence: str) -> Handler:
    async def refuse(requests: Sequence[ClientRequest]) -> Sequence[Reply]:
        return [BadRequest(sentence) for _ in requests]

    return refuse
