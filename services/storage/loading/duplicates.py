"""What finds a repeat: of a message by its client id, of a change of a group by its op.

    RecentSends            the newest client ids, in memory: a repeat that is known costs no write that fails
    unsettled, outcomes    which messages are stored, for a node that would else refuse them: the first outcome, or none
    ChangesMade            which changes were made, as they were asked for: what a repeat of one asks for

A repeat that is not found here meets the unique key in the database (write_round.py). A change with notices is in its
first notice, one without is kept by its op for a day.

Guarantees: DUPLICATE is said only of what is settled, so that all that follows from the message is there. A change that
is found was fenced: it is made, or will be by whoever loads the conversation next. It is read from the database, so it
is found whichever node made it.
Does not know: why it is asked, what follows from a change.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence

from protos.tidings.internal.v1 import storage_pb2
from services.common.rpc.faults import to_fault
from services.storage.folding.shown import is_special, shown, state_of
from services.storage.inboxes.fanout import InboxFanout
from services.storage.inboxes.numbering import Append
from services.storage.memory.conversation import CachedConversation
from services.storage.repository.contract import Repository
from services.storage.repository.records import CHANGE, ClientKey, OpKey, StoredMessage
from tidings_protocol.content import notice_client_id
from tidings_protocol.errors import BadRequest, TidingsError, Unavailable

StoreItem = storage_pb2.StoreItem
StoreOutcome = storage_pb2.StoreOutcome
ChangeItem = storage_pb2.ChangeItem

# While another node settles the same conversation.
SETTLING_RETRY_MS = 200


class RecentSends:
    """The newest client ids that were stored, with their seq: facts, which stay true whatever else is in doubt."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._seqs: OrderedDict[ClientKey, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seqs)

    def seq_of(self, key: ClientKey) -> int:
        """The seq of the message with this client id; 0 if it is not known."""
        return self._seqs.get(key, 0)

    def add(self, key: ClientKey, seq: int) -> None:
        self._seqs[key] = seq
        if len(self._seqs) > self._capacity:
            self._seqs.popitem(last=False)


class ChangesMade:
    """The changes of groups that were made, as the database has them."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def find(self, keys: Collection[OpKey]) -> dict[OpKey, ChangeItem]:
        """The changes that were made, by op, as they were asked for; nothing is read for no keys."""
        if not keys:
            return {}
        found = await self.without_notices(keys)
        notices = {
            ClientKey(key.conversation, key.actor, notice_client_id(key.op, 0)): key for key in keys if key not in found
        }
        for client_key, message in (await self._repository.messages.find(notices)).items():
            if message.change:
                found[notices[client_key]] = ChangeItem.FromString(message.change)
        return found

    async def without_notices(self, keys: Collection[OpKey]) -> dict[OpKey, ChangeItem]:
        """Those changes that were made and have no notice, by op."""
        return {
            key: ChangeItem.FromString(change) for key, change in (await self._repository.changes.find(keys)).items()
        }


def other_use(first: StoredMessage) -> TidingsError:
    """The error of a send that has the client id of a change, or the reverse."""
    what = "a change" if first.kind == CHANGE else "a message"
    return BadRequest(f"this client_id is that of {what} that is stored here: give each its own")


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
        if (message.kind == CHANGE) != (item.kind == CHANGE):
            answers.append(StoreOutcome(status=StoreOutcome.REFUSED, fault=to_fault(other_use(message))))
            continue
        answers.append(_outcome(message, conversations[item.conversation], mine))
    return answers


def tell(outcome: StoreOutcome, message: StoredMessage, target: StoredMessage | None, now_ms: int) -> None:
    """Puts into a repeat's outcome what all are told now, if the entry is not plain, and the state of its target."""
    if not is_special(message):
        return
    outcome.message = shown(message, now_ms, target=target)
    if target is not None and (state := state_of(target, now_ms)) is not None:
        outcome.state = state.SerializeToString()


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
        ordinal=message.ordinal,
    )
