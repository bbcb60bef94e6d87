"""Whose a connection is."""

from __future__ import annotations

import pytest

from services.access.connection.identity import NOWHERE, STRANGER, Identity
from tidings_protocol import client_pb2


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (client_pb2.Hello.WEB, "web"),
        (client_pb2.Hello.MOBILE, "mobile"),
        (client_pb2.Hello.DESKTOP, "desktop"),
        (client_pb2.Hello.BOT, "bot"),
        (99, "web"),
    ],
)
def test_a_kind_has_a_name_and_one_of_a_later_version_is_a_browser(kind: int, name: str) -> None:
    assert Identity("ann", "d", "s", kind=kind).kind_name == name


def test_a_stranger_is_nobody_and_avoids_nothing() -> None:
    assert (STRANGER.user, STRANGER.device, STRANGER.session_id, STRANGER.avoid) == ("", "", "", NOWHERE)
