"""What all calls of a client stand on: one request and its answer, lists by pages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from google.protobuf.message import Message as ProtoMessage

from tidings import composing
from tidings.shell.opened import Opened
from tidings_protocol import client_pb2 as pb

PAGE = 200

Found = TypeVar("Found")


class Page(Protocol):
    """A page of a list that goes on by name."""

    @property
    def next(self) -> str: ...
    @property
    def more(self) -> bool: ...


Paged = TypeVar("Paged", bound=Page)
Named = TypeVar("Named")


class Asking(ABC):
    """Base of the calls. Does not know how a client comes about."""

    @property
    @abstractmethod
    def user(self) -> str:
        """Whose token it is."""

    @abstractmethod
    def _opened(self) -> Opened:
        """Raises ClientClosed outside of the `async with`."""

    def conversation(self, to: str) -> str:
        """The conversation that a user id or a conversation id means."""
        return composing.conversation_of(to, self.user)

    async def _ask(self, request: ProtoMessage) -> pb.ServerFrame:
        return await self._opened().calls.ask(request)


async def pages(
    ask: Callable[[str, int], Awaitable[Paged]], found: Callable[[Paged], Sequence[Found]], limit: int
) -> list[Found]:
    """The first `limit` of a list. `ask(after, limit)` gives a page, `found` what is in it."""
    all_of_it: list[Found] = []
    after = ""
    while len(all_of_it) < limit:
        page = await ask(after, min(PAGE, limit - len(all_of_it)))
        all_of_it += found(page)
        if not page.more or page.next == after:
            break
        after = page.next
    return all_of_it


def parts(all_of_them: Iterable[Named], size: int) -> Iterator[list[Named]]:
    """So many at once as a request may have."""
    listed = list(all_of_them)
    for start in range(0, len(listed), size):
        yield listed[start : start + size]
