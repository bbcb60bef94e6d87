"""The SYSTEM messages that tell of changes in groups, and what they are in the stream of events.

Guarantees: the data is a JSON object with always the five fields act, by, users, role, name, as the client protocol
has it; an update has its `settings` too, as canonical JSON, and a mute `untilMs`.

Does not know: who gets them.
"""

from __future__ import annotations

import json
from typing import Any

from google.protobuf.json_format import MessageToDict

from protos.tidings.v1 import events_pb2
from services.logic.groups.model import GroupAct
from tidings_protocol import client_pb2

MIME = "application/tidings.membership+json"


def content_of(act: GroupAct) -> bytes:
    """The content of the notice, an encoded `tidings.v1.Content`."""
    data: dict[str, Any] = {"act": act.act, "by": act.by, "users": act.users, "role": act.role, "name": act.name}
    if act.settings:
        data["settings"] = MessageToDict(client_pb2.GroupSettings.FromString(act.settings))
    if act.until_ms:
        data["untilMs"] = str(act.until_ms)
    encoded = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    return client_pb2.Content(data=encoded, mime=MIME).SerializeToString()


def act_of(membership: events_pb2.Membership) -> GroupAct:
    """The inverse of `membership_of`."""
    settings = membership.settings.SerializeToString(deterministic=True)
    users = tuple(membership.users)
    return GroupAct(
        membership.act, membership.by, users, membership.role, membership.name, settings, membership.until_ms
    )


def membership_of(act: GroupAct) -> events_pb2.Membership:
    """The act as the stream of events has it."""
    membership = events_pb2.Membership(
        act=act.act, by=act.by, users=act.users, role=act.role, name=act.name, until_ms=act.until_ms
    )
    if act.settings:
        membership.settings.ParseFromString(act.settings)
    return membership
