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
    """Raises BadRequest for more than 100 users, or for what is no user's name."""
    if len(users) > USERS_MAX:
        raise BadRequest(f"{len(users)} users at once, at most {USERS_MAX} are allowed: use several requests")
    for user in users:
        check_user(user)


def live_sessions(
    sessions: Sequence[storage_pb2.SessionRecord], alive: Callable[[str], bool]
) -> list[storage_pb2.SessionRecord]:
    """The sessions on nodes whose boot id is alive."""
    return [session for session in sessions if alive(session.boot_id)]


def presence_of(
    user: str,
    sessions: Sequence[storage_pb2.SessionRecord],
    last_seen_ms: int,
    alive: Callable[[str], bool],
    now_ms: int,
) -> client_pb2.Presence:
    """Whether the user is online, and when the user was seen last: now if online.

    A user of a node that died was seen when that session began, or when the last one ended, whichever was later.
    """
    if live_sessions(sessions, alive):
        return client_pb2.Presence(user=user, online=True, last_seen_ms=now_ms)
    began = max((session.since_ms for session in sessions), default=0)
    return client_pb2.Presence(user=user, online=False, last_seen_ms=max(last_seen_ms, began))


def hidden(presence: client_pb2.Presence, since_ms: int) -> client_pb2.Presence:
    """What somebody is shown whom this user blocks since then: offline, and not seen since."""
    return client_pb2.Presence(user=presence.user, online=False, last_seen_ms=min(presence.last_seen_ms, since_ms))
