"""Reactions to messages: sets that are durable when they are answered, and that entries of the log announce.

    acts ──▶ the lane: read ──▶ judge (turn.py) ──▶ write the set, note that it is ahead of the log
                 └─▶ announce (announcer.py) at once what had no entry for `gather_s`; the rest is due later, by this
                     node's clock
    due  ──▶ the lane: announce ──▶ told to the recipients by a logic node, since no request waits for it
    noted by a node that is gone ──▶ due now, at whoever owns the conversation

A post that very many people react to so makes one entry each `gather_s`. What an entry says of counts is what is there
when it gets its number.

Guarantees: what is answered as STORED is in the set, on a majority, and the set is noted as ahead of the log until an
entry has announced it. Counts that another writer has made wrong are read again, and announced as they are. Whoever
owns a conversation next announces what was gathered, without being asked for anything there. The set of a message that
is recalled or gone is removed.
Does not know: the wire, who may react (logic says it), what is announced when, what is answered (outcomes.py).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, cast

from protos.tidings.internal.v1 import storage_pb2
from services.common.clock import Clock
from services.common.lanes.lane import Lanes
from services.common.scope import run_all
from services.common.telemetry import logs
from services.storage.limits import TRIES_MAX, Limits
from services.storage.memory.conversation import CachedConversation
from services.storage.messages.conversations import ConversationStore
from services.storage.owners.invalidation import OwnerInvalidation
from services.storage.reactions.announcer import Announcer
from services.storage.reactions.memory import ReactedMessages
from services.storage.reactions.message import ReactedMessage
from services.storage.reactions.outcomes import count, is_answered_with, outcome_of, refused
from services.storage.reactions.rates import ActRates
from services.storage.reactions.turn import ReactAct, ReactTurn, Reads
from services.storage.repository.contract import Repository
from services.storage.repository.reactions import FIRST_USERS, AheadSet, ReactionSpan, Reactor
from services.storage.repository.records import ClientKey, MessageKey
from services.storage.telling.port import Teller
from tidings_protocol.errors import TidingsError, Unavailable

StoreItem = storage_pb2.StoreItem
StoreOutcome = storage_pb2.StoreOutcome

_LANE: Final = 0  # there is one
# How often this node looks for what nodes that are gone have gathered, besides when the ring changes.
LOOK_S: Final = 30.0
LOOK_PAGE: Final = 500
# What is due is looked for no more often, and so much of it is looked at together.
TICK_S: Final = 0.02
DUE_MAX: Final = 1000
# Reactions whose first users are read at the same time.
AT_ONCE: Final = 16

log = logs.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Due:
    """This message is to be looked at; `at_last`: for the last time, since this node leaves."""

    target: MessageKey
    at_last: bool = False


Work = StoreItem | Due
Outcome = StoreOutcome | None


class ReactionStore:
    def __init__(
        self,
        repository: Repository,
        conversations: ConversationStore,
        invalidation: OwnerInvalidation,
        teller: Teller,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._repository = repository
        self._conversations = conversations
        self._invalidation = invalidation
        self._clock = clock
        self._gather_s = limits.reaction_gather_s
        self._memory = memory = ReactedMessages()
        self._announcer = Announcer(repository, conversations, teller, memory, clock, self._gather_s)
        self._rates = ActRates()
        self._look = asyncio.Event()
        self.lanes: Lanes[Work, Outcome] = Lanes(
            "react", self._handle, lanes=1, capacity=limits.lane_capacity, batch_max=limits.batch_max
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The lane runs until this is left, which handles what waits, and announces what has gathered."""
        async with self.lanes:
            yield
            # What is announced by this is noted as announced by the second.
            await self.announce(at_last=True)
            await self.announce(at_last=True)

    @property
    def waiting(self) -> int:
        """How many messages are to be looked at again."""
        return self._memory.waiting

    async def react(self, items: Sequence[StoreItem]) -> list[StoreOutcome | TidingsError]:
        """Does these; outcomes are aligned with the items, errors are an item's own: Unavailable says that it may be
        done.

        If this is cancelled, they are done all the same.
        """
        outcomes = await self.lanes.submit_all([(_LANE, item) for item in items])
        return cast("list[StoreOutcome | TidingsError]", outcomes)  # None is the outcome of Due alone

    def forget(self, targets: Iterable[MessageKey]) -> None:
        """These messages are recalled, or changed otherwise by who has noted it (`AheadSet`): they are looked at now,
        and their sets are removed if need be.
        """
        for target in targets:
            self._memory.look_at(target, self._clock.now_s())

    def ring_changed(self) -> None:
        """Others may have left something in what this node owns now."""
        self._look.set()

    # ---- by time

    async def run(self) -> None:
        """Announces what is due, until it is cancelled."""
        while True:
            wait_s = await self._memory.earliest() - self._clock.now_s()
            if wait_s > 0:
                # A message may become due earlier meanwhile, but not sooner than this.
                await asyncio.sleep(min(wait_s, max(self._gather_s / 4, TICK_S)))
                continue
            await self.announce()
            await asyncio.sleep(TICK_S)

    async def announce(self, *, at_last: bool = False) -> None:
        """Looks at what is due now; `at_last`: at all that will be."""
        now_s = self._clock.now_s()
        due = self._memory.take_due(math.inf if at_last else now_s, DUE_MAX)
        works = [(_LANE, Due(target, at_last)) for target in due]
        for target, outcome in zip(due, await self.lanes.submit_all(works), strict=True):
            if isinstance(outcome, TidingsError) and not at_last:
                self._memory.look_at(target, now_s + self._gather_s)

    async def look_for_what_others_left(self) -> None:
        """Finds sets that were noted as ahead of the log, whoever noted it: at first, when the ring has changed, and
        every LOOK_S seconds, until it is cancelled.
        """
        while True:
            try:
                await self.look()
            except TidingsError as error:
                log.warning("reactions of other nodes are looked for later", error=error.message)
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._look.wait()
            except TimeoutError:
                continue
            self._look.clear()

    async def look(self) -> None:
        """Does it once. Raises Unavailable."""
        last: MessageKey = ("", 0)
        while page := await self._repository.reactions.ahead(*last, LOOK_PAGE):
            for each in page:
                if not self._memory.is_due(each.target) and self._conversations.memory.is_owner(each.conversation):
                    self._memory.found[each.target] = each.user
                    self._memory.look_at(each.target, self._clock.now_s())
            last = page[-1].target

    # ---- the lane

    async def _handle(self, batch: list[Work]) -> list[Outcome | TidingsError]:
        outcomes: list[Outcome | TidingsError] = [None] * len(batch)
        acts: dict[int, ReactAct] = {}
        due: dict[MessageKey, bool] = {}
        for index, work in enumerate(batch):
            if isinstance(work, Due):
                due[work.target] = work.at_last
                continue
            try:
                acts[index] = ReactAct.from_item(work)
            except TidingsError as error:
                outcomes[index] = refused(error)
        turn = await self._do(list(acts.values()), due)
        reads = turn.reads
        # From here on nothing fails what is durable: what cannot be announced now is due later.
        acted = [act.target for act in acts.values() if act.is_done]
        entries = await self._announcer.announce(reads, acted, due)
        states: dict[MessageKey, bytes] = {}
        for index, act in acts.items():
            outcomes[index] = outcome_of(act, reads, entries.get(act.target), states, turn.now_ms)
        answered = (act.target for act in acts.values() if is_answered_with(act, entries.get(act.target)))
        self._announcer.tell(entries, answered)
        count(acts.values())
        return outcomes

    async def _do(self, acts: Sequence[ReactAct], due: Iterable[MessageKey]) -> ReactTurn:
        """Judges the acts and makes them durable. Raises Unavailable: then nobody knows."""
        for _ in range(TRIES_MAX):
            turn = ReactTurn(await self._read(acts, due), self._rates, self._clock.now_s(), self._clock.wall_ms())
            turn.judge(acts)
            if await self._write(turn):
                return turn
            # Another node acts on the same reactions: what it made of them is read.
        raise Unavailable("too many act on these reactions: try again")

    # ---- reading

    async def _read(self, acts: Sequence[ReactAct], due: Iterable[MessageKey]) -> Reads:
        """All that the turn needs to know. What cannot be had of one conversation is an error there."""
        targets = list(dict.fromkeys([*(act.target for act in acts), *due]))
        conversations = await self._conversations.get({target[0] for target in targets})
        known = [target for target in targets if isinstance(conversations[target[0]], CachedConversation)]
        warm = {
            target: reacted
            for target in known
            if (reacted := self._memory.trusted(target, conversations[target[0]])) is not None
        }
        reads = Reads(conversations, {}, {}, {}, warm)
        await run_all(
            self._read_targets(reads, known),
            self._read_given(reads, {act.reactor for act in acts}),
            self._read_taken(reads, {act.client_key for act in acts}),
            self._read_tallies(reads, [target for target in known if target not in warm]),
        )
        return reads

    async def _read_targets(self, reads: Reads, targets: Sequence[MessageKey]) -> None:
        reads.targets = await self._repository.messages.get(targets, content_max=0)

    async def _read_given(self, reads: Reads, reactors: Collection[Reactor]) -> None:
        reads.given = await self._repository.reactions.find(reactors)

    async def _read_taken(self, reads: Reads, keys: Collection[ClientKey]) -> None:
        reads.taken = await self._repository.messages.find(keys)

    async def _read_tallies(self, reads: Reads, targets: Sequence[MessageKey]) -> None:
        found = await self._repository.reactions.tallies(targets)
        for target in targets:
            conversation = reads.conversations[target[0]]
            assert isinstance(conversation, CachedConversation)
            reads.reacted[target] = self._memory.learn(target, conversation, found.get(target, ()))

    # ---- writing

    async def _write(self, turn: ReactTurn) -> bool:
        """Makes the turn durable; whether all of it found what was read. Raises Unavailable: then nobody knows."""
        if not turn.changed:
            return True
        self._invalidation.wrote_conversations({target[0] for target in turn.changed})
        unmarked = [
            AheadSet(*target, reacted.news.by) for target, reacted in turn.changed.items() if not reacted.is_marked
        ]
        try:
            done, _ = await run_all(self._repository.reactions.write(turn.writes()), self._mark(unmarked))
            if done:
                await self._read_first_users(turn.changed.values())
        except BaseException:
            self._doubt(turn)
            raise
        if not done:
            self._doubt(turn)
            self._memory.found.update({target: reacted.news.by for target, reacted in turn.changed.items()})
            return False
        for reacted in turn.changed.values():
            reacted.is_marked = True
        return True

    async def _mark(self, sets: Sequence[AheadSet]) -> bool:
        await self._repository.reactions.mark(sets, [])
        return True

    def _doubt(self, turn: ReactTurn) -> None:
        """What was done of it is to be read."""
        turn.take_back()
        for target in turn.changed:
            self._memory.drop(target)
            self._memory.look_at(target, turn.now_s + self._gather_s)

    async def _read_first_users(self, changed: Iterable[ReactedMessage]) -> None:
        """Who was among the first of a reaction has taken it back: others move up."""
        lacking = [(reacted, reaction) for reacted in changed for reaction in reacted.tally.lacking]
        for start in range(0, len(lacking), AT_ONCE):
            part = lacking[start : start + AT_ONCE]
            spans = (ReactionSpan(*reacted.target, reaction, limit=FIRST_USERS) for reacted, reaction in part)
            pages = await run_all(*(self._repository.reactions.page(span) for span in spans))
            for (reacted, reaction), page in zip(part, pages, strict=True):
                reacted.tally.learn(reaction, [each.user for each in page])
