"""One batch of reactions: judged in its order, on the sets as they were read.

    acts ──▶ allowed? ──▶ does it change the set? ──▶ limits ──▶ tally, news, what is to be written

    the conversation's version is another one                   STALE
    the message is not there, before what the user may read,
    no message but a CHANGE or SYSTEM                           NOT_FOUND
    it is recalled, or its time is over                         FORBIDDEN
    the client id was a send's                                  BAD_REQUEST
    DIFFERENT_MAX on the message, OF_USER_MAX of the user,
    ACTS_MAX acts of the user on the message an hour            BAD_REQUEST

A repeat changes nothing, and is no act: of what is so already, and of an act that was done, whatever came after it.

Guarantees: no I/O. The tallies are as the acts leave them; if these cannot be stored, `take_back` and forget the
tallies.
Does not know: how it is read and written (store.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from protos.tidings.internal.v1 import storage_pb2
from services.storage.memory.conversation import CachedConversation
from services.storage.reactions.message import ReactedMessage, is_recalled
from services.storage.reactions.rates import ACTS_MAX, ActRates
from services.storage.repository.reactions import ReactionKey, ReactionWrite, Reactor, StoredReaction
from services.storage.repository.records import NORMAL, ClientKey, MessageKey, StoredMessage
from tidings_protocol import client_pb2
from tidings_protocol.content import BLOCKED
from tidings_protocol.errors import BadRequest, Forbidden, NotFound, Recalled, TidingsError
from tidings_protocol.ids import ConversationKind

StoreItem = storage_pb2.StoreItem

DIFFERENT_MAX: Final = 20
OF_USER_MAX: Final = 5
# Of the last acts on a reaction so many are known again.
ACTS_KNOWN: Final = 8


@dataclass(slots=True, eq=False)
class ReactAct:
    """A user reacts, or takes that back. `is_stale`, `error`: why it is not done; `changed`: it has changed the set."""

    item: StoreItem
    reactor: Reactor
    client_key: ClientKey
    reaction: str
    removes: bool
    is_stale: bool = False
    error: TidingsError | None = None
    changed: bool = False

    @staticmethod
    def from_item(item: StoreItem) -> ReactAct:
        """Raises BadRequest for what is no reaction."""
        change = client_pb2.Change.FromString(item.special.change)
        act = change.WhichOneof("act")
        if act not in {"react", "unreact"}:
            raise BadRequest("this is no reaction: ask for it as a change")
        conversation, user = item.conversation, item.sender
        return ReactAct(
            item,
            Reactor(conversation, change.seq, user),
            ClientKey(conversation, user, item.client_id),
            change.react if act == "react" else change.unreact,
            removes=act == "unreact",
        )

    @property
    def target(self) -> MessageKey:
        return self.reactor[:2]

    @property
    def pair(self) -> tuple[str, str]:
        """Its user and client id."""
        return self.client_key[1:]

    @property
    def is_done(self) -> bool:
        return self.error is None and not self.is_stale


@dataclass(slots=True)
class Reads:
    """What a turn knows: the conversations, the targets, what their users have given, which client ids are taken, and
    the messages with their tallies.
    """

    conversations: Mapping[str, CachedConversation | TidingsError]
    targets: Mapping[MessageKey, StoredMessage]
    given: Mapping[Reactor, Sequence[StoredReaction]]
    taken: Mapping[ClientKey, StoredMessage]
    reacted: dict[MessageKey, ReactedMessage]


@dataclass(slots=True)
class ReactTurn:
    """`written`: what becomes of which reactions."""

    reads: Reads
    rates: ActRates
    now_s: float
    now_ms: int
    written: dict[ReactionKey, StoredReaction] = field(default_factory=dict)
    changed: dict[MessageKey, ReactedMessage] = field(default_factory=dict)
    _recalled: dict[MessageKey, bool] = field(default_factory=dict)
    _given: dict[Reactor, dict[str, StoredReaction]] = field(default_factory=dict)
    _noted: list[Reactor] = field(default_factory=list)

    def judge(self, acts: Sequence[ReactAct]) -> None:
        """Judges these, and does to the tallies what they do."""
        for act in acts:
            act.is_stale, act.error, act.changed = False, None, False
            conversation = self.reads.conversations[act.item.conversation]
            if isinstance(conversation, TidingsError):
                act.error = conversation
            elif _is_stale(conversation, act.item.version):
                act.is_stale = True
            else:
                act.error = self._refusal(act, conversation)
                if act.error is None:
                    self._do(act)

    def take_back(self) -> None:
        """Nothing of it is known to be stored."""
        for reactor in self._noted:
            self.rates.take_back(reactor)

    def writes(self) -> list[ReactionWrite]:
        """What is to be written, if it finds what was read."""
        read = {each.key: each.acts for given in self.reads.given.values() for each in given}
        return [ReactionWrite(reaction, read.get(key)) for key, reaction in self.written.items()]

    def _refusal(self, act: ReactAct, conversation: CachedConversation) -> TidingsError | None:
        target, seq = self.reads.targets.get(act.target), act.reactor.seq
        if target is None or target.kind != NORMAL or seq < max(act.item.rights.first_seq, conversation.first_seq):
            return NotFound(f"there is no message {seq} to react to: give the seq of one that is there")
        if self._is_recalled(target):
            return Recalled(f"message {seq} is recalled: nobody can react to it any more")
        if act.client_key in self.reads.taken:
            return BadRequest("this client_id is that of another message or change: make one for each")
        return None

    def _is_recalled(self, target: StoredMessage) -> bool:
        """Looked at once for all acts on it."""
        key = target.conversation, target.seq
        if key not in self._recalled:
            self._recalled[key] = is_recalled(target, self.now_ms)
        return self._recalled[key]

    def _do(self, act: ReactAct) -> None:
        given = self._given_by(act.reactor)
        known = given.get(act.reaction)
        is_there = known is not None and not known.gone
        if is_there is not act.removes or (known is not None and act.item.client_id in known.acts):
            return  # it is so already, or was
        conversation = self.reads.conversations[act.item.conversation]
        if not act.removes and isinstance(conversation, CachedConversation) and conversation.refuses(act.item.sender):
            act.error = Forbidden(BLOCKED)
            return
        target, user = act.target, act.item.sender
        reacted = self.reads.reacted[target]
        act.error = self._beyond(act, reacted, given.values())
        if act.error is not None:
            return
        acts = (*(known.acts if known is not None else ()), act.item.client_id)[-ACTS_KNOWN:]
        if act.removes:
            reacted.tally.remove(user, act.reaction)
            reacted.news.went(user, act.reaction)
            now = StoredReaction(*act.reactor, act.reaction, acts=acts, gone=True)
        else:
            place, since = reacted.tally.add(user, act.reaction, self.now_ms * 1000)
            reacted.news.came(user, act.reaction)
            now = StoredReaction(*act.reactor, act.reaction, place, since, acts)
        given[act.reaction] = self.written[now.key] = now
        reacted.news.note(*act.pair)
        act.changed = True
        self.changed[target] = reacted
        self.rates.note(act.reactor, self.now_s)
        self._noted.append(act.reactor)

    def _given_by(self, reactor: Reactor) -> dict[str, StoredReaction]:
        """What is known of this user's reactions to the message, after the acts before."""
        if reactor not in self._given:
            self._given[reactor] = {each.reaction: each for each in self.reads.given.get(reactor, ())}
        return self._given[reactor]

    def _beyond(self, act: ReactAct, reacted: ReactedMessage, given: Iterable[StoredReaction]) -> TidingsError | None:
        """Which limit the act would pass."""
        if not self.rates.allows(act.reactor, self.now_s):
            return BadRequest(f"you reacted to this message {ACTS_MAX} times within an hour: leave it as it is")
        if act.removes:
            return None
        if sum(not each.gone for each in given) >= OF_USER_MAX:
            return BadRequest(f"you gave this message {OF_USER_MAX} reactions already: take one back first")
        if act.reaction not in reacted.tally and len(reacted.tally) >= DIFFERENT_MAX:
            return BadRequest(f"this message has {DIFFERENT_MAX} different reactions: give one of these")
        return None


def _is_stale(conversation: CachedConversation, version: int) -> bool:
    if conversation.kind is not ConversationKind.GROUP:
        return False
    return version != (conversation.document.version if conversation.exists else 0)
