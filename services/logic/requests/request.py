"""One request of a client among those of a batch, and what it is answered with.

Guarantees: values, and the check of a batch, which answers what it refuses. Does not know: who answers the rest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HidingReply:
    """A frame in which users who block the asker look offline: of these the access node shows it no changes."""

    frame: client_pb2.ServerFrame
    hiding: Sequence[str]


# A frame without its id, or the error that becomes one.
Reply = client_pb2.ServerFrame | HidingReply | TidingsError


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """What a user asks for in a session. `frame` holds the body, whatever it is.

    `op` names this request for good: it is the same when the request is repeated on another node. `trace`: its
    `traceparent`; empty: not sampled. The operator asks without a session ("").
    """

    user: str
    session: str
    frame: client_pb2.ClientFrame
    op: str = ""
    trace: str = ""


# Answers a batch of requests of one operation: a reply for each, in their order.
Handler = Callable[[list[ClientRequest]], Awaitable[Sequence[Reply]]]


class Replies(Protocol):
    """The replies to a batch, by the indexes of its requests: a list or a dict."""

    def __setitem__(self, index: int, reply: TidingsError, /) -> None: ...


def passing(
    requests: Sequence[ClientRequest],
    replies: Replies,
    check: Callable[[ClientRequest], T],
    among: Iterable[int] | None = None,
) -> dict[int, T]:
    """What `check` makes of each request, by index; where it raises TidingsError, that is the reply. `among`: the
    indexes that are looked at; None: all.
    """
    passed: dict[int, T] = {}
    for index in range(len(requests)) if among is None else among:
        try:
            passed[index] = check(requests[index])
        except TidingsError as error:
            replies[index] = error
    return passed


def page_limit(limit: int, default: int, most: int) -> int:
    """A page's limit as it is used: 0 is the default, one over the maximum is cut to it."""
    return min(limit, most) if limit else default


def ok_reply() -> client_pb2.ServerFrame:
    """The answer to a request that was done and has nothing to tell."""
    return client_pb2.ServerFrame(ok=client_pb2.Ok())
