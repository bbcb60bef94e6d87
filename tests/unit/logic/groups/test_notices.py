"""Notices of what happens in a group."""

from __future__ import annotations

import json

from services.logic.groups.model import GroupAct
from services.logic.groups.notices import MIME, act_of, content_of, membership_of
from tidings_protocol import client_pb2

ACT = GroupAct("role", "olga", ("amy",), role="ADMIN")


def test_the_data_always_has_the_five_fields() -> None:
    content = client_pb2.Content.FromString(content_of(ACT))
    assert content.mime == MIME
    assert json.loads(content.data) == {"act": "role", "by": "olga", "users": ["amy"], "role": "ADMIN", "name": ""}


def test_an_act_is_the_same_after_its_way_through_the_stream_of_events() -> None:
    assert act_of(membership_of(ACT)) == ACT
