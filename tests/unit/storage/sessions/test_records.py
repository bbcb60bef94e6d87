"""Sessions on the wire and as they are stored, as values."""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.repository.records import MAX_NUMBER, ReplacedSession, SessionDocument
from services.storage.sessions.records import document_of, record_of, replaced_record

RECORD = pb.SessionRecord(
    user="ann",
    device="phone",
    session="s1",
    kind=2,
    node="access-0",
    boot_id="b1",
    since_ms=5,
    client="test",
    attempt=7,
    address="192.0.2.1",
)


def test_a_session_comes_back_as_it_was_with_all_its_fields() -> None:
    assert {field.name for field, _ in RECORD.ListFields()} == set(pb.SessionRecord.DESCRIPTOR.fields_by_name)
    assert record_of(document_of(RECORD, 9)) == RECORD


def test_a_session_without_a_time_begins_now_and_an_attempt_is_not_larger_than_what_can_be_stored() -> None:
    document = document_of(pb.SessionRecord(user="ann", device="phone", session="s1", attempt=2**64 - 1), 9)
    assert (document.since_ms, document.attempt) == (9, MAX_NUMBER)


def test_a_session_that_was_replaced_is_told_as_one_of_the_same_device() -> None:
    session = SessionDocument("ann", "phone", "s2")
    record = replaced_record(session, ReplacedSession("s1", "access-1", "b0"))
    assert record == pb.SessionRecord(user="ann", device="phone", session="s1", node="access-1", boot_id="b0")
