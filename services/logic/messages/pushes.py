"""An entry that was stored, as it is told to its recipients.

Guarantees: pure; a repeat is told as it was stored first, whatever was sent this time. What is not plain is told as
storage shows it. Who has hidden what a change is about gets its place alone.

Does not know: when it is told (sender.py, telling.py, changes/group_changes.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from protos.tidings.internal.v1 import delivery_pb2, logic_pb2, storage_pb2
from services.logic.publishing.parcels import OutgoingPush
from tidings_protocol import client_pb2
from tidings_protocol.content import stored_content
from tidings_protocol.ids import message_id
from tidings_protocol.kinds import CHANGE
from tidings_protocol.wire.body import message_bytes

StoreOutcome = storage_pb2.StoreOutcome


def message_pushes(
    item: storage_pb2.StoreItem,
    outcome: storage_pb2.StoreOutcome,
    *,
    session: str = "",
    accepted_ms: int = 0,
) -> list[OutgoingPush]:
    """The pushes of a message that was stored, now or before. `session`: of the sender, which has it.

    There is no push of a repeat whose inbox entries are so old that storage does not look for their numbers, nor of a
    change that took no place of its own.
    """
    if outcome.message or item.kind == CHANGE:
        if not outcome.message or not outcome.seq:
            return []
        push = _push_of(item, outcome.message, session=session, accepted_ms=accepted_ms)
        return _addressed(push, outcome.seq, item.recipients, outcome.numbers, outcome.stubs)
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
    push = _push_of(item, body, session=session, accepted_ms=accepted_ms)
    return _addressed(push, outcome.seq, item.recipients, outcome.numbers)


def told_pushes(item: logic_pb2.TellItem) -> list[OutgoingPush]:
    """The pushes of an entry that storage made by itself."""
    seq = client_pb2.Message.FromString(item.message).seq
    push = OutgoingPush(kind=delivery_pb2.Push.MESSAGE, body=item.message, conversation=item.conversation)
    return _addressed(push, seq, item.recipients, item.numbers, item.stubs)


def _push_of(item: storage_pb2.StoreItem, body: bytes, *, session: str, accepted_ms: int) -> OutgoingPush:
    return OutgoingPush(
        kind=delivery_pb2.Push.MESSAGE,
        body=body,
        conversation=item.conversation,
        except_session=session,
        trace=item.trace,
        accepted_ms=accepted_ms,
    )


def _addressed(
    push: OutgoingPush,
    seq: int,
    recipients: Sequence[str],
    numbers: Sequence[int],
    stubs: Sequence[str] = (),
) -> list[OutgoingPush]:
    """The push for those whose entry has a number, without its content for `stubs`; no recipients: for all nodes."""
    users, numbers = _numbered(recipients, numbers)
    if recipients and not users:
        return []
    if not stubs:
        return [push._replace(users=users, numbers=numbers)]
    if not recipients:
        return [push._replace(stub_users=stubs)]
    stub = client_pb2.Message(conversation=push.conversation, seq=seq).SerializeToString()
    hidden = frozenset(stubs)
    pairs = list(zip(users, numbers, strict=True))
    pushes: list[OutgoingPush] = []
    for body, mine in (
        (push.body, [pair for pair in pairs if pair[0] not in hidden]),
        (stub, [pair for pair in pairs if pair[0] in hidden]),
    ):
        if mine:
            named, numbered = [user for user, _ in mine], [number for _, number in mine]
            pushes.append(push._replace(body=body, users=named, numbers=numbered))
    return pushes


def _numbered(users: Sequence[str], numbers: Sequence[int]) -> tuple[Sequence[str], Sequence[int]]:
    """The users whose entry has a number, with the numbers.

    Who came after a message that is repeated has none, and nobody has one if the message is of long ago.
    """
    if all(numbers):
        return users, numbers
    pairs = [(user, number) for user, number in zip(users, numbers, strict=True) if number]
    return [user for user, _ in pairs], [number for _, number in pairs]
