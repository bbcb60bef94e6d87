"""The states of the messages that this client sent: sending, sent, delivered, read, failed. Pure.

Guarantees: a message's states only go on; one that is cancelled before it went out comes into no other. Delivered and
read mean: by at least one other member. Only the latest `TRACKED_MAX` messages are followed; older ones stay in the
state they have.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from tidings.core.signals import Done, Failed, Submit
from tidings.model import MessageState, Progress
from tidings_protocol import client_pb2 as pb

TRACKED_MAX = 2000
PER_CONVERSATION_MAX = 500


@dataclass(slots=True)
class _Conversation:
    """What the others hold and have read, and our messages (seq, client id) that wait for it, in order of seq."""

    delivered_seq: int = 0
    read_seq: int = 0
    undelivered: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=PER_CONVERSATION_MAX))
    unread: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=PER_CONVERSATION_MAX))


class ProgressBook:
    def __init__(self) -> None:
        self._conversations: OrderedDict[str, _Conversation] = OrderedDict()
        self._sending: dict[int, Progress] = {}  # by ticket, until the outcome

    def submitted(self, submit: Submit) -> Iterator[Progress]:
        """Takes on a request of the application; one that is no message has no states."""
        client_id = submit.frame.send.client_id
        if client_id:
            sending = Progress(client_id, submit.lane, 0, MessageState.SENDING)
            self._sending[submit.ticket] = sending
            yield sending

    def cancelled(self, ticket: int) -> None:
        """Nobody waits for this one any more."""
        self._sending.pop(ticket, None)

    def came_out(self, outcome: Done | Failed) -> Iterator[Progress]:
        """Moves on the message that this is the outcome of, if it is one of a message."""
        sending = self._sending.pop(outcome.ticket, None)
        if sending is None:
            return
        match outcome:
            case Done(_, frame):
                yield from self._sent(frame.sent)
            case Failed(_, error):
                yield replace(sending, state=MessageState.FAILED, reason=str(error))

    def receipt(self, receipt: pb.Receipt) -> Iterator[Progress]:
        """Moves on what another user has got and read."""
        found = self._conversations.get(receipt.conversation)
        if found is None:
            return
        found.delivered_seq = max(found.delivered_seq, receipt.delivered_seq)
        found.read_seq = max(found.read_seq, receipt.read_seq)
        yield from _advance(receipt.conversation, found)

    def _sent(self, sent: pb.Sent) -> Iterator[Progress]:
        yield Progress(sent.client_id, sent.conversation, sent.seq, MessageState.SENT)
        found = self._conversations.setdefault(sent.conversation, _Conversation())
        self._conversations.move_to_end(sent.conversation)
        if len(self._conversations) > TRACKED_MAX:
            self._conversations.popitem(last=False)
        found.undelivered.append((sent.seq, sent.client_id))
        found.unread.append((sent.seq, sent.client_id))
        yield from _advance(sent.conversation, found)  # the receipt may have come before


def _advance(conversation: str, found: _Conversation) -> Iterator[Progress]:
    for waiting, upto, state in (
        (found.undelivered, max(found.delivered_seq, found.read_seq), MessageState.DELIVERED),
        (found.unread, found.read_seq, MessageState.READ),
    ):
        while waiting and waiting[0][0] <= upto:
            seq, client_id = waiting.popleft()
            yield Progress(client_id, conversation, seq, state)
