"""One round of a lane: messages and changes of many conversations, into the repository with as few commands as there
are kinds of documents.

    targets ─▶ number ─▶ insert all messages ─▶ make the changes whose notices are in ─▶ inbox entries ─▶ RoundResult
                                             └▶ fold CHANGEs into their targets ──────────────────────┘

Guarantees: an outcome says STORED or DONE only when everything that follows from the message or change is durable, and
DUPLICATE only of a message that is settled in the conversation in memory (`CachedConversation.has_settled`): that a
message is there says nothing about the inboxes. If anything fails or is unknown, the result says that the conversation
is to be dropped from memory, so that its next load settles it.
Does not know: lanes, caches, who asked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from protos.tidings.internal.v1 import storage_pb2
from services.common.clock import Clock
from services.common.telemetry import metrics
from services.storage.folding.hiders import Audience, Hiders, NoHiders
from services.storage.folding.texts import NoStreamTexts, StreamTexts
from services.storage.folding.writer import Changed, FoldWriter
from services.storage.inboxes.fanout import InboxFanout
from services.storage.inboxes.numbering import Append
from services.storage.limits import TRIES_MAX, Limits
from services.storage.loading.duplicates import RecentSends, other_use
from services.storage.loading.loader import ConversationLoader
from services.storage.memory.conversation import CachedConversation
from services.storage.memory.stream_watch import NoStreams, StreamWatch
from services.storage.messages.acts import Rules
from services.storage.messages.group_writer import GroupWriter
from services.storage.messages.jobs import IS_IN, ChangeJob, OwnChange, OwnOutcome, StoreJob, stubs_among, unsure
from services.storage.messages.naming import Naming
from services.storage.messages.numbering import MessageDraft, NumberingBatch, Status, is_blocked, message_of
from services.storage.messages.pacing import Pacing
from services.storage.messages.round_result import RoundResult
from services.storage.messages.targets import Targets
from services.storage.repository.contract import Conflict, Repository
from services.storage.repository.records import CHANGE, SYSTEM, ClientKey, MessageKey, PinList
from tidings_protocol.errors import TidingsError, Unavailable

StoreItem = storage_pb2.StoreItem
ChangeItem = storage_pb2.ChangeItem


@dataclass(frozen=True, slots=True)
class RoundPorts:
    """What all rounds of a node work with. `texts`: of streams; `hiders`: who is to get stubs; `streams`: who
    keeps an eye on these.
    """

    repository: Repository
    loader: ConversationLoader
    groups: GroupWriter
    pacing: Pacing
    fanout: InboxFanout
    recent: RecentSends
    clock: Clock
    limits: Limits
    folds: FoldWriter
    texts: StreamTexts = field(default_factory=NoStreamTexts)
    hiders: Hiders = field(default_factory=NoHiders)
    streams: StreamWatch = field(default_factory=NoStreams)


class WriteRound:
    """Make one, give it items, `run` it."""

    def __init__(self, ports: RoundPorts) -> None:
        self._ports = ports
        self._stores: dict[int, StoreJob] = {}
        self._changes: dict[str, ChangeJob] = {}
        self._drafts: list[MessageDraft] = []
        self._result = RoundResult()
        self._now_ms = ports.clock.wall_ms()
        self._naming = Naming(ports.repository, ports.loader.documents)

    def __bool__(self) -> bool:
        """Whether there is something to do."""
        return bool(self._stores or self._changes)

    @property
    def conversations(self) -> set[str]:
        """The ids of the conversations that it writes to."""
        return {*self._changes, *(job.draft.key.conversation for job in self._stores.values())}

    def add(self, index: int, item: StoreItem | OwnChange | ChangeItem, conversation: CachedConversation) -> bool:
        """Whether the item is part of this round. Not, if a change of its conversation is in already: what comes after
        a change is decided on what the change made, in the next round. Quiet joins go together.
        """
        job = self._changes.get(conversation.id)
        if isinstance(item, StoreItem | OwnChange):
            if job is None:
                self._stores[index] = StoreJob.of(item, conversation)
            return job is None
        if job is None:
            self._changes[conversation.id] = ChangeJob(conversation, [index], [item])
            return True
        if not job.can_take(item):
            return False
        job.add(index, item)
        return True

    async def run(self) -> RoundResult:
        """Does everything; what was added has its outcome, also if the repository fails. Once only.

        If this is cancelled, or a defect is raised, nothing is known of the conversations: forget them.
        """
        self._drafts = [job.draft for job in self._stores.values()]
        for change in self._changes.values():
            self._drafts += change.draft_notices()
        try:
            await self._create()
            await self._submit()
            await self._ports.pacing.keep(self._drafts)
            await self._ports.groups.write(list(self._changes.values()), self._result)
            await self._deliver()
            await self._find_hiders()
        except TidingsError as error:
            self._give_up(error)
        else:
            self._conclude()
        return self._result

    async def _create(self) -> None:
        """Creates what direct chats and b:all need before their first message."""
        new = {
            job.draft.conversation.id: job.draft.conversation
            for job in self._stores.values()
            if not (job.draft.conversation.exists or job.draft.version or job.draft.is_change or is_blocked(job.draft))
        }
        direct = [conversation for conversation in new.values() if conversation.id[0] != "g"]
        if direct:
            await self._ports.loader.documents.create(direct)

    async def _submit(self) -> None:
        rules = Rules(self._ports.texts, self._ports.limits.keeps_edit_history, self._ports.streams.has_room)
        batch = NumberingBatch(self._drafts, self._ports.recent, self._now_ms, rules)
        await self._naming.find_mentioned(self._drafts)
        deadline = self._ports.clock.now_s() + self._ports.limits.store_budget_s
        for _ in range(TRIES_MAX):
            await self._naming.find_targets(batch)
            await self._ports.pacing.learn(batch.open)
            messages = batch.plan()
            if not messages:
                break
            try:
                inserted = await self._ports.repository.messages.insert(messages)
            except Unavailable:
                # Whether it was done is unknown: what is there is read before anything else is written.
                batch.doubt()
                if self._ports.clock.now_s() >= deadline:
                    raise
                await self._look_again(batch, {message.conversation for message in messages})
                continue
            batch.committed(inserted.done)
            if inserted.conflict is not None:
                if inserted.conflict is Conflict.NUMBER:
                    metrics.FENCED.inc()
                # Nothing after the conflict was tried: the next plan has it again, behind the head that is loaded now.
                await self._look_again(batch, {messages[inserted.done].conversation})
        for draft in batch.open:
            draft.status = Status.FAILED
            draft.error = Unavailable("too many writers of this conversation: try again")
        await self._find_first_tries(batch)
        await self._fold(batch.targets)
        await self._tell_streams()

    async def _tell_streams(self) -> None:
        """Has an eye kept on streams that begin, and on those that may have ended."""
        stored = [draft for draft in self._drafts if draft.status is Status.STORED]
        begun = [message_of(draft) for draft in stored if draft.special is not None and draft.special.streaming]
        if begun:
            await self._ports.streams.begun(begun)
        if changed := [(draft.key.conversation, draft.act.seq) for draft in stored if draft.act is not None]:
            self._ports.streams.changed(changed)

    async def _fold(self, targets: Targets) -> None:
        """Writes what the CHANGEs that are in have made of their targets, and of what is pinned."""
        done = [draft for draft in self._drafts if draft.act is not None and draft.status is Status.STORED]
        changed: dict[MessageKey, Changed] = {}
        pinned: dict[str, PinList] = {}
        for draft in done:
            assert draft.act is not None
            assert draft.act.planned is not None
            key = draft.key.conversation, draft.act.seq
            before, after = targets.in_database(key), targets.at(key)
            if before is not None and after is not None:  # else it was loaded again meanwhile, and so folded
                changed[key] = Changed(before, after)
            if draft.act.planned.pinned is not None:
                document = draft.conversation.document
                pinned[document.conversation] = PinList(document.conversation, document.pinned, document.pinned_at)
        if done:
            await self._ports.folds.write(list(changed.values()), list(pinned.values()))

    async def _look_again(self, batch: NumberingBatch, ids: Collection[str]) -> None:
        """Learns what others have written there, and which open drafts are in already, in whatever conversation."""
        await self._load_again(batch, ids)
        found = await self._ports.repository.messages.find({draft.key for draft in batch.open})
        # Whoever wrote those may have died before anything followed from them: a load settles them.
        unsettled = {
            draft.conversation.id
            for draft in batch.open
            if (first := found.get(draft.key)) is not None and not draft.conversation.has_settled(first.seq)
        }
        if unsettled:
            await self._load_again(batch, unsettled)
        batch.resolve(found)

    async def _load_again(self, batch: NumberingBatch, ids: Collection[str]) -> None:
        """Loads these conversations as they are now, settled; the drafts of one that cannot be had fail."""
        for key, conversation in (await self._ports.loader.load(ids)).items():
            if isinstance(conversation, TidingsError):
                self._result.drop(key)
                batch.fail(key, conversation)
                continue
            self._result.keep(conversation)
            batch.reload(conversation)
            if (job := self._changes.get(key)) is not None:
                job.conversation = conversation
        for store in self._stores.values():
            store.reload()

    async def _find_first_tries(self, batch: NumberingBatch) -> None:
        """Finds what earlier tries of these drafts have made: duplicates in full, and changes that look stale.

        A change that was made by an earlier try has raised the version of its group, so that the version which the
        repeat was decided on is stale. Only its notices tell the two apart: if the first one is there, the change was
        made, and the repeat is answered as what it is. A message that looks stale needs no such look: whoever sent it
        decides again on the version of now, and then its client id tells. What a target refuses now it may have allowed
        the first time.
        """
        doubtful = {
            notice.draft.key: notice.draft
            for job in self._changes.values()
            for notice in job.notices
            if notice.draft.status is Status.STALE
        }
        doubtful |= {draft.key: draft for draft in self._drafts if draft.status in {Status.REFUSED, Status.NO_EFFECT}}
        if doubtful:
            await self._find_made(batch, doubtful)
        await self._find_first(batch)

    async def _find_first(self, batch: NumberingBatch) -> None:
        """Finds what duplicates repeat. The recent sends know only the seq; who sent it wants the content and the time
        of the first, and of a change what its target is now.
        """
        repeats = [draft for draft in self._drafts if draft.status is Status.DUPLICATE]
        known = [draft for draft in repeats if draft.first is None]
        if known:
            found = await self._ports.repository.messages.get([(draft.key.conversation, draft.seq) for draft in known])
            for draft in known:
                # Retention may have removed it: then the seq alone is what can be said.
                draft.first = found.get((draft.key.conversation, draft.seq))
                draft.time_ms = draft.first.time_ms if draft.first else 0
        for draft in repeats:
            if draft.first is not None and draft.is_change != (draft.first.kind == CHANGE):
                draft.status, draft.error = Status.REFUSED, other_use(draft.first)
        await self._naming.find_changed([draft for draft in repeats if draft.status is Status.DUPLICATE], batch.targets)

    async def _find_made(self, batch: NumberingBatch, doubtful: Mapping[ClientKey, MessageDraft]) -> None:
        """Finds what is in by an earlier try, perhaps by a writer of whom memory knows nothing."""
        found = await self._ports.repository.messages.find(doubtful.keys())
        unsettled = {
            key.conversation for key, first in found.items() if not doubtful[key].conversation.has_settled(first.seq)
        }
        if unsettled:
            await self._load_again(batch, unsettled)
        for key, first in found.items():
            draft = doubtful[key]
            if not draft.repeats(first):
                draft.status, draft.error = Status.FAILED, _unsettled()

    async def _deliver(self) -> None:
        """Appends the inbox entries of all that is stored, in the order of the messages."""
        jobs = [
            job
            for job in (*self._stores.values(), *(each for job in self._changes.values() for each in job.notices))
            if job.draft.status in IS_IN
        ]
        appends: list[Append] = []
        for job in jobs:
            key, seq, time_ms = job.draft.key, job.draft.seq, job.draft.time_ms
            if job.draft.status is Status.STORED:
                quiet = job.draft.is_change
                appends += [Append(user, key.conversation, seq, time_ms, quiet=quiet) for user in job.recipients]
            else:
                # All that follows from it is there. Its sender wants the number even if that is long ago.
                appends += [
                    Append(user, key.conversation, seq, time_ms, user == key.sender, only_look=True)
                    for user in job.recipients
                ]
        numbers = await self._ports.fanout.append(appends)
        start = 0
        for job in jobs:
            end = start + len(job.recipients)
            job.accept(numbers[start:end])
            start = end

    async def _find_hiders(self) -> None:
        """Finds who gets a stub of a CHANGE: who has hidden its target, or may not read it. Makes what all others are
        told.
        """
        changes = [job for job in self._stores.values() if job.draft.act is not None and job.draft.status in IS_IN]
        audiences = [
            Audience((job.draft.key.conversation, job.draft.act.seq), job.recipients)
            for job in changes
            if job.draft.act is not None
        ]
        if audiences:
            for job, audience, hiders in zip(
                changes, audiences, await self._ports.hiders.among(audiences), strict=True
            ):
                job.stubs = stubs_among(audience, hiders, job.draft.conversation)
        for job in self._stores.values():
            job.tell(self._now_ms)

    def _give_up(self, error: TidingsError) -> None:
        """Fails everything, since nothing is known of anything."""
        for draft in self._drafts:
            self._result.drop(draft.conversation.id)
        for job in self._changes.values():
            self._result.drop(job.conversation.id)
            self._result.fail(job.indexes, unsure(error))
        self._result.fail(self._stores, unsure(error))

    def _conclude(self) -> None:
        failed = {draft.key.conversation for draft in self._drafts if draft.status is Status.FAILED}
        failed |= {job.conversation.id for job in self._changes.values() if job.error is not None}
        for key in failed:
            self._result.drop(key)
        touched = {draft.conversation.id: draft.conversation for draft in self._drafts}
        for conversation in touched.values():
            if conversation.id not in failed:
                # All that follows from every message up to here is durable.
                conversation.settled = conversation.head
                self._result.dirty.append(conversation)
        for draft in self._drafts:
            if draft.status is Status.DUPLICATE and not draft.conversation.has_settled(draft.seq):
                # The first one came with this very batch, and what follows from it failed.
                draft.status, draft.error = Status.FAILED, draft.error or _unsettled()
        jobs = (*self._stores.values(), *(each for job in self._changes.values() for each in job.notices))
        self._result.stored += [job.fed() for job in jobs if job.draft.status is Status.STORED]
        self._count()
        for index, store in self._stores.items():
            outcome = store.outcome(self._now_ms)
            self._result.outcomes[index] = OwnOutcome(outcome, store.recipients) if store.draft.is_own else outcome
        for change in self._changes.values():
            for index, item in zip(change.indexes, change.items, strict=True):
                self._result.outcomes[index] = change.outcome(item)

    def _count(self) -> None:
        stored = [draft for draft in self._drafts if draft.status is Status.STORED]
        system = sum(draft.kind == SYSTEM for draft in stored)
        changes = sum(draft.is_change for draft in stored)
        metrics.STORED.labels("normal").inc(len(stored) - system - changes)
        metrics.STORED.labels("system").inc(system)
        metrics.STORED.labels("change").inc(changes)
        metrics.DUPLICATES.inc(sum(draft.status is Status.DUPLICATE for draft in self._drafts))


def _unsettled() -> TidingsError:
    return Unavailable("what follows from this message is not known to be done: send it again")
