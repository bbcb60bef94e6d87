"""Groups in memory, so that a decision seldom needs a question: bounded by how many members they have together.

Guarantees: the least recently used go first; what is given back was put in. A large group is kept with the members that
were asked for, as long as its version stays.

Does not know: whether what it holds is still so. That shows when storage is given the version: see loader.py.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from services.logic.groups.model import GroupSnapshot

# What a group costs besides its members, counted in members.
_GROUP_COST = 4
# Known members of one large group: those who send.
_LARGE_MEMBERS_MAX = 5000


class GroupCache:
    """`members_max` bounds the members of all groups together."""

    def __init__(self, members_max: int) -> None:
        self._members_max = members_max
        self._groups: OrderedDict[str, GroupSnapshot] = OrderedDict()
        self._cost = 0

    def __len__(self) -> int:
        return len(self._groups)

    @property
    def cost(self) -> int:
        return self._cost

    def get(self, conversation: str) -> GroupSnapshot | None:
        group = self._groups.get(conversation)
        if group is not None:
            self._groups.move_to_end(conversation)
        return group

    def put(self, group: GroupSnapshot) -> None:
        """Keeps it; of a large group together with what was known of the same version."""
        before = self._groups.get(group.conversation)
        if before is not None:
            if before.version > group.version:
                return
            if group.is_large and before.version == group.version:
                known = {**before.members, **group.members}
                if len(known) <= _LARGE_MEMBERS_MAX:
                    group = replace(group, members=known)
            self._drop(group.conversation)
        self._groups[group.conversation] = group
        self._cost += _cost(group)
        while self._cost > self._members_max and len(self._groups) > 1:
            self._drop(next(iter(self._groups)))

    def forget(self, conversation: str) -> None:
        if conversation in self._groups:
            self._drop(conversation)

    def _drop(self, conversation: str) -> None:
        self._cost -= _cost(self._groups.pop(conversation))


def _cost(group: GroupSnapshot) -> int:
    return len(group.members) + _GROUP_COST
