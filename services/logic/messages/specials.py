"""What is special about a send or an edit, as it may be stored there: mentions of all, streams, media.

    mention_all    groups: owner and admins; everybody where not more than ALL_FREE_MAX are in it. Above ALL_MAX it is
                   text only: nobody is mentioned by it
    streaming      not in large groups and b:all, whose members are not told of parts
    media          must be in the media store; there is none, so no id is

Guarantees: pure; what is asked for is never altered, a narrowed one is a copy.

Does not know: who may send there (groups/permissions.py), which of those mentioned are members (storage).
"""

from __future__ import annotations

from typing import Final

from protos.tidings.internal.v1.common_pb2 import Special
from services.logic.groups.model import GroupRole, GroupSnapshot
from tidings_protocol.errors import BadRequest, Forbidden
from tidings_protocol.ids import BROADCAST, OPERATOR

ALL_FREE_MAX: Final = 20
ALL_MAX: Final = 10_000


def special_for(special: Special, conversation: str, user: str, group: GroupSnapshot | None) -> Special:
    """The special as it is stored there. Raises Forbidden, BadRequest. `group` is only looked at for groups."""
    if special.media:
        raise BadRequest(f"media {special.media[0]!a} was not uploaded: give the id of an upload that is done")
    is_large = conversation == BROADCAST or (group is not None and group.is_large)
    if special.streaming and is_large:
        raise Forbidden(f"there are no streams in {conversation}, which is read by cursor: send the whole text")
    if not special.mention_all or group is None:
        return special
    if group.member_count > ALL_FREE_MAX and user != OPERATOR and group.role_of(user) is GroupRole.MEMBER:
        raise Forbidden(f"only the owner and admins of {conversation} mention all: leave mention_all out")
    if group.member_count <= ALL_MAX:
        return special
    narrowed = Special()
    narrowed.CopyFrom(special)
    narrowed.mention_all = False
    return narrowed
