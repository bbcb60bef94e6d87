"""Whether messages are stored already, for a node that is about to refuse them: the first outcome, or none.

Guarantees: DUPLICATE is said only of what is settled, so that all that follows from the message is there.
Does not know: why it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protos.tidings.internal.v1 import storage_pb2
from services.common.rpc.faults import to_fault
from services.storage.inboxes.fanout import InboxFanout
from services.storage.inboxes.numbering import Append
from services.storage.memory.conversation import CachedConversation
from services.storage.repository.records import ClientKey, StoredMessage
from tidings_protocol.errors import TidingsError, Unavailable

StoreItem = storage_pb2.StoreItem
StoreOutcome = storage_pb2.StoreOutcome
SETTLING_RETRY_MS = 200


def key_of(item: StoreItem) -> ClientKey:
    return ClientKey(item.conversation, item.sender, item.client_id)


def unsettled(
    found: Mapping[ClientKey, StoredMessage], conversations: Mapping[str, CachedConversation | TidingsError]
) -> set[str]:
    """The conversations in which another node has stored these; they are to be loaded again."""
    behind: set[str] = set()
    for message in found.values():
        conversation = conversations[message.conversation]
        if isinstance(conversation, CachedConversation) and conversation.head < message.seq:
            behind.add(conversation.id)
    return behind


async def outcomes(
    items: Sequence[StoreItem],
    found: Mapping[ClientKey, StoredMessage],
    conversations: Mapping[str, CachedConversation | TidingsError],
    fanout: InboxFanout,
) -> list[StoreOutcome]:
    """Outcomes, aligned with the items. The sender's number is looked for, however long ago it was given."""
    appends: list[Append] = []
    for item in items:
        if message := found.get(key_of(item)):
            appends += [
                Append(user, item.conversation, message.seq, message.time_ms, user == item.sender, only_look=True)
                for user in item.recipients
            ]
    numbers = iter(await fanout.append(appends))
    answers: list[StoreOutcome] = []
    for item in items:
        message = found.get(key_of(item))
        if message is None:
            answers.append(StoreOutcome(status=StoreOutcome.NOT_STORED))
            continue
        mine = [next(numbers) for _ in item.recipients]
        answers.append(_outcome(message, conversations[item.conversation], mine))
    return answers


def _outcome(
    message: StoredMessage, conversation: CachedConversation | TidingsError, numbers: Sequence[int | TidingsError]
) -> StoreOutcome:
    failure = next((number for number in numbers if isinstance(number, TidingsError)), None)
    if isinstance(conversation, TidingsError):
        failure = conversation
    elif not conversation.has_settled(message.seq):
        failure = Unavailable("this is being stored: try again", SETTLING_RETRY_MS)
    if failure is not None:
        return StoreOutcome(status=StoreOutcome.FAILED, fault=to_fault(failure))
    return StoreOutcome(
        status=StoreOutcome.DUPLICATE,
        seq=message.seq,
        time_ms=message.time_ms,
        numbers=[number for number in numbers if isinstance(number, int)],
        content=message.content,
        kind=message.kind,
    )
