"""What a change of a group does beside its members: who is banned, whose invites and requests end, what is dissolved.

It follows from the pending change of the document, as the members do (membership.py), and is written with the same
stamp by whoever finds it: so a ban is never without its removal, and nobody who got in still asks to.

Guarantees: writing twice, or late, does no harm: what came after the change has a higher stamp. Nothing is written for
a change that has nothing beside.
Does not know: when it is written.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Iterator
from typing import Any

from protos.tidings.internal.v1 import storage_pb2
from services.storage.repository.group_contract import GroupPorts
from services.storage.repository.group_records import BanDocument, InviteUse
from services.storage.repository.records import ConversationDocument

ChangeItem = storage_pb2.ChangeItem


def beside_of(ports: GroupPorts, documents: Iterable[ConversationDocument]) -> list[Coroutine[Any, Any, None]]:
    """The writes that follow from the pending changes of these documents, to be awaited; each raises Unavailable."""
    return [write for document in documents if document.pending for write in _writes(ports, document)]


def _writes(ports: GroupPorts, document: ConversationDocument) -> Iterator[Coroutine[Any, Any, None]]:
    pending = ChangeItem.FromString(document.pending)
    conversation, stamp = document.conversation, document.stamp
    bans = [BanDocument(conversation, user, stamp) for user in pending.banned]
    bans += [BanDocument(conversation, user, stamp, gone=True) for user in pending.unbanned]
    if bans:
        yield ports.bans.write(bans)
    if pending.removed:
        yield ports.invites.end(conversation, by=pending.removed, below=stamp)
    if pending.used_invite:
        # Whoever comes in by an invite makes the change.
        use = InviteUse(conversation, pending.used_invite, pending.actor, pending.invite_expires_ms)
        yield ports.invites.use([use])
    if pending.ends_requests:
        yield ports.requests.drop(conversation, None, stamp)
    elif document.asked_from and (settled := [*(record.user for record in pending.set), *pending.banned]):
        yield ports.requests.drop(conversation, settled, stamp)
    if pending.dissolves:
        yield ports.dissolved.note(conversation, stamp)
