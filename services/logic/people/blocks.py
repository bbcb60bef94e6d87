"""Who blocks whom, for what storage does not judge with the message itself: signals, parts of streams, presence, who is
added to groups.

Guarantees: a direct chat is asked about at most once in KEPT_S, so a block is in force here within that time; nothing
else is remembered. What cannot be asked raises: nobody is let through because storage is away.

Does not know: messages and their changes (the owner of the chat judges those).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.clock import Clock
from services.logic.storage_client import StorageClient
from tidings_protocol.content import BLOCKED
from tidings_protocol.errors import Forbidden, TidingsError
from tidings_protocol.ids import other_of

KEPT_S: Final = 1.0
CHATS_MAX: Final = 50_000


class Pair(NamedTuple):
    """`user` may block `blocked`."""

    user: str
    blocked: str


class Direct(Protocol):
    """What somebody does in a conversation."""

    @property
    def conversation(self) -> str: ...

    @property
    def sender(self) -> str: ...


class Blocks:
    """Asks storage. `chats_max`: direct chats that are remembered."""

    def __init__(self, storage: StorageClient, clock: Clock, *, chats_max: int = CHATS_MAX) -> None:
        self._storage = storage
        self._clock = clock
        self._chats_max = chats_max
        # Who blocks in a chat, and until when that is believed; the one asked about longest ago first.
        self._chats: OrderedDict[str, tuple[float, frozenset[str]]] = OrderedDict()

    async def since(self, pairs: Iterable[Pair]) -> dict[Pair, int]:
        """Those of these blocks that there are, with the time since when (ms). Raises TidingsError."""
        by_user: dict[str, list[str]] = {}
        for user, blocked in dict.fromkeys(pairs):
            by_user.setdefault(user, []).append(blocked)
        items = [pb.BlockedItem(user=user, users=others) for user, others in by_user.items()]
        found: dict[Pair, int] = {}
        for item, outcome in zip(items, await self._storage.blocked(items), strict=True):
            if isinstance(outcome, TidingsError):
                raise outcome
            found.update(
                (Pair(item.user, other), since_ms)
                for other, since_ms in zip(item.users, outcome.since_ms, strict=True)
                if since_ms
            )
        return found

    async def blocking(self, user: str, others: Collection[str]) -> frozenset[str]:
        """Those of the others who block this user. Raises TidingsError."""
        found = await self.since(Pair(other, user) for other in others if other != user)
        return frozenset(pair.user for pair in found)

    async def refusals(self, senders: Sequence[tuple[str, str]]) -> list[TidingsError | None]:
        """For each (direct chat, one of its users): why nothing of this user's goes to the other one; None: it does."""
        blockers = await self._blockers({conversation for conversation, _ in senders})
        return [_refusal(conversation, sender, blockers[conversation]) for conversation, sender in senders]

    async def refuse(self, senders: Sequence[tuple[str, str]], outcomes: list[TidingsError | None]) -> None:
        """Puts the refusals of those into their places who have none yet, and whose conversation is a direct chat."""
        asked = [
            index
            for index, (conversation, _) in enumerate(senders)
            if outcomes[index] is None and conversation.startswith("d:")
        ]
        for index, refusal in zip(asked, await self.refusals([senders[index] for index in asked]), strict=True):
            outcomes[index] = refusal

    async def _blockers(self, chats: Collection[str]) -> Mapping[str, frozenset[str] | TidingsError]:
        now_s = self._clock.now_s()
        found: dict[str, frozenset[str] | TidingsError] = {}
        unknown: list[str] = []
        for chat in chats:
            until_s, blockers = self._chats.get(chat, (now_s, frozenset()))
            if now_s < until_s:
                found[chat] = blockers
            else:
                unknown.append(chat)
        items = [pb.LoadItem(conversation=chat, narrow=True) for chat in unknown]
        for chat, outcome in zip(unknown, await self._storage.load(items) if items else (), strict=True):
            if isinstance(outcome, TidingsError):
                found[chat] = outcome
            else:
                found[chat] = self._keep(chat, now_s + KEPT_S, frozenset(outcome.record.blockers))
        return found

    def _keep(self, chat: str, until_s: float, blockers: frozenset[str]) -> frozenset[str]:
        self._chats[chat] = until_s, blockers
        self._chats.move_to_end(chat)
        if len(self._chats) > self._chats_max:
            self._chats.popitem(last=False)
        return blockers


def _refusal(chat: str, sender: str, blockers: frozenset[str] | TidingsError) -> TidingsError | None:
    if isinstance(blockers, TidingsError):
        return blockers
    return Forbidden(BLOCKED) if blockers and other_of(chat, sender) in blockers else None
