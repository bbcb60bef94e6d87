"""What a reader has given to the messages that they are shown.

Guarantees: one read for a whole page, and none for messages without reactions.
Does not know: pages (pages/ does, and puts it into what it shows).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from services.storage.reactions.message import announced_in
from services.storage.repository.reactions import ReactionRepository, Reactor
from services.storage.repository.records import MessageKey, StoredMessage
from tidings_protocol import client_pb2

# By message: the reactions that are the reader's own.
Mine = Mapping[MessageKey, frozenset[str]]
NOTHING_MINE: Mine = MappingProxyType({})


async def mine_of(reactions: ReactionRepository, user: str, messages: Iterable[StoredMessage]) -> Mine:
    """What this user has given to these messages; without those to which they gave nothing. Raises Unavailable."""
    [mine] = await mine_of_each(reactions, [(user, messages)])
    return mine


async def mine_of_each(
    reactions: ReactionRepository, readers: Sequence[tuple[str, Iterable[StoredMessage]]]
) -> list[Mine]:
    """The same for several users, each with messages of their own; aligned. One read for all."""
    wanted = [
        {Reactor(each.conversation, each.seq, user) for each in messages if announced_in(each)}
        for user, messages in readers
    ]
    every = set[Reactor]().union(*wanted)
    found = await reactions.find(every) if every else {}
    return [
        {
            (reactor.conversation, reactor.seq): mine
            for reactor in reactors
            if (mine := frozenset(each.reaction for each in found.get(reactor, ()) if not each.gone))
        }
        for reactors in wanted
    ]


def mark_mine(state: client_pb2.State, mine: Collection[str]) -> None:
    """Says in the state of a message which of its reactions are the reader's own."""
    for reaction in state.reactions:
        if reaction.reaction in mine:
            reaction.mine = True


def with_mine(encoded: bytes, mine: Collection[str]) -> bytes:
    """The same for an encoded tidings.v1.Message: what `shown` gives, for one reader."""
    if not mine:
        return encoded
    message = client_pb2.Message.FromString(encoded)
    mark_mine(message.state, mine)
    return message.SerializeToString()
