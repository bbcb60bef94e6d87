"""Announces reactions: what is to be done now about messages whose sets may be ahead of the log.

    it is recalled, or gone            its set is removed, in steps
    the log says what is in the set    that is noted, once nothing has come for LINGER_S; until then: later
    told less than `gather_s` ago      it is looked at later
    else                               one entry that tells what came and went, and what is there as it gets its number

Guarantees: what fails is looked at again, and read before. What is done for many messages is done together.
Does not know: acts, when what is due comes here (store.py), how an entry is told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Final

from protos.tidings.internal.v1 import storage_pb2
from services.common.clock import Clock
from services.common.rpc.faults import from_fault
from services.common.scope import run_all
from services.common.telemetry import logs, metrics
from services.storage.messages.acts import ReactionsNow
from services.storage.messages.conversations import ConversationStore
from services.storage.messages.jobs import OwnChange, OwnOutcome
from services.storage.reactions.memory import ReactedMessages
from services.storage.reactions.message import ReactedMessage, Told, announced_in, is_recalled
from services.storage.reactions.news import REACTED_MAX, News
from services.storage.reactions.turn import Reads
from services.storage.repository.contract import Repository
from services.storage.repository.reactions import ReactionSpan
from services.storage.repository.records import MessageKey, StoredMessage
from services.storage.telling.port import Teller, tell_item
from tidings_protocol import client_pb2
from tidings_protocol.content import OWN_PREFIX
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import new_id

StoreOutcome = storage_pb2.StoreOutcome

# So long a set stays noted as ahead of the log after an entry: another reaction may come.
LINGER_S: Final = 5.0
# Reactions of one message that are removed at once.
REMOVE_STEP: Final = 1000
# Messages for which something is read or removed at the same time.
AT_ONCE: Final = 16

log = logs.get_logger(__name__)


class Step(Enum):
    """What is to be done now about a message."""

    REMOVE = "remove its set"
    REST = "note that the log says all"
    ANNOUNCE = "announce"
    LATER = "nothing"


class Announcer:
    def __init__(
        self,
        repository: Repository,
        conversations: ConversationStore,
        teller: Teller,
        memory: ReactedMessages,
        clock: Clock,
        gather_s: float,
    ) -> None:
        self._repository = repository
        self._conversations = conversations
        self._teller = teller
        self._memory = memory
        self._clock = clock
        self._gather_s = gather_s

    async def announce(
        self, reads: Reads, acted: Iterable[MessageKey], due: Mapping[MessageKey, bool]
    ) -> dict[MessageKey, Told | TidingsError]:
        """Announces what is to be announced now; the entries by target, or why there is none. The rest is looked at
        later. `acted`: messages on which somebody has acted; `due`: those whose time has come, and whether it is their
        last. Raises nothing.
        """
        steps: dict[Step, list[ReactedMessage]] = {step: [] for step in Step}
        for target in dict.fromkeys([*acted, *due]):
            reacted = reads.reacted.get(target)
            if reacted is not None:
                steps[self._step(reacted, reads.targets.get(target), due.get(target))].append(reacted)
        await self._end([*steps[Step.REST], *await self._each(steps[Step.REMOVE], self._remove)])
        ready = [reacted for reacted in steps[Step.ANNOUNCE] if reacted.news.by]
        unknown = [reacted for reacted in steps[Step.ANNOUNCE] if not reacted.news.by]

        async def find(reacted: ReactedMessage) -> bool:
            return await self._find_news(reacted, reads.targets[reacted.target])

        ready += await self._each(unknown, find)
        return await self._put_into_log(ready) if ready else {}

    def tell(self, entries: Mapping[MessageKey, Told | TidingsError], answered: Iterable[MessageKey]) -> None:
        """Has those entries told that no request is answered with."""
        at_once = set(answered)
        items = [
            tell_item(target[0], told.outcome, told.recipients)
            for target, told in entries.items()
            if isinstance(told, Told) and target not in at_once
        ]
        if items:
            self._teller.tell(items)
        metrics.REACTIONS_ANNOUNCED.labels("at once").inc(len(at_once))
        metrics.REACTIONS_ANNOUNCED.labels("gathered").inc(len(items))

    def _step(self, reacted: ReactedMessage, message: StoredMessage | None, at_last: bool | None) -> Step:
        """What is to be done now; if nothing, it is looked at later, or never again. `at_last`: None if it was not
        due.
        """
        target, now_s = reacted.target, self._clock.now_s()
        if message is None or is_recalled(message, self._clock.wall_ms()):
            self._memory.drop(target)
            return Step.REMOVE
        if reacted.is_ahead(message):
            wanted_s = reacted.announced_s + self._gather_s
            if now_s >= wanted_s or at_last:
                return Step.ANNOUNCE
        elif reacted.is_marked or target in self._memory.found:
            wanted_s = reacted.announced_s + LINGER_S
            if at_last or (now_s >= wanted_s and at_last is not None):
                return Step.REST
        else:
            return Step.LATER
        self._memory.look_at(target, max(wanted_s, now_s))
        return Step.LATER

    async def _each(
        self, those: Sequence[ReactedMessage], work: Callable[[ReactedMessage], Awaitable[bool]]
    ) -> list[ReactedMessage]:
        """Does it for each of these; those for which it is done. What fails is put off."""

        async def one(reacted: ReactedMessage) -> bool:
            try:
                return await work(reacted)
            except TidingsError as error:
                self._put_off(reacted, error)
                return False

        done: list[ReactedMessage] = []
        for start in range(0, len(those), AT_ONCE):
            part = those[start : start + AT_ONCE]
            outcomes = await run_all(*(one(reacted) for reacted in part))
            done += [reacted for reacted, is_done in zip(part, outcomes, strict=True) if is_done]
        return done

    # ---- entries

    async def _put_into_log(self, ready: Sequence[ReactedMessage]) -> dict[MessageKey, Told | TidingsError]:
        outcomes = await self._conversations.make([_entry_of(each) for each in ready])
        return {
            reacted.target: self._accept(reacted, outcome) for reacted, outcome in zip(ready, outcomes, strict=True)
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
        self._memory.look_at(reacted.target, now_s + min(self._gather_s, LINGER_S))
        return told

    def _put_off(self, reacted: ReactedMessage, error: TidingsError) -> TidingsError:
        """Nobody knows whether it is done: what is there is read again, and compared."""
        log.debug("an announcement of reactions is put off", reason=error.message)
        self._memory.drop(reacted.target)
        if reacted.news.by:
            self._memory.found[reacted.target] = reacted.news.by
        self._memory.look_at(reacted.target, self._clock.now_s() + self._gather_s)
        return error

    async def _find_news(self, reacted: ReactedMessage, message: StoredMessage) -> bool:
        """What another node has gathered, as far as it can be told: the newest reactions beyond those that the log has
        announced, and who acted.
        """
        span = ReactionSpan(*reacted.target, limit=REACTED_MAX, newest=True)
        page = await self._repository.reactions.page(span)
        before = sum(each.count for each in announced_in(message))
        more = sum(each.count for each in reacted.tally.shown()) - before
        for each in reversed(page[: max(0, more)]):
            reacted.news.came(each.user, each.reaction)
        if not reacted.news.by:
            reacted.news.by = self._memory.found.get(reacted.target) or (page[0].user if page else message.sender)
        return True

    # ---- when nothing is to be announced

    async def _remove(self, reacted: ReactedMessage) -> bool:
        """The message is recalled or gone: so is a step of its set. Whether all of it is."""
        conversation, seq = target = reacted.target
        removed = await self._repository.reactions.remove(conversation, seq, seq + 1, REMOVE_STEP)
        if removed >= REMOVE_STEP:
            self._memory.look_at(target, self._clock.now_s())
        return removed < REMOVE_STEP

    async def _end(self, those: Sequence[ReactedMessage]) -> None:
        """Their sets are not ahead of the log: that is noted."""
        if not those:
            return
        try:
            await self._repository.reactions.mark([], [each.target for each in those])
        except TidingsError as error:
            for reacted in those:
                self._put_off(reacted, error)
            return
        for reacted in those:
            reacted.is_marked, reacted.news = False, News()
            self._memory.found.pop(reacted.target, None)


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
