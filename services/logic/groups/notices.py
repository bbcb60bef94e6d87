"""The SYSTEM messages that tell of changes in groups, and what they are in the stream of events.

Guarantees: the data is a JSON object with always the five fields act, by, users, role, name, as the client protocol
has it.

Does not know: who gets them.
"""

from __future__ import annotations

import json

from protos.tidings.v1 import events_pb2
from services.logic.groups.model import GroupAct
from tidings_protocol import client_pb2

MIME = "application/tidings.membership+json"


def content_of(act: GroupAct) -> bytes:
    """Encoded `tidings.v1.Content`."""
    data = {"act": act.act, "by": act.by, "users": act.users, "role": act.role, "name": act.name}
    encoded = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    return client_pb2.Content(data=encoded, mime=MIME).SerializeToString()


def act_of(membership: events_pb2.Membership) -> GroupAct:
    """The inverse of `membership_of`."""
    return GroupAct(membership.act, membership.by, tuple(membership.users), membership.role, membership.name)


def membership_of(act: GroupAct) -> events_pb2.Membership:
    return events_pb2.Membership(act=act.act, by=act.by, users=act.users, role=act.role, name=act.name)
