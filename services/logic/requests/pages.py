"""Pages of messages, as storage found them, as clients get them.

Guarantees: pure but for the log. A message that was stored and cannot be read is shown without its content, as a
placeholder with its number and its place, so that no page fails by one message.

Does not know: who may read a page, how pages are found.
"""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.telemetry import logs, metrics
from services.logic.requests.request import Reply
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError
from tidings_protocol.wire.body import read_message

log = logs.get_logger(__name__)


def message_page(outcome: pb.PageOutcome | TidingsError, request: str, asked: int) -> Reply:
    """The reply with a page of messages, or the error. `request` names the metric's label.

    `asked`: where the page begins, which is where the next one begins if this one is empty.
    """
    if isinstance(outcome, TidingsError):
        return outcome
    metrics.SYNC_ENTRIES.labels(request).observe(len(outcome.entries))
    page = client_pb2.Page(
        next=outcome.next or asked, head=outcome.head, more=outcome.more, truncated=outcome.truncated
    )
    for entry in outcome.entries:
        show_message(entry.message, page.entries.add(number=entry.number).message)
    return client_pb2.ServerFrame(page=page)


def show_message(encoded: bytes, into: client_pb2.Message) -> None:
    """Fills `into` with a stored message, or with as much of it as can be read."""
    if not read_message(encoded, into):
        log.error("message cannot be read", conversation=into.conversation, seq=into.seq)
