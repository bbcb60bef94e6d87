"""Online is a session on a node that is alive."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1 import storage_pb2
from services.logic.sessions.presence import check_users, presence_of
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest

Session = storage_pb2.SessionRecord
LIVE = {"boot1"}.__contains__


def test_a_session_on_a_live_node_is_online_now() -> None:
    found = presence_of("amy", [Session(boot_id="boot1", since_ms=5)], 3, LIVE, 100)
    assert found == client_pb2.Presence(user="amy", online=True, last_seen_ms=100)


def test_a_session_on_a_dead_node_is_not_online_but_was_seen() -> None:
    found = presence_of("amy", [Session(boot_id="dead", since_ms=50)], 30, LIVE, 100)
    assert found == client_pb2.Presence(user="amy", online=False, last_seen_ms=50)


def test_without_a_session_the_last_time_counts_and_who_never_came_has_none() -> None:
    assert presence_of("amy", [], 30, LIVE, 100) == client_pb2.Presence(user="amy", last_seen_ms=30)
    assert presence_of("amy", [], 0, LIVE, 100) == client_pb2.Presence(user="amy")


def test_a_hundred_users_may_be_asked_for_and_not_one_more() -> None:
    check_users([f"u{number}" for number in range(100)])
    with pytest.raises(BadRequest, match="101 users"):
        check_users([f"u{number}" for number in range(101)])


def test_what_is_no_users_name_cannot_be_asked_for() -> None:
    with pytest.raises(BadRequest):
        check_users(["amy", "no spaces"])
