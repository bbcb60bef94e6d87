"""Reactions to messages: sets that are durable when they are answered, and that entries of the log announce.

    acts ──▶ the lane: read ──▶ judge (turn.py) ──▶ write the set, note that it is ahead of the log
                 └─▶ announce at once what had no entry for `gather_s`; the rest is due later, by this node's clock
    due  ──▶ the lane: announce ──▶ told to the recipients by a logic node, since no request waits for it
    noted by a node that is gone ──▶ due now, at whoever owns the conversation

A post that very many people react to so makes one entry each `gather_s`. What an entry says of counts is what is there
when it gets its number.

Guarantees: what is answered as STORED is in the set, on a majority, and the set is noted as ahead of the log until an
entry has announced it. Counts that another writer has made wrong are read again, and announced as they are. Whoever
owns a conversation next announces what was gathered, without being asked for anything there. The set of a message that
is recalled or gone is removed.
Does not know: the wire, who may react (logic says it), how an entry is told.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from protos.tidings.internal.v1 import logic_pb2, storage_pb2
from services.common.clock import Clock
from services.common.lanes.lane import Lanes
from services.common.rpc.faults import from_fault, to_fault
from services.common.scope import run_all
from services.common.telemetry import logs, metrics
from services.storage.limits import TRIES_MAX, Limits
from services.storage.memory.cache import Cache
from services.storage.memory.conversation import CachedConversation
from services.storage.messages.acts import ReactionsNow
from services.storage.messages.conversations import ConversationStore
from services.storage.messages.jobs import OwnChange, OwnOutcome
from services.storage.owners.invalidation import OwnerInvalidation
from services.storage.reactions.due import DueTimes
from services.storage.reactions.message import ReactedMessage, Told, announced_in, is_recalled
from services.storage.reactions.news import REACTED_MAX, News
from services.storage.reactions.pace import ActPace
from services.storage.reactions.tally import Tally
from services.storage.reactions.turn import ReactAct, ReactTurn, Reads
from services.storage.repository.contract import Repository
from services.storage.repository.reactions import FIRST_USERS, AheadSet, ReactionSpan, Reactor, StoredReaction
from services.storage.repository.records import ClientKey, MessageKey, StoredMessage
from services.storage.telling.port import Teller
from tidings_protocol import client_pb2
from tidings_protocol.content import OWN_PREFIX
from tidings_protocol.errors import Blame, Forbidden, NotFound, TidingsError, Unavailable
from tidings_protocol.ids import new_id

StoreItem = storage_pb2.StoreItem
StoreOutcome = storage_pb2.StoreOutcome
TellItem = logic_pb2.TellItem

_LANE: Final = 0  # there is one
# Reactions and messages that are kept in memory, by weight: some 0.2 KB each.
WEIGHT_MAX: Final = 100_000
# So long a set stays noted as ahead of the log after an entry: another reaction may come.
LINGER_S: Final = 5.0
# How often this node looks for what nodes that are gone have gathered, besides when the ring changes.
LOOK_S: Final = 30.0
LOOK_PAGE: Final = 500
# Reactions of one message that are removed at once.
REMOVE_STEP: Final = 1000
# What is due is looked for no more often, and so much of it is looked at together.
TICK_S: Final = 0.02
DUE_MAX: Final = 1000

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
        self._teller = teller
        self._clock = clock
        self._gather_s = limits.reaction_gather_s
        self._kept: Cache[ReactedMessage] = Cache(WEIGHT_MAX, attrgetter("weight"))
        self._pace = ActPace()
        self._due = DueTimes()
        self._found: dict[MessageKey, str] = {}  # noted as ahead before they were read last: who acted
        self._news = asyncio.Event()
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
        return len(self._due)

    async def react(self, items: Sequence[StoreItem]) -> list[StoreOutcome | TidingsError]:
        """Does these; outcomes are aligned with the items, errors are an item's own: Unavailable says that it may be
        done.

        If this is cancelled, they are done all the same.
        """
        outcomes = await self.lanes.submit_all([(_LANE, item) for item in items])
        return [each if isinstance(each, StoreOutcome | TidingsError) else _lost() for each in outcomes]

    def forget(self, targets: Iterable[MessageKey]) -> None:
        """These messages are recalled, or changed otherwise by who has noted it (`AheadSet`): they are looked at now,
        and their sets are removed if need be.
        """
        for target in targets:
            self._look_at(target, self._clock.now_s())

    def ring_changed(self) -> None:
        """Others may have left something in what this node owns now."""
        self._look.set()

    # ---- by time

    async def run(self) -> None:
        """Announces what is due, until it is cancelled."""
        while True:
            await self._news.wait()
            earliest = self._due.earliest
            if earliest is None:
                self._news.clear()
                continue
            wait_s = earliest - self._clock.now_s()
            if wait_s > 0:
                # A message may become due earlier meanwhile, but not sooner than this.
                await asyncio.sleep(min(wait_s, max(self._gather_s / 4, TICK_S)))
                continue
            await self.announce()
            await asyncio.sleep(TICK_S)

    async def announce(self, *, at_last: bool = False) -> None:
        """Looks at what is due now; `at_last`: at all that will be."""
        now_s = self._clock.now_s()
        due = self._due.take(math.inf if at_last else now_s, DUE_MAX)
        works = [(_LANE, Due(target, at_last)) for target in due]
        for target, outcome in zip(due, await self.lanes.submit_all(works), strict=True):
            if isinstance(outcome, TidingsError) and not at_last:
                self._look_at(target, now_s + self._gather_s)

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
                if each.target not in self._due and self._conversations.memory.is_owner(each.conversation):
                    self._found[each.target] = each.user
                    self._look_at(each.target, self._clock.now_s())
            last = page[-1].target

    def _look_at(self, target: MessageKey, at_s: float) -> None:
        self._due.put(target, at_s)
        self._news.set()

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
                outcomes[index] = _refused(error)
        turn = await self._do(list(acts.values()), due)
        reads = turn.reads
        # From here on nothing fails what is durable: what cannot be announced now is due later.
        entries = await self._announce(reads, [act for act in acts.values() if act.is_done], due)
        states: dict[MessageKey, bytes] = {}
        for index, act in acts.items():
            outcomes[index] = _outcome(act, reads, entries.get(act.target), states, turn.now_ms)
        self._tell(acts.values(), entries)
        _count(acts.values())
        return outcomes

    async def _do(self, acts: Sequence[ReactAct], due: Iterable[MessageKey]) -> ReactTurn:
        """Judges the acts and makes them durable. Raises Unavailable: then nobody knows."""
        for _ in range(TRIES_MAX):
            turn = ReactTurn(await self._read(acts, due), self._pace, self._clock.now_s(), self._clock.wall_ms())
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
        warm = {target: reacted for target in known if (reacted := self._trusted(target, conversations)) is not None}
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
            reacted = ReactedMessage(conversation, Tally(target, found.get(target, ())))
            before = self._kept.peek(_key(target))
            if before is not None:
                reacted.take_over(before)
                if before.is_marked:
                    # Another node may have taken the note away: the next act makes it again.
                    self._found.setdefault(target, before.news.by)
            reads.reacted[target] = reacted
            self._kept.put(_key(target), reacted)

    def _trusted(
        self, target: MessageKey, conversations: Mapping[str, CachedConversation | TidingsError]
    ) -> ReactedMessage | None:
        """The message as it is in memory, unless that is in doubt."""
        reacted = self._kept.get(_key(target))
        return reacted if reacted is not None and reacted.conversation is conversations[target[0]] else None

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
            self._found.update({target: reacted.news.by for target, reacted in turn.changed.items()})
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
            self._kept.drop(_key(target))
            self._look_at(target, turn.now_s + self._gather_s)

    async def _read_first_users(self, changed: Iterable[ReactedMessage]) -> None:
        """Who was among the first of a reaction has taken it back: others move up."""
        for reacted in changed:
            for reaction in reacted.tally.lacking:
                span = ReactionSpan(*reacted.target, reaction, limit=FIRST_USERS)
                page = await self._repository.reactions.page(span)
                reacted.tally.learn(reaction, [each.user for each in page])

    # ---- announcing

    async def _announce(
        self, reads: Reads, acts: Sequence[ReactAct], due: Mapping[MessageKey, bool]
    ) -> dict[MessageKey, Told | TidingsError]:
        """Announces what is to be announced now; the entries by target, or why there is none. The rest is looked at
        later. Raises nothing.
        """
        ready: dict[MessageKey, ReactedMessage] = {}
        for target in dict.fromkeys([*(act.target for act in acts), *due]):
            reacted = reads.reacted.get(target)
            if reacted is None:
                continue
            try:
                if await self._is_ready(reacted, reads.targets.get(target), due.get(target)):
                    ready[target] = reacted
            except TidingsError as error:
                self._put_off(reacted, error)
        return await self._put_into_log(ready) if ready else {}

    async def _is_ready(self, reacted: ReactedMessage, message: StoredMessage | None, at_last: bool | None) -> bool:
        """Whether it is to be announced now. If not, it is looked at later, or never again. `at_last`: None if it was
        not due.
        """
        now_s = self._clock.now_s()
        if message is None or is_recalled(message, self._clock.wall_ms()):
            await self._remove(reacted)
            return False
        if not reacted.is_ahead(message):
            await self._rest(reacted, now_s, at_last)
            return False
        if now_s < reacted.announced_s + self._gather_s and not at_last:
            self._look_at(reacted.target, reacted.announced_s + self._gather_s)
            return False
        if not reacted.news.by:
            await self._find_news(reacted, message)
        return True

    async def _put_into_log(self, ready: Mapping[MessageKey, ReactedMessage]) -> dict[MessageKey, Told | TidingsError]:
        outcomes = await self._conversations.make([_entry_of(each) for each in ready.values()])
        return {
            target: self._accept(reacted, outcome)
            for (target, reacted), outcome in zip(ready.items(), outcomes, strict=True)
        }

    def _accept(self, reacted: ReactedMessage, made: OwnOutcome | TidingsError) -> Told | TidingsError:
        """Takes what became of an entry."""
        if isinstance(made, TidingsError):
            return self._put_off(reacted, made)
        outcome = made.outcome
        if outcome.status != StoreOutcome.STORED or not outcome.seq:
            return self._put_off(reacted, from_fault(outcome.fault))
        now_s = self._clock.now_s()
        acts = list(reacted.news.acts)
        told = Told(outcome, made.recipients, frozenset(acts), acts[-1] if acts else ("", ""))
        reacted.told, reacted.news, reacted.announced_s = told, News(), now_s
        # Whether another writer came in between shows then.
        self._look_at(reacted.target, now_s + min(self._gather_s, LINGER_S))
        return told

    def _put_off(self, reacted: ReactedMessage, error: TidingsError) -> TidingsError:
        """Nobody knows whether it is in the log: what is there is read again, and compared."""
        log.debug("an announcement of reactions is put off", reason=error.message)
        self._kept.drop(_key(reacted.target))
        if reacted.news.by:
            self._found[reacted.target] = reacted.news.by
        self._look_at(reacted.target, self._clock.now_s() + self._gather_s)
        return error

    async def _find_news(self, reacted: ReactedMessage, message: StoredMessage) -> None:
        """What another node has gathered, as far as it can be told: the newest reactions beyond those that the log has
        announced, and who acted.
        """
        span = ReactionSpan(*reacted.target, limit=REACTED_MAX, newest=True)
        page = await self._repository.reactions.page(span)
        before = sum(each.count for each in announced_in(message))
        more = sum(each.count for each in reacted.tally.shown()) - before
        newest: Sequence[StoredReaction] = page[: max(0, more)]
        for each in reversed(newest):
            reacted.news.came(each.user, each.reaction)
        if not reacted.news.by:
            reacted.news.by = self._found.get(reacted.target) or (page[0].user if page else message.sender)

    def _tell(self, acts: Iterable[ReactAct], entries: Mapping[MessageKey, Told | TidingsError]) -> None:
        """Has those entries told that no request is answered with."""
        answered = {act.target for act in acts if _is_answered_with(act, entries.get(act.target))}
        items = [
            TellItem(
                conversation=target[0],
                message=told.outcome.message,
                recipients=told.recipients,
                numbers=told.outcome.numbers,
                stubs=told.outcome.stubs,
            )
            for target, told in entries.items()
            if isinstance(told, Told) and target not in answered
        ]
        if items:
            self._teller.tell(items)
        metrics.REACTIONS_ANNOUNCED.labels("at once").inc(len(answered))
        metrics.REACTIONS_ANNOUNCED.labels("gathered").inc(len(items))

    # ---- when nothing is to be announced

    async def _rest(self, reacted: ReactedMessage, now_s: float, at_last: bool | None) -> None:
        """The log has announced all: that is noted, once nothing has come for a while."""
        if not reacted.is_marked and reacted.target not in self._found:
            return
        rest_s = reacted.announced_s + LINGER_S
        if at_last is None or (now_s < rest_s and not at_last):
            self._look_at(reacted.target, max(rest_s, now_s))
            return
        reacted.is_marked, reacted.news = False, News()
        self._found.pop(reacted.target, None)
        await self._repository.reactions.mark([], [reacted.target])

    async def _remove(self, reacted: ReactedMessage) -> None:
        """The message is recalled or gone: so is its set, in steps."""
        conversation, seq = target = reacted.target
        self._kept.drop(_key(target))
        removed = await self._repository.reactions.remove(conversation, seq, seq + 1, REMOVE_STEP)
        if removed >= REMOVE_STEP:
            self._look_at(target, self._clock.now_s())
            return
        self._found.pop(target, None)
        await self._repository.reactions.mark([], [target])


def _entry_of(reacted: ReactedMessage) -> OwnChange:
    """What announces the reactions to a message; what it says is asked for when it gets its number."""
    conversation, seq = reacted.target
    change = client_pb2.Change(seq=seq, reacted=client_pb2.Change.Reacted())
    return OwnChange(
        conversation,
        reacted.news.by,
        OWN_PREFIX + new_id(),
        change,
        lambda: ReactionsNow(reacted.news.reacted(), reacted.tally.shown()),
    )


# ---- outcomes


def _outcome(
    act: ReactAct,
    reads: Reads,
    entry: Told | TidingsError | None,
    states: dict[MessageKey, bytes],
    now_ms: int,
) -> StoreOutcome | TidingsError:
    """What an act is answered with. `entry`: that this turn made of its message; `states`: of messages that others were
    answered with.
    """
    if act.is_stale:
        return StoreOutcome(status=StoreOutcome.STALE)
    if act.error is not None:
        return _refused(act.error)
    if isinstance(entry, Forbidden | NotFound):
        return _refused(entry)
    if _is_answered_with(act, entry):
        assert isinstance(entry, Told)
        return _told(entry, act.item.recipients, StoreOutcome.STORED)
    reacted = reads.reacted[act.target]
    if not act.changed and reacted.told is not None and act.pair in reacted.told.acts:
        return _told(reacted.told, act.item.recipients, StoreOutcome.DUPLICATE)
    if act.target not in states:
        states[act.target] = reacted.state(reads.targets[act.target], now_ms)
    return StoreOutcome(time_ms=now_ms, state=states[act.target])


def _is_answered_with(act: ReactAct, entry: Told | TidingsError | None) -> bool:
    """Whether the act is the one that is answered with the entry: the last of those that it tells of."""
    return isinstance(entry, Told) and act.changed and act.pair == entry.last


def _told(told: Told, recipients: Sequence[str], status: StoreOutcome.Status.ValueType) -> StoreOutcome:
    """An entry as the outcome of an act, whose item has these recipients."""
    numbers = dict(zip(told.recipients, told.outcome.numbers, strict=False))
    outcome = StoreOutcome()
    outcome.CopyFrom(told.outcome)
    outcome.status = status
    outcome.numbers[:] = [numbers.get(user, 0) for user in recipients]
    return outcome


def _refused(error: TidingsError) -> StoreOutcome | TidingsError:
    """Who asked is told what forbids it; an error that may pass stays what it is."""
    if error.blame is not Blame.CALLER:
        return error
    return StoreOutcome(status=StoreOutcome.REFUSED, fault=to_fault(error))


def _lost() -> TidingsError:
    return Unavailable("this was not done: try again")


def _key(target: MessageKey) -> str:
    return f"{target[0]} {target[1]}"


def _count(acts: Iterable[ReactAct]) -> None:
    for outcome, number in Counter(map(_label, acts)).items():
        metrics.REACTIONS.labels(outcome).inc(number)


def _label(act: ReactAct) -> str:
    if not act.is_done:
        return "refused"
    if not act.changed:
        return "unchanged"
    return "removed" if act.removes else "added"
