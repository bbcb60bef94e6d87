"""What both notifiers ask logic: about at most so many users in one request, and so many requests in one call.

Guarantees: pure. An answer that is no frame is one without a body, and stands in the log.

Does not know: what is asked about the users.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from google.protobuf.message import DecodeError

from protos.tidings.internal.v1 import logic_pb2
from services.common.telemetry import logs
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest

USERS_MAX: Final = 100
ITEMS_MAX: Final = 50
# Questions gather for so long.
GATHER_S: Final = 0.2

log = logs.get_logger(__name__)


def check_users(users: Collection[str]) -> None:
    """Raises BadRequest for more than one request may name."""
    if len(users) > USERS_MAX:
        raise BadRequest(f"{len(users)} users are asked for, {USERS_MAX} are allowed: ask in parts")


def chunks(users: Sequence[str]) -> list[Sequence[str]]:
    """The users by requests."""
    return [users[start : start + USERS_MAX] for start in range(0, len(users), USERS_MAX)]


def frame_in(outcome: logic_pb2.HandleOutcome) -> client_pb2.ServerFrame:
    """What logic answered."""
    try:
        return client_pb2.ServerFrame.FromString(outcome.frame)
    except DecodeError:
        log.error("logic answered with something that is no frame")  # noqa: TRY400 - the stack says nothing
        return client_pb2.ServerFrame()
