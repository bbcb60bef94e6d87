"""Jobs of a round, as values: what became of a message or a change, as its outcome."""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.memory.conversation import CachedConversation
from services.storage.messages.jobs import ChangeJob, StoreJob, unsure
from services.storage.messages.numbering import Status
from services.storage.repository.records import ConversationDocument, StoredMessage
from tests.unit.storage.nodes import change, create, send
from tidings_protocol.errors import Forbidden, Overloaded, Unavailable
from tidings_protocol.ids import ConversationKind

CHAT, GROUP = "d:ann|bob", "g:1"


def store_job() -> StoreJob:
    conversation = CachedConversation(CHAT, ConversationKind.DIRECT, ConversationDocument(CHAT, 1), exists=True)
    return StoreJob.from_item(send("ann", "bob", "x"), conversation)


def change_job(item: pb.ChangeItem) -> ChangeJob:
    document = ConversationDocument(GROUP, 2, version=1, stamp=1)
    return ChangeJob(CachedConversation(GROUP, ConversationKind.GROUP, document, exists=True), [0], [item])


def test_a_message_that_is_stored_has_its_number_and_those_of_its_recipients() -> None:
    job = store_job()
    job.draft.status, job.draft.seq, job.draft.time_ms = Status.STORED, 7, 100
    job.accept([3, 4])
    outcome = job.outcome(0)
    assert (outcome.status, outcome.seq, outcome.time_ms, list(outcome.numbers)) == (
        pb.StoreOutcome.STORED,
        7,
        100,
        [3, 4],
    )


def test_a_message_fails_with_the_first_of_its_entries_that_could_not_be_written() -> None:
    job = store_job()
    job.draft.status = Status.STORED
    job.accept([3, Unavailable("away", 100), Forbidden("never said")])
    outcome = job.outcome(0)
    assert (outcome.status, outcome.fault.code, outcome.fault.retry_after_ms) == (
        pb.StoreOutcome.FAILED,
        "UNAVAILABLE",
        100,
    )


def test_a_duplicate_is_answered_with_what_the_first_one_was() -> None:
    job = store_job()
    job.draft.conversation.settled = job.draft.conversation.head = 5
    assert job.draft.repeats(StoredMessage(CHAT, 5, "ann", "x", 90, b"first"))
    job.accept([1, 2])
    outcome = job.outcome(0)
    assert (outcome.status, outcome.seq, outcome.time_ms, outcome.content) == (
        pb.StoreOutcome.DUPLICATE,
        5,
        90,
        b"first",
    )


def test_that_nothing_was_done_is_said_of_nothing() -> None:
    refused = unsure(Overloaded("the lane is full", 250))
    assert isinstance(refused, Unavailable)
    assert refused.retry_after_ms == 250
    other = Forbidden("no")
    assert unsure(other) is other


def test_the_first_notice_of_a_change_fences_the_others() -> None:
    job = change_job(change(GROUP, "ann", "op", 1, notices=[["ann"], ["bob"], ["cid"]]))
    first, *others = job.draft_notices()
    assert first.fence is None
    assert all(draft.fence is first for draft in others)
    assert [list(notice.recipients) for notice in job.notices] == [["ann"], ["bob"], ["cid"]]
    assert pb.ChangeItem.FromString(first.change) == job.items[0]
    assert not first.creates
    assert change_job(create(GROUP, "ann")).draft_notices()[0].creates


def test_only_quiet_joins_go_together() -> None:
    join = change(GROUP, "ann", "one", 1, joins=["bob"], keep_version=True)
    job = change_job(join)
    assert job.can_take(change(GROUP, "bob", "two", 1, joins=["cid"], keep_version=True))
    assert not job.can_take(change(GROUP, "bob", "two", 1, removed=["cid"]))


def test_what_an_earlier_try_has_made_is_told_if_it_was_something_else() -> None:
    asked, made = change(GROUP, "ann", "op", 1, joins=["bob"]), change(GROUP, "ann", "op", 1, joins=["cid"])
    job = change_job(asked)
    job.draft_notices()
    for found in (asked, made):
        job.made = {("g:1", "ann", "op"): found}  # type: ignore[dict-item]  # an OpKey is a tuple
        outcome = job.outcome(asked)
        assert outcome.status == pb.ChangeOutcome.DONE
        assert outcome.HasField("made") == (found is made)


def test_a_change_whose_notice_failed_has_failed() -> None:
    job = change_job(change(GROUP, "ann", "op", 1, notices=[["ann"], ["bob"]]))
    drafts = job.draft_notices()
    job.status = pb.ChangeOutcome.DONE
    drafts[1].status, drafts[1].error = Status.FAILED, Unavailable("away", 100)
    outcome = job.outcome(job.items[0])
    assert (outcome.status, outcome.fault.retry_after_ms) == (pb.ChangeOutcome.FAILED, 100)
