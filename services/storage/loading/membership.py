"""What a change does to a group and its members, and who got a message that was stored before changes that followed it.

A change is fenced before anything follows from it: by its first notice, a message whose seq nobody else can take, or by
the stamp of the conversation's document. What it does to the members is decided once (`decide`) and written into the
document as `pending`, so that whoever finds it can write the members again (`writes_of`), with the same stamp, and
what a change without notices is found by when it is repeated (`kept_of`).

Guarantees: pure; deciding from the same document and members gives the same answer; writing twice, or late, does no
harm.
Does not know: who may change what (logic decides that).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from protos.tidings.internal.v1 import storage_pb2
from services.storage.memory.conversation import CachedMember
from services.storage.repository.records import (
    ConversationDocument,
    MadeChange,
    MemberDocument,
    OpKey,
    StoredMessage,
)
from tidings_protocol import client_pb2

ChangeItem = storage_pb2.ChangeItem
MemberRecord = storage_pb2.MemberRecord


class Addressed(NamedTuple):
    """A message, and whose inboxes have an entry for it."""

    message: StoredMessage
    recipients: Sequence[str]


def op_of(change: ChangeItem) -> OpKey:
    """What a repeat of the change is known by."""
    return OpKey(change.conversation, change.actor, change.op)


def carried(change: ChangeItem, index: int) -> bytes:
    """What the notice at `index` carries: the first one the whole change, the others who gets them."""
    if index == 0:
        return change.SerializeToString()
    return ChangeItem(notices=[ChangeItem.Notice(recipients=change.notices[index].recipients)]).SerializeToString()


def decide(
    document: ConversationDocument,
    members: Mapping[str, CachedMember],
    change: ChangeItem,
    *,
    notice_seq: int,
    head: int,
    now_ms: int,
) -> ConversationDocument:
    """The document after the change. `notice_seq` is that of its first notice, 0 if it has none; `head` includes its
    notices.

    In `members` are at least those whom the change names; all of them if it makes the group large. Whom `set` names
    with a `joined_ms` only changes (the role, until when they are muted), and stays away if they have left meanwhile.
    """
    records: dict[str, MemberRecord] = {}
    for wanted in change.set:
        present = members.get(wanted.user)
        if present is not None:
            muted_until_ms = wanted.muted_until_ms if wanted.joined_ms else present.muted_until_ms
            records[wanted.user] = _record(present, wanted.role, muted_until_ms)
        elif not wanted.joined_ms:
            read_seq = notice_seq or head
            records[wanted.user] = MemberRecord(
                user=wanted.user,
                role=wanted.role,
                joined_seq=wanted.joined_seq or notice_seq or head + 1,
                joined_ms=now_ms,
                read_seq=read_seq,
                delivered_seq=read_seq,
            )
    removed = [user for user in dict.fromkeys(change.removed) if user in members]
    creates = not document.stamp
    large_from = document.large_from
    if change.becomes_large and not large_from:
        large_from = 1 if creates else head + 1
        for user, member in members.items():
            if user not in records and user not in removed:
                records[user] = _record(member, member.role, member.muted_until_ms)
    # By user: two of the changes that were merged may have added the same one.
    joined = sum(user not in members for user in records)
    settings = change.settings
    further = client_pb2.GroupSettings.FromString(settings.settings)
    stamp = document.stamp + 1
    empty = change.empties or change.dissolves
    return replace(
        document,
        name=settings.name,
        open=settings.open,
        channel=settings.channel,
        share_history=settings.share_history,
        settings=settings.settings,
        slow_s=further.slow_s,
        asked_from=(document.asked_from or stamp) if further.approval and not change.dissolves else 0,
        bans=max(0, document.bans + len(change.banned) - len(change.unbanned)),
        dissolved=document.dissolved or change.dissolves,
        large_from=large_from,
        version=document.version if change.keep_version and not creates else document.version + 1,
        member_count=0 if empty else max(0, document.member_count + joined - len(removed)),
        stamp=stamp,
        applied_seq=notice_seq or document.applied_seq,
        pending=ChangeItem(
            op=change.op,
            actor=change.actor if change.used_invite else "",
            set=records.values(),
            removed=removed,
            merged=change.merged,
            banned=change.banned,
            unbanned=change.unbanned,
            dissolves=change.dissolves,
            used_invite=change.used_invite,
            invite_expires_ms=change.invite_expires_ms,
            ends_requests=bool(document.asked_from) and not further.approval,
        ).SerializeToString(),
    )


def writes_of(document: ConversationDocument) -> list[MemberDocument]:
    """What the pending change writes; nothing if there is none."""
    if not document.pending:
        return []
    pending = ChangeItem.FromString(document.pending)
    conversation, stamp = document.conversation, document.stamp
    written = [
        MemberDocument(
            conversation=conversation,
            user=record.user,
            role=record.role,
            joined_seq=record.joined_seq,
            joined_ms=record.joined_ms,
            read_seq=record.read_seq,
            delivered_seq=record.delivered_seq,
            stamp=stamp,
            large=document.large_from > 0,
            muted_until_ms=record.muted_until_ms,
        )
        for record in pending.set
    ]
    former = document.dissolved
    return written + [
        MemberDocument(conversation, user, stamp=stamp, gone=True, former=former) for user in pending.removed
    ]


def kept_of(document: ConversationDocument, now_ms: int) -> list[MadeChange]:
    """The changes without notices that the pending one was made of."""
    if not document.pending:
        return []
    merged = ChangeItem.FromString(document.pending).merged
    return [MadeChange(op_of(change), change.SerializeToString(), now_ms, document.stamp) for change in merged]


def merged(changes: Sequence[ChangeItem]) -> ChangeItem:
    """Changes without notices as one, which names them: one change, or several joins of a large group."""
    one = ChangeItem()
    one.CopyFrom(changes[0])
    for change in changes[1:]:
        one.set.extend(change.set)
    one.merged.extend(changes)
    return one


def can_merge(one: ChangeItem, other: ChangeItem) -> bool:
    """Two quiet changes that only add members, decided on the same version."""
    return all(each.keep_version and not each.notices and not each.removed for each in (one, other)) and (
        one.version == other.version
    )


def recipients_of(tail: Sequence[StoredMessage], members: Collection[str], large_from: int) -> list[Addressed]:
    """Who gets an inbox entry of each message of a tail, given the members after it.

    Walks back from the end: before a change its joiners were no members, and those whom it removed were. Notices say
    themselves who gets them.
    """
    now = dict.fromkeys(members)
    found: list[Addressed] = []
    for message in reversed(tail):
        if not message.change:
            found.append(Addressed(message, () if large_from and message.seq >= large_from else tuple(now)))
            continue
        change = ChangeItem.FromString(message.change)
        found.append(Addressed(message, tuple(change.notices[0].recipients)))
        for record in change.set:
            if not record.joined_ms:
                now.pop(record.user, None)
        now.update(dict.fromkeys(change.removed))
    return found[::-1]


def _record(member: CachedMember, role: int, muted_until_ms: int) -> MemberRecord:
    record = member.record()
    record.role, record.muted_until_ms = role, muted_until_ms
    return record
