"""Sessions as they go over the wire, and as they are stored.

Guarantees: pure; what is stored comes back as it was.
Does not know: which session is the newest.
"""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2
from services.storage.repository.records import MAX_NUMBER, ReplacedSession, SessionDocument

SessionRecord = storage_pb2.SessionRecord


def document_of(record: SessionRecord, now_ms: int) -> SessionDocument:
    return SessionDocument(
        user=record.user,
        device=record.device,
        session=record.session,
        kind=record.kind,
        node=record.node,
        boot_id=record.boot_id,
        since_ms=record.since_ms or now_ms,
        client=record.client,
        attempt=min(record.attempt, MAX_NUMBER),
        address=record.address,
    )


def replaced_record(session: SessionDocument, by: ReplacedSession) -> SessionRecord:
    return SessionRecord(user=session.user, device=session.device, session=by.session, node=by.node, boot_id=by.boot_id)


def record_of(session: SessionDocument) -> SessionRecord:
    return SessionRecord(
        user=session.user,
        device=session.device,
        kind=session.kind,
        session=session.session,
        node=session.node,
        boot_id=session.boot_id,
        since_ms=session.since_ms,
        client=session.client,
        attempt=session.attempt,
        address=session.address,
    )
