"""A message that was stored, as it is told to its recipients.

Guarantees: pure; a repeat is told as it was stored first, whatever was sent this time.

Does not know: when it is told (sender.py, changes/group_changes.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from protos.tidings.internal.v1 import delivery_pb2, storage_pb2
from services.logic.publishing.parcels import OutgoingPush
from tidings_protocol.content import stored_content
from tidings_protocol.ids import message_id
from tidings_protocol.wire.body import message_bytes

StoreOutcome = storage_pb2.StoreOutcome


def message_pushes(
    item: storage_pb2.StoreItem,
    outcome: storage_pb2.StoreOutcome,
    *,
    session: str = "",
    accepted_ms: int = 0,
) -> list[OutgoingPush]:
    """The push of a message that was stored, now or before. `session`: of the sender, which has it.

    There is no push of a repeat whose inbox entries are so old that storage does not look for their numbers.
    """
    duplicate = outcome.status == StoreOutcome.DUPLICATE
    body = message_bytes(
        conversation=item.conversation,
        seq=outcome.seq,
        message_id=message_id(item.conversation, outcome.seq),
        sender=item.sender,
        time_ms=outcome.time_ms,
        content=stored_content(outcome.content) if duplicate and outcome.content else item.content,
        kind=outcome.kind if duplicate and outcome.kind else item.kind,
        client_id=item.client_id,
        ordinal=outcome.ordinal,
    )
    users, numbers = _numbered(item.recipients, outcome.numbers)
    if item.recipients and not users:
        return []
    push = OutgoingPush(
        kind=delivery_pb2.Push.MESSAGE,
        body=body,
        users=users,
        numbers=numbers,
        conversation=item.conversation,
        except_session=session,
        trace=item.trace,
        accepted_ms=accepted_ms,
    )
    return [push]


def _numbered(users: Sequence[str], numbers: Sequence[int]) -> tuple[Sequence[str], Sequence[int]]:
    """The users whose entry has a number, with the numbers.

    Who came after a message that is repeated has none, and nobody has one if the message is of long ago.
    """
    if all(numbers):
        return users, numbers
    pairs = [(user, number) for user, number in zip(users, numbers, strict=True) if number]
    return [user for user, _ in pairs], [number for _, number in pairs]
