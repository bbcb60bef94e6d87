"""What may stand in the log of a conversation: one row for each kind of entry, which everybody else goes by.

    logic      which kinds it stores, and of which it asks the hooks (logic/messages/)
    storage    whether an entry may name the earlier one that it names (storage/messages/numbering.py)
    client     which kinds it shows (tidings/model.py)

Every entry has a seq, a message id, a time and a sender, is idempotent by its client id, and travels like a message.
Whatever else an entry does is a column here, so that what is done to messages later (edits, recalls, reactions, pins)
is a row for each act: several rows may have one number of Message.Kind.

Guarantees: each kind of Message.Kind has a row (a test says so).

Does not know: who may send what, texts, what clients make of kinds that they do not know (they skip them, and count
them as held).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from tidings_protocol.client_pb2 import Message


class Target(Enum):
    """Which earlier entry of the conversation an entry may name."""

    NONE = "none"
    OWN = "own"  # one of the same sender
    ANY = "any"
    OWN_OR_ADMIN = "own or admin"  # one of the same sender; anyone's for who administers the conversation

    def allows(self, *, own: bool, admin: bool) -> bool:
        """Whether an entry that is there may be named. `own`: by its sender; `admin`: by an administrator."""
        match self:
            case Target.NONE:
                return False
            case Target.ANY:
                return True
            case Target.OWN:
                return own
            case Target.OWN_OR_ADMIN:
                return own or admin


class Fold(Enum):
    """What an entry makes of its target. One that folds must name a target, and is not shown by itself."""

    NONE = "none"  # it is a message of its own
    REPLACES = "replaces"
    REMOVES = "removes"
    ANNOTATES = "annotates"


@dataclass(frozen=True, slots=True)
class Kind:
    """`number`: its Message.Kind. `inbox`: each recipient gets an inbox entry, unless they read by cursor. `unread`: it
    counts as unread. `hooked`: the operator's hook is asked before it is stored."""

    name: str
    number: int
    inbox: bool
    unread: bool
    target: Target
    hooked: bool
    folds: Fold

    @property
    def shown(self) -> bool:
        """Whether a client shows it as a message."""
        return self.folds is Fold.NONE


# What users write; the target is what it replies to.
NORMAL: Final = Kind("normal", Message.NORMAL, inbox=True, unread=True, target=Target.ANY, hooked=True, folds=Fold.NONE)
# Notices of groups, and the operator's to everyone.
SYSTEM: Final = Kind(
    "system", Message.SYSTEM, inbox=True, unread=True, target=Target.NONE, hooked=False, folds=Fold.NONE
)

# What is done to an earlier entry: one row for each act of tidings.v1.Change.
EDIT: Final = Kind(
    "edit", Message.CHANGE, inbox=True, unread=False, target=Target.OWN, hooked=True, folds=Fold.REPLACES
)
FINISH: Final = Kind(
    "finish", Message.CHANGE, inbox=True, unread=False, target=Target.OWN, hooked=True, folds=Fold.REPLACES
)
RECALL: Final = Kind(
    "recall", Message.CHANGE, inbox=True, unread=False, target=Target.OWN_OR_ADMIN, hooked=False, folds=Fold.REMOVES
)
PIN: Final = Kind(
    "pin", Message.CHANGE, inbox=True, unread=False, target=Target.ANY, hooked=False, folds=Fold.ANNOTATES
)
REACTED: Final = Kind(
    "reacted", Message.CHANGE, inbox=True, unread=False, target=Target.ANY, hooked=False, folds=Fold.ANNOTATES
)

KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {kind.name: kind for kind in (NORMAL, SYSTEM, EDIT, FINISH, RECALL, PIN, REACTED)}
)
# The kinds that are told apart by their number alone: those of entries that are shown.
BY_NUMBER: Final[Mapping[int, Kind]] = MappingProxyType({kind.number: kind for kind in KINDS.values() if kind.shown})
CHANGE: Final[int] = Message.CHANGE
