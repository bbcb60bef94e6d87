"""How the rules of groups make a change of what they have decided: what is not said stays as the group has it.

Guarantees: pure. Does not know: the rules.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from services.logic.groups.model import GroupAct, GroupChange, GroupMember, GroupNotice, GroupRole, GroupSnapshot


def change_of(group: GroupSnapshot, actor: str, **fields: Any) -> GroupChange:
    """A change of the group. `fields` are those of GroupChange."""
    unchanged = GroupChange(
        conversation=group.conversation,
        actor=actor,
        version=group.version,
        name=group.name,
        open=group.open,
        channel=group.channel,
        share_history=group.share_history,
        further=group.further,
    )
    return replace(unchanged, **fields)


def announced(group: GroupSnapshot, act: GroupAct, **fields: Any) -> GroupChange:
    """A change with one notice that everybody gets, large or not."""
    recipients = () if group.is_large else tuple(group.members)
    return change_of(group, act.by, acts=(act,), notices=(GroupNotice(act, recipients),), **fields)


def told_if_small(group: GroupSnapshot, act: GroupAct, **fields: Any) -> GroupChange:
    """A change with a notice to everybody; a large group gets none. Who is removed still gets the one that says so:
    they are among the members before.
    """
    notices = () if group.is_large else (GroupNotice(act, tuple(group.members)),)
    return change_of(group, act.by, acts=(act,), notices=notices, **fields)


def with_role(member: GroupMember, role: GroupRole) -> GroupMember:
    """The member with this role; an owner is muted no more."""
    return replace(member, role=role, muted_until_ms=0 if role is GroupRole.OWNER else member.muted_until_ms)
