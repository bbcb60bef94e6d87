"""A change of a group as storage is asked for it, and what is published of it.

All that is published is in the `ChangeItem`, which storage keeps: so whoever finds a change that was made can tell it
whole, whichever node made it, and whatever has become of the group since.

Guarantees: pure; the same change gives the same pushes, but for those of the index of large groups: a repeat says of
nobody that they are in it, or out of it, if that is not so now.

Does not know: the rules (groups/rules.py), when it is published (group_changes.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protos.tidings.internal.v1 import delivery_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from protos.tidings.v1 import events_pb2
from services.logic.groups import notices
from services.logic.groups.model import GroupAct, GroupChange, GroupMember
from services.logic.groups.settings import encoded
from services.logic.messages.pushes import message_pushes
from services.logic.publishing.parcels import OutgoingPush
from services.logic.publishing.records import Publication
from tidings_protocol import client_pb2
from tidings_protocol.content import notice_client_id
from tidings_protocol.ids import ConversationKind
from tidings_protocol.kinds import SYSTEM

Push = delivery_pb2.Push


def change_item(change: GroupChange, op: str) -> pb.ChangeItem:
    """What storage is asked to make."""
    return pb.ChangeItem(
        conversation=change.conversation,
        op=op,
        actor=change.actor,
        version=change.version,
        settings=pb.ConversationRecord(
            conversation=change.conversation,
            kind=ConversationKind.GROUP,
            name=change.name,
            open=change.open,
            channel=change.channel,
            share_history=change.share_history,
            settings=encoded(change.further),
        ),
        set=[_member_record(member) for member in change.members],
        removed=change.removed,
        notices=[
            pb.ChangeItem.Notice(content=notices.content_of(notice.act), recipients=notice.recipients)
            for notice in change.notices
        ],
        becomes_large=change.becomes_large,
        keep_version=change.keep_version,
        acts=[notices.membership_of(act).SerializeToString() for act in change.acts],
        empties=change.empties,
        banned=change.banned,
        unbanned=change.unbanned,
        dissolves=change.dissolves,
        used_invite=change.used_invite,
        invite_expires_ms=change.invite_expires_ms,
        refused=change.refused,
    )


def publication(
    item: pb.ChangeItem,
    outcome: pb.ChangeOutcome,
    *,
    session: str = "",
    trace: str = "",
    members: Mapping[str, GroupMember] | None = None,
) -> Publication:
    """All that is told of a change that was made. `members`: of a repeat, who of those concerned is a member now."""
    outgoing: list[OutgoingPush] = []
    indexed, dropped = indexed_of(item), dropped_of(item)
    if members is not None:
        indexed = [user for user in indexed if user in members]
        dropped = [user for user in dropped if user not in members]
    outgoing += membership_pushes(item.conversation, indexed, dropped)
    if dropped:
        outgoing.append(outside(item.conversation, dropped, name=item.settings.name, session=session))
    for index, (notice, stored) in enumerate(zip(item.notices, outcome.notices, strict=True)):
        message = pb.StoreItem(
            conversation=item.conversation,
            sender=item.actor,
            client_id=notice_client_id(item.op, index),
            content=notice.content,
            kind=SYSTEM.number,
            # Who is in a group that is created large does not know it yet: its first message is brought to them.
            recipients=notice.recipients or (() if item.version else indexed),
            trace=trace,
        )
        outgoing += message_pushes(message, stored)
    if item.dissolves and _is_by_cursor(item):
        outgoing += _end_of_large(item.conversation, item.settings.name, session)
    return Publication(outgoing)


def acts_of(item: pb.ChangeItem) -> list[GroupAct]:
    """The acts that happen by the change."""
    return [notices.act_of(events_pb2.Membership.FromString(act)) for act in item.acts]


def indexed_of(item: pb.ChangeItem) -> Sequence[str]:
    """The users whose nodes must know that they are in this large group."""
    entered = [member.user for member in item.set if not member.joined_ms]
    if item.becomes_large:
        return list(dict.fromkeys([*item.notices[0].recipients, *entered]))
    return entered if _is_by_cursor(item) else ()


def dropped_of(item: pb.ChangeItem) -> Sequence[str]:
    """The users whose nodes must know that they are no more in this large group."""
    return item.removed if _is_by_cursor(item) else ()


def membership_pushes(conversation: str, indexed: Sequence[str], dropped: Sequence[str]) -> list[OutgoingPush]:
    """What the nodes of these users, which index who is in a large group, are told."""
    return [
        OutgoingPush(
            kind=Push.MEMBERSHIP,
            body=delivery_pb2.LargeMembership(conversation=conversation, member=member).SerializeToString(),
            users=users,
            conversation=conversation,
        )
        for users, member in ((indexed, True), (dropped, False))
        if users
    ]


def _is_by_cursor(item: pb.ChangeItem) -> bool:
    """Whether the group was large before the change: in another one, each notice has recipients."""
    return bool(item.version) and not any(notice.recipients for notice in item.notices)


def outside(conversation: str, users: Sequence[str], *, name: str = "", session: str = "") -> OutgoingPush:
    """These users hear, on all devices but of this session, that they are not in the group."""
    return OutgoingPush(
        kind=Push.GROUP_INFO,
        body=client_pb2.GroupInfo(conversation=conversation, name=name).SerializeToString(),
        users=users,
        conversation=conversation,
        except_session=session,
    )


def _end_of_large(conversation: str, name: str, session: str) -> list[OutgoingPush]:
    """All members of a large group that is no more hear of it, and then all nodes forget who reads it."""
    gone = delivery_pb2.LargeMembership(conversation=conversation, member=False)
    return [
        outside(conversation, (), name=name, session=session),
        OutgoingPush(kind=Push.MEMBERSHIP, body=gone.SerializeToString(), conversation=conversation),
    ]


def _member_record(member: GroupMember) -> pb.MemberRecord:
    return pb.MemberRecord(
        user=member.user,
        role=member.role,
        joined_seq=member.joined_seq,
        joined_ms=member.joined_ms,
        muted_until_ms=member.muted_until_ms,
    )
