"""Who may change messages: what logic decides by the group and the user, and what it tells storage to judge by.

Storage owns the message that is changed, so it judges the rest: whether it is there, whose it is, for how long it may
be changed, what has been done to it meanwhile.

    act        who may, as far as is known here
    edit       who may send there
    finish     who may send there
    pin        who may send there; in groups owner and admins
    recall     who is there; storage: their own, in groups owner and admins also others'
    react      who may read there, unless they are silenced by name
    unreact    who may read there

Who may send nothing now for whatever reason is **silenced** (groups/permissions.py): a member of a channel, for
example. The operator may do everything.

Guarantees: pure. Raises the protocol's error for what is not allowed: NotFound for a group that does not exist,
Forbidden for the rest.

Does not know: what is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.logic.groups.model import GroupRole, GroupSnapshot
from services.logic.groups.permissions import check_exists, check_read, silence_of
from tidings_protocol.errors import Forbidden
from tidings_protocol.ids import BROADCAST, OPERATOR


class Demand(Enum):
    """What an act asks of who does it."""

    SPEAK = "speak"
    PIN = "pin"
    REACT = "react"
    BE_THERE = "be there"


DEMANDS: Final[Mapping[str, Demand]] = MappingProxyType(
    {
        "edit": Demand.SPEAK,
        "finish": Demand.SPEAK,
        "pin": Demand.PIN,
        "recall": Demand.BE_THERE,
        "react": Demand.REACT,
        "unreact": Demand.BE_THERE,
    }
)
# In `b:all`, which everybody reads and only the operator writes.
_FOR_ALL: Final = frozenset({"react", "unreact"})


@dataclass(frozen=True, slots=True)
class ChangeWindows:
    """For how long after its time the sender of a message may edit or recall it; 0: always."""

    edit_ms: int = 0
    recall_ms: int = 0

    def of(self, act: str) -> int:
        """The window of an act; 0: it has none."""
        return {"edit": self.edit_ms, "recall": self.recall_ms}.get(act, 0)


def rights_of(
    act: str, conversation: str, user: str, group: GroupSnapshot | None, windows: ChangeWindows, now_ms: int
) -> pb.ActorRights:
    """What this user may do there, for storage to judge the act by; raises if it is not allowed whatever is changed.

    `group` is only looked at for groups.
    """
    if user == OPERATOR:
        if conversation[0] == "g":
            check_exists(group, conversation, user)
        return pb.ActorRights(is_operator=True)
    first_seq = check_read(conversation, user, group)
    if conversation == BROADCAST and act not in _FOR_ALL:
        raise Forbidden("only the operator writes to b:all, and changes what is there: leave it as it is")
    role = group.role_of(user) if group is not None else None
    silence = silence_of(conversation, user, group, now_ms)
    match DEMANDS[act]:
        case Demand.SPEAK if silence is not None:
            raise silence.error
        case Demand.PIN:
            if silence is not None:
                raise silence.error
            if role is GroupRole.MEMBER:
                raise Forbidden(f"only the owner and admins of {conversation} pin messages: ask one of them")
        case Demand.REACT if silence is not None and silence.by_name:
            raise silence.error
    return pb.ActorRights(role=role or 0, first_seq=first_seq, window_ms=windows.of(act), silenced=silence is not None)
