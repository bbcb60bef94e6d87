"""Which messages of a batch are plain: what decides about them is in memory, and storing them needs one insert.

Plain are messages without anything special in direct chats of their senders', and in groups that memory knows, with the
sender as one who may speak there as often as they like, and with recipients (no large groups). A message of anybody
else, of whatever is not allowed by what memory says, of what memory does not know, and every change is decided the
general way (sender.py).

Guarantees: pure; a conversation's rows that come after one that is not plain are not plain either, so their order can
be kept. What is plain rests on the version of the group; storage says if that is stale.

Does not know: hooks, where nothing is plain, and what storage makes of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from services.logic.groups.model import GroupSnapshot
from services.logic.groups.permissions import check_send, pace_of
from services.logic.groups.recipients import fanout_of
from services.logic.messages.speakers import Speaker, speaker_of
from tidings_protocol.errors import TidingsError


@dataclass(slots=True)
class RowPlan:
    """The plain rows as columns, by their places in the batch, and the places of the others.

    `recipients` are those of all plain rows, one after the other; `owns` says where among them each row's sender is.
    `apart`: other rows of conversations without a plain row; `after`: those that must come after plain ones.
    """

    plain: list[int] = field(default_factory=list)
    speakers: list[Speaker] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    recipient_counts: list[int] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    owns: list[int] = field(default_factory=list)
    apart: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)


def plan_rows(
    conversations: Sequence[str],
    senders: Sequence[str],
    group_of: Callable[[str], GroupSnapshot | None],
    specials: Collection[int] = (),
) -> RowPlan:
    """Divides a batch. `group_of`: the group as memory has it; None: it is not there. `specials`: the places of rows
    that are not plain by themselves.
    """
    plan = RowPlan()
    unplain: dict[str, list[int]] = {}
    groups: dict[str, _Group | None] = {}
    for place, (conversation, sender) in enumerate(zip(conversations, senders, strict=True)):
        if conversation in unplain:
            unplain[conversation].append(place)
            continue
        if specials and place in specials:
            unplain[conversation] = [place]
            continue
        try:
            speaker = speaker_of(conversation, sender)
        except TidingsError:
            unplain[conversation] = [place]
            continue
        recipients, own, version = speaker.recipients, speaker.own, 0
        if not recipients:
            if conversation not in groups:
                groups[conversation] = _plain_group(conversation, group_of)
            group = groups[conversation]
            if group is None or not group.lets(sender):
                unplain[conversation] = [place]
                continue
            recipients, own, version = group.recipients, group.places[sender], group.snapshot.version
        plan.plain.append(place)
        plan.speakers.append(speaker)
        plan.versions.append(version)
        plan.owns.append(len(plan.recipients) + own)
        plan.recipient_counts.append(len(recipients))
        plan.recipients += recipients
    if unplain:
        _divide(plan, unplain, {conversations[place] for place in plan.plain})
    return plan


def _divide(plan: RowPlan, unplain: dict[str, list[int]], with_plain: set[str]) -> None:
    for conversation, places in unplain.items():
        (plan.after if conversation in with_plain else plan.apart).extend(places)
    plan.apart.sort()
    plan.after.sort()


class _Group:
    """A group in memory whose members get inbox entries."""

    __slots__ = ("places", "recipients", "snapshot")

    def __init__(self, snapshot: GroupSnapshot, recipients: tuple[str, ...]) -> None:
        self.snapshot = snapshot
        self.recipients = recipients
        self.places = {user: place for place, user in enumerate(recipients)}

    def lets(self, sender: str) -> bool:
        """Whether the user may speak there, by what memory says, and at their own pace."""
        if pace_of(self.snapshot, sender):
            return False
        try:
            check_send(self.snapshot.conversation, sender, self.snapshot)
        except TidingsError:
            return False
        return True


def _plain_group(conversation: str, group_of: Callable[[str], GroupSnapshot | None]) -> _Group | None:
    """None: it is no group, memory does not know it, or nobody gets an inbox entry there."""
    snapshot = group_of(conversation) if conversation.startswith("g:") else None
    if snapshot is None or snapshot.is_large:
        return None
    return _Group(snapshot, fanout_of(conversation, snapshot).recipients)
