"""The answers to requests: from logic's outcome to the frame that a connection gets.

Guarantees: an answer that cannot be read is an error of its request alone. If an answer cannot be written its
connection ends, so that no request is left unanswered.

Does not know: lanes, what requests mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from services.access.connection.connection import Connection
from services.access.session.abuse import counts
from services.access.session.events import EndRequested
from services.common.telemetry import logs
from tidings_protocol import client_pb2, close
from tidings_protocol.errors import Internal
from tidings_protocol.wire.codec import PROTO

# The first byte of a ServerFrame's protobuf whose body is an error; its id is not set yet.
_ERROR_TAG: Final = PROTO.encode_server(client_pb2.ServerFrame(error=client_pb2.Error()))[:-1]

Outcome = TypeVar("Outcome")

log = logs.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """An encoded answer, and what is known of it; `unpauses` is the page that a paused connection waits for. `counts`:
    it is a refusal that counts against the client. `hiding`: users in the presence who look offline to the asker alone.
    """

    frame: bytes
    error_code: str = ""
    counts: bool = False
    presence: client_pb2.PresenceList | None = None
    hiding: Sequence[str] = ()
    unpauses: client_pb2.Page | None = None


def encode_answer(
    connection: Connection, request_id: int, body: str, frame: bytes, hiding: Sequence[str] = ()
) -> Answer | Internal:
    """Encodes what logic answered for the connection; Internal if that cannot be read.

    All that may fail with a frame is here, before anything is written or counted.
    """
    try:
        encoded = connection.codec.reply(request_id, frame)
        if frame.startswith(_ERROR_TAG):
            error = client_pb2.ServerFrame.FromString(frame).error
            return Answer(encoded, error_code=error.code, counts=counts(error.code, error.retry_after_ms))
        if body == "presence":
            presence = client_pb2.ServerFrame.FromString(frame).presence_list
            return Answer(encoded, presence=presence, hiding=hiding)
        if body == "sync" and connection.delivery.paused:
            return Answer(encoded, unpauses=client_pb2.ServerFrame.FromString(frame).page)
        return Answer(encoded)
    except Exception:  # the edge: an unreadable answer fails one request alone
        log.exception("answer cannot be made", user=connection.user, request=body)
        return Internal("the answer cannot be shown: tell the operator, who finds details in the log of the node")


def answer_or_end(connection: Connection, answer: Callable[[Outcome], None], outcome: Outcome) -> None:
    """Answers the connection; a defect in that ends it, as a defect in reading does.

    So none of its requests stays unanswered for ever.
    """
    try:
        answer(outcome)
    except Exception as defect:  # noqa: BLE001 - the edge: as in `Connection.receive`
        end_after_defect(connection, defect)


def end_after_defect(connection: Connection, defect: Exception) -> None:
    """Ends a connection that could not be answered."""
    log.error("connection failed", user=connection.user, session=connection.session_id, exc_info=defect)
    try:
        connection.handle(EndRequested(close.INTERNAL))
    except Exception:  # noqa: BLE001 - the edge: as in `Connection.tick`
        connection.transport.abort()
