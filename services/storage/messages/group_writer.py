"""Makes the changes of groups whose fences are in: what a change does to the group's document and its members.

    fenced by its first notice ──▶ apply, unless it is applied      quiet ──▶ apply, fenced by the document's stamp

Guarantees: a job is DONE only when its change is durable, by this node or by whoever was first. One that fails has its
error, and the memory of its group is dropped; the other jobs are made all the same.
Does not know: how notices become messages (write_round.py), who may change what (logic).
"""

from __future__ import annotations

from collections.abc import Sequence

from protos.tidings.internal.v1 import storage_pb2
from services.common.clock import Clock
from services.common.scope import run_all
from services.storage.events.port import FedChange
from services.storage.limits import TRIES_MAX
from services.storage.loading import membership
from services.storage.loading.duplicates import ChangesMade
from services.storage.loading.loader import ConversationLoader
from services.storage.memory.conversation import CachedConversation
from services.storage.messages.jobs import ChangeJob
from services.storage.messages.numbering import Status
from services.storage.messages.round_result import RoundResult
from services.storage.repository.contract import Repository
from tidings_protocol.errors import TidingsError, Unavailable

ChangeItem = storage_pb2.ChangeItem
ChangeOutcome = storage_pb2.ChangeOutcome


class GroupWriter:
    def __init__(self, repository: Repository, loader: ConversationLoader, clock: Clock) -> None:
        self._repository = repository
        self._loader = loader
        self._clock = clock
        self._made = ChangesMade(repository)

    async def write(self, jobs: Sequence[ChangeJob], result: RoundResult) -> None:
        """Makes these at the same time; says in `result` which groups are to be kept in memory, and which dropped."""
        if jobs:
            await run_all(*(self._write_one(job, result) for job in jobs))

    async def _write_one(self, job: ChangeJob, result: RoundResult) -> None:
        try:
            await (self._write_fenced(job, result) if job.notices else self._write_quiet(job, result))
            if job.status == ChangeOutcome.DONE:
                result.keep(job.conversation)
        except TidingsError as error:
            job.error = error
            result.drop(job.conversation.id)

    async def _write_fenced(self, job: ChangeJob, result: RoundResult) -> None:
        first = job.notices[0].draft
        failed = next((notice.draft for notice in job.notices if notice.draft.status is Status.FAILED), None)
        if failed is not None:
            raise failed.error or Unavailable("this change could not be made: try again")
        if first.status is Status.STALE:
            job.status = ChangeOutcome.STALE
            return
        job.status = ChangeOutcome.DONE
        if first.first is not None:
            # The notice of an earlier try: what it carries is the change that was made, which may not be this one.
            job.made[membership.op_of(job.items[0])] = ChangeItem.FromString(first.first.change)
        if job.conversation.document.applied_seq >= first.seq:
            return  # made by an earlier try, or by whoever settled it
        if not await self._apply(job, job.items[0], notice_seq=first.seq, time_ms=first.time_ms):
            # Another writer changed the group: loading it makes the change, whose notice is there.
            await self._reload(job, result)

    async def _write_quiet(self, job: ChangeJob, result: RoundResult) -> None:
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
            time_ms = self._clock.wall_ms()
            if await self._apply(job, change, notice_seq=0, time_ms=time_ms):
                stamp = job.conversation.document.stamp
                acts = [act for item in missing for act in item.acts]
                result.changed.append(FedChange(job.conversation, stamp, acts, time_ms))
                job.status = ChangeOutcome.DONE
                return
            # The stamp was taken by another writer, whose change may be one of these: look again before deciding.
            await self._reload(job, result)
        raise Unavailable("too many writers change this group: try again")

    async def _apply(self, job: ChangeJob, change: ChangeItem, *, notice_seq: int, time_ms: int) -> bool:
        return await self._loader.documents.apply(job.conversation, change, notice_seq=notice_seq, time_ms=time_ms)

    async def _reload(self, job: ChangeJob, result: RoundResult) -> None:
        key = job.conversation.id
        loaded = (await self._loader.load([key]))[key]
        if not isinstance(loaded, CachedConversation):
            raise loaded
        result.keep(loaded)
        job.conversation = loaded
