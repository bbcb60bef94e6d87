"""One round of a lane: messages and changes of many conversations, into the repository with as few commands as there
are kinds of documents.

    number ──▶ insert all messages ──▶ make the changes whose notices are in ──▶ inbox entries ──▶ outcomes

Guarantees: an outcome says STORED or DONE only when everything that follows from the message or change is durable, and
DUPLICATE only of a message that is settled in the conversation that is in memory (`Conversation.has_settled`): that a
message is there says nothing about the inboxes. If anything fails or is unknown, the conversation is dropped from
memory, so that its next load settles it. OVERLOADED, "nothing was done", is the outcome of nothing here.
Does not know: lanes, caches, who asked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from protos.tidings.internal.v1 import storage_pb2
from services.common.clock import Clock
from services.common.rpc.faults import to_fault
from services.common.telemetry import metrics
from services.storage.inboxes.fanout import Diffusion
from services.storage.inboxes.numbering import Append
from services.storage.limits import TRIES_MAX, Limits
from services.storage.memory.batches import together
from services.storage.memory.conversation import Conversation
from services.storage.messages import membership
from services.storage.messages.changes_made import Made
from services.storage.messages.numbering import Draft, Recent, Status, Submission
from services.storage.messages.recovery import Loader
from services.storage.repository.contract import Conflict, Repository
from services.storage.repository.records import NORMAL, SYSTEM, ClientKey, OpKey
from tidings_protocol.content import notice_client_id
from tidings_protocol.errors import Overloaded, TidingsError, Unavailable

StoreItem = storage_pb2.StoreItem
StoreOutcome = storage_pb2.StoreOutcome
ChangeItem = storage_pb2.ChangeItem
ChangeOutcome = storage_pb2.ChangeOutcome

_STATUS = {
    Status.STORED: StoreOutcome.STORED,
    Status.DUPLICATE: StoreOutcome.DUPLICATE,
    Status.STALE: StoreOutcome.STALE,
    Status.NO_SUCH_TARGET: StoreOutcome.NO_SUCH_REPLY,
    Status.FAILED: StoreOutcome.FAILED,
}
_NOBODY: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Delivery:
    """A draft and who gets it; the numbers are filled in when they are known."""

    draft: Draft
    recipients: Sequence[str]
    numbers: list[int] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class ChangeJob:
    """A change on its way; `items` are several if they can be made as one. `made`: what earlier tries have made."""

    items: list[ChangeItem]
    conversation: Conversation
    notices: list[Delivery] = field(default_factory=list)
    made: dict[OpKey, ChangeItem] = field(default_factory=dict)
    status: ChangeOutcome.Status.ValueType = ChangeOutcome.FAILED
    error: TidingsError | None = None


class Round:
    """What one round has to do. Make one, `run` it, ask for the outcomes."""

    def __init__(
        self,
        repository: Repository,
        loader: Loader,
        diffusion: Diffusion,
        recent: Recent,
        clock: Clock,
        limits: Limits,
        replaced: Callable[[Conversation], None],
        dropped: Callable[[str], None],
        changed: Callable[[Conversation], None],
    ) -> None:
        """`replaced` and `dropped` tell the cache what it has to hold now, `changed` what is to be written behind."""
        self._repository = repository
        self._loader = loader
        self._made = Made(repository)
        self._diffusion = diffusion
        self._recent = recent
        self._clock = clock
        self._limits = limits
        self._replaced = replaced
        self._dropped = dropped
        self._changed = changed
        self._stores: list[Delivery] = []
        self._jobs: list[ChangeJob] = []
        self._drafts: list[Draft] = []

    def store(self, item: StoreItem, conversation: Conversation) -> Delivery:
        draft = Draft(
            conversation,
            ClientKey(conversation.id, item.sender, item.client_id),
            item.content,
            item.kind or NORMAL,
            item.version,
            item.reply_to,
        )
        delivery = Delivery(draft, item.recipients)
        self._stores.append(delivery)
        self._drafts.append(draft)
        return delivery

    def change(self, items: list[ChangeItem], conversation: Conversation) -> ChangeJob:
        job = ChangeJob(items, conversation)
        item = items[0]
        fence: Draft | None = None
        for index, notice in enumerate(item.notices):
            draft = Draft(
                conversation,
                ClientKey(conversation.id, item.actor, notice_client_id(item.op, index)),
                notice.content,
                SYSTEM,
                item.version,
                change=membership.carried(item, index),
                creates=not item.version,
                fence=fence,
            )
            fence = fence or draft
            job.notices.append(Delivery(draft, notice.recipients))
            self._drafts.append(draft)
        self._jobs.append(job)
        return job

    async def run(self) -> None:
        """Raises TidingsError if nothing is known of anything."""
        try:
            await self._create()
            await self._submit()
            await self._change_all()
            await self._deliver()
        except BaseException:
            for draft in self._drafts:
                self._dropped(draft.conversation.id)
            for job in self._jobs:
                self._dropped(job.conversation.id)
            raise

    async def _create(self) -> None:
        """What direct chats and b:all need before their first message."""
        new = {
            delivery.draft.conversation.id: delivery.draft.conversation
            for delivery in self._stores
            if not delivery.draft.conversation.exists and not delivery.draft.version
        }
        direct = [each for each in new.values() if each.id[0] != "g"]
        if direct:
            await self._loader.create(direct)

    async def _submit(self) -> None:
        submission = Submission(self._drafts, self._recent, self._clock.wall_ms())
        deadline = self._clock.now_s() + self._limits.store_budget_s
        for _ in range(TRIES_MAX):
            messages = submission.plan()
            if not messages:
                break
            try:
                inserted = await self._repository.messages.insert(messages)
            except Unavailable:
                # Whether it was done is unknown: what is there is read before anything else is written.
                if self._clock.now_s() >= deadline:
                    raise
                await self._look_again(submission, {message.conversation for message in messages})
                continue
            submission.committed(inserted.done)
            if inserted.conflict is not None:
                if inserted.conflict is Conflict.NUMBER:
                    metrics.FENCED.inc()
                await self._look_again(submission, {messages[inserted.done].conversation})
        for draft in submission.open:
            draft.status = Status.FAILED
            draft.error = Unavailable("too many writers of this conversation: try again")
        await self._find_first_tries(submission)

    async def _look_again(self, submission: Submission, ids: Collection[str]) -> None:
        """What others have written there, and which of the open drafts are in already, in whatever conversation."""
        await self._load_again(submission, ids)
        found = await self._repository.messages.find({draft.key for draft in submission.open})
        # Whoever wrote those may have died before anything followed from them: a load settles them.
        unsettled = {
            draft.conversation.id
            for draft in submission.open
            if (first := found.get(draft.key)) is not None and not draft.conversation.has_settled(first.seq)
        }
        if unsettled:
            await self._load_again(submission, unsettled)
        submission.resolve(found)

    async def _load_again(self, submission: Submission, ids: Collection[str]) -> None:
        """These conversations as they are now, settled; what cannot be had fails."""
        for key, conversation in (await self._loader.load(ids)).items():
            if isinstance(conversation, TidingsError):
                self._dropped(key)
                submission.fail(key, conversation)
                continue
            self._replaced(conversation)
            submission.reload(conversation)
            for job in self._jobs:
                if job.conversation.id == key:
                    job.conversation = conversation

    async def _find_first_tries(self, submission: Submission) -> None:
        """Duplicates in full; and changes whose version is stale because an earlier try has made them."""
        by_key = {
            delivery.draft.key: delivery.draft
            for job in self._jobs
            for delivery in job.notices
            if delivery.draft.status is Status.STALE
        }
        if by_key:
            await self._find_made(submission, by_key)
        known = [draft for draft in self._drafts if draft.status is Status.DUPLICATE and draft.first is None]
        if not known:
            return
        found = await self._repository.messages.get([(draft.key.conversation, draft.seq) for draft in known])
        for draft in known:
            draft.first = found.get((draft.key.conversation, draft.seq))
            draft.time_ms = draft.first.time_ms if draft.first else 0

    async def _find_made(self, submission: Submission, stale: Mapping[ClientKey, Draft]) -> None:
        """Notices that are in by an earlier try, perhaps by a writer of whom memory knows nothing."""
        found = await self._repository.messages.find(stale.keys())
        unsettled = {
            key.conversation for key, first in found.items() if not stale[key].conversation.has_settled(first.seq)
        }
        if unsettled:
            await self._load_again(submission, unsettled)
        for key, first in found.items():
            stale[key].repeats(first)

    async def _change_all(self) -> None:
        if not self._jobs:
            return
        await together(*(self._change(job) for job in self._jobs))

    async def _change(self, job: ChangeJob) -> None:
        try:
            await (self._change_fenced(job) if job.notices else self._change_quietly(job))
            if job.status == ChangeOutcome.DONE:
                self._replaced(job.conversation)
        except TidingsError as error:
            job.error = error
            self._dropped(job.conversation.id)

    async def _change_fenced(self, job: ChangeJob) -> None:
        first = job.notices[0].draft
        failed = next((delivery.draft for delivery in job.notices if delivery.draft.status is Status.FAILED), None)
        if failed is not None:
            raise failed.error or Unavailable("this change could not be made: try again")
        if first.status is Status.STALE:
            job.status = ChangeOutcome.STALE
            return
        job.status = ChangeOutcome.DONE
        if first.first is not None:
            job.made[membership.op_of(job.items[0])] = ChangeItem.FromString(first.first.change)
        if job.conversation.document.applied_seq >= first.seq:
            return  # made by an earlier try, or by whoever settled it
        if not await self._loader.apply(job.conversation, job.items[0], notice_seq=first.seq, time_ms=first.time_ms):
            # Another writer changed the group: loading it makes the change, whose notice is there.
            await self._reload(job)

    async def _change_quietly(self, job: ChangeJob) -> None:
        items = {membership.op_of(item): item for item in job.items}
        for _ in range(TRIES_MAX):
            job.made = await self._made.without_notices(items)
            missing = [item for key, item in items.items() if key not in job.made]
            if not missing:
                job.status = ChangeOutcome.DONE
                return
            document, change = job.conversation.document, membership.merged(missing)
            if (document.version if job.conversation.exists else 0) != change.version:
                job.status = ChangeOutcome.STALE
                return
            if change.empties and await self._repository.members.successor(document.conversation, change.removed[0]):
                job.status = ChangeOutcome.STALE  # somebody has joined, who is to own it now
                return
            if await self._loader.apply(job.conversation, change, notice_seq=0, time_ms=self._clock.wall_ms()):
                job.status = ChangeOutcome.DONE
                return
            await self._reload(job)
        raise Unavailable("too many writers change this group: try again")

    async def _reload(self, job: ChangeJob) -> None:
        key = job.conversation.id
        loaded = (await self._loader.load([key]))[key]
        if isinstance(loaded, TidingsError):
            raise loaded
        self._replaced(loaded)
        job.conversation = loaded

    async def _deliver(self) -> None:
        """Inbox entries of all that is stored, in the order of the messages."""
        deliveries = [
            delivery
            for delivery in (*self._stores, *(each for job in self._jobs for each in job.notices))
            if delivery.draft.status in (Status.STORED, Status.DUPLICATE)
        ]
        appends: list[Append] = []
        for delivery in deliveries:
            key, seq, time_ms = delivery.draft.key, delivery.draft.seq, delivery.draft.time_ms
            if delivery.draft.status is Status.STORED:
                appends += [Append(user, key.conversation, seq, time_ms) for user in delivery.recipients]
            else:
                # All that follows from it is there. Its sender wants the number even if that is long ago.
                appends += [
                    Append(user, key.conversation, seq, time_ms, user == key.sender, only_look=True)
                    for user in delivery.recipients
                ]
        numbers = await self._diffusion.append(appends)
        start = 0
        for delivery in deliveries:
            end = start + len(delivery.recipients)
            _take_numbers(delivery, numbers[start:end])
            start = end
        self._finish()

    def _finish(self) -> None:
        failed = {draft.key.conversation for draft in self._drafts if draft.status is Status.FAILED}
        failed |= {job.conversation.id for job in self._jobs if job.error is not None}
        for key in failed:
            self._dropped(key)
        touched = {draft.conversation.id: draft.conversation for draft in self._drafts}
        for conversation in touched.values():
            if conversation.id not in failed:
                conversation.settled = conversation.head
                self._changed(conversation)
        for draft in self._drafts:
            if draft.status is Status.DUPLICATE and not draft.conversation.has_settled(draft.seq):
                # The first one came with this very batch, and what follows from it failed.
                draft.status, draft.error = Status.FAILED, draft.error or _unsettled()
        stored = [draft for draft in self._drafts if draft.status is Status.STORED]
        system = sum(draft.kind == SYSTEM for draft in stored)
        metrics.STORED.labels("normal").inc(len(stored) - system)
        metrics.STORED.labels("system").inc(system)
        metrics.DUPLICATES.inc(sum(draft.status is Status.DUPLICATE for draft in self._drafts))


def unsure(error: TidingsError) -> TidingsError:
    """OVERLOADED says that nothing was done. When a lane of inboxes is full, a message, or a group, may be there."""
    if isinstance(error, Overloaded):
        return Unavailable("what follows from this could not be done yet: send it again", error.retry_after_ms)
    return error


def _unsettled() -> TidingsError:
    return Unavailable("what follows from this message is not known to be done: send it again")


def _take_numbers(delivery: Delivery, numbers: Sequence[int | TidingsError]) -> None:
    for number in numbers:
        if isinstance(number, TidingsError):
            delivery.draft.status, delivery.draft.error = Status.FAILED, number
            return
        delivery.numbers.append(number)


def store_outcome(delivery: Delivery) -> StoreOutcome:
    """What became of a message."""
    draft = delivery.draft
    if draft.status is Status.STORED:
        return StoreOutcome(seq=draft.seq, time_ms=draft.time_ms, numbers=delivery.numbers, read_over=draft.read_over)
    outcome = StoreOutcome(status=_STATUS[draft.status])
    if draft.status is Status.DUPLICATE:
        outcome.seq, outcome.time_ms = draft.seq, draft.time_ms
        outcome.numbers.extend(delivery.numbers)
        if draft.first is not None:
            outcome.content, outcome.kind = draft.first.content, draft.first.kind
    elif draft.status is Status.FAILED:
        outcome.fault.CopyFrom(to_fault(unsure(draft.error or Unavailable("this could not be stored: try again"))))
    return outcome


def change_outcome(job: ChangeJob, item: ChangeItem) -> ChangeOutcome:
    """What became of one of the changes of a job."""
    failed = next((each.draft for each in job.notices if each.draft.status is Status.FAILED), None)
    error = job.error or (failed.error if failed else None)
    if error is not None:
        return ChangeOutcome(status=ChangeOutcome.FAILED, fault=to_fault(unsure(error)))
    made = job.made.get(membership.op_of(item))
    if job.status != ChangeOutcome.DONE and made is None:
        return ChangeOutcome(status=job.status)
    return ChangeOutcome(
        status=ChangeOutcome.DONE,
        record=job.conversation.record(),
        notices=[store_outcome(delivery) for delivery in job.notices],
        made=None if made == item else made,
    )
