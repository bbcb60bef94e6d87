"""Presence: online is a session on a node that the registry says is alive; nothing waits for a time-out.

Guarantees: pure. Does not know: who watches whom (the access nodes do).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from protos.tidings.internal.v1 import storage_pb2
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest
from tidings_protocol.ids import check_user

USERS_MAX = 100


def check_users(users: Sequence[str]) -> None:
    """BadRequest for more than 100, or for what is no user's name."""
    if len(users) > USERS_MAX:
        raise BadRequest(f"{len(users)} users at once, at most {USERS_MAX} are allowed: use several requests")
    for user in users:
        check_user(user)


def live_sessions(
    sessions: Sequence[storage_pb2.SessionRecord], alive: Callable[[str], bool]
) -> list[storage_pb2.SessionRecord]:
    """Those on nodes whose boot id is alive."""
    return [session for session in sessions if alive(session.boot_id)]


def presence_of(
    user: str,
    sessions: Sequence[storage_pb2.SessionRecord],
    last_seen_ms: int,
    alive: Callable[[str], bool],
    now_ms: int,
) -> client_pb2.Presence:
    """Who is online was seen now; who was on a node that died, when that session began or ended at the latest known."""
    if live_sessions(sessions, alive):
        return client_pb2.Presence(user=user, online=True, last_seen_ms=now_ms)
    began = max((session.since_ms for session in sessions), default=0)
    return client_pb2.Presence(user=user, online=False, last_seen_ms=max(last_seen_ms, began))
