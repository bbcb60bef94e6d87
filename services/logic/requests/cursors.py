"""Cursors of devices and readers move on, and the others hear of it.

    ack   ──▶ storage: which conversations got further? ──▶ receipts
      ▲           └─▶ mark delivered, where another node owns the conversation ──▶ receipts
      └── all is marked, or there is more: asked again ◀─┘
    read  ──▶ mark read ───────────────────────────────────────────────────▶ receipts

Guarantees: cursors never go back and never beyond the head (storage sees to it), what is read is delivered; a `read`
that was answered `ok` is durable, an ack is within seconds. An ack is noted only when all that it delivers is marked:
if something could not be, it raises, and whoever repeats the ack finds it again. Only what moved becomes a receipt. A
read that took a mark "unread" away is told to the user's other devices.

Does not know: who is told, and how often (receipts/sender.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protos.tidings.internal.v1 import logic_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.telemetry import logs
from services.logic.groups.permissions import check_in_chat
from services.logic.people.news import PeopleNews
from services.logic.receipts.coalescer import ReaderCursor
from services.logic.receipts.sender import ReceiptSender
from services.logic.requests.request import ClientRequest, Handler, Reply, ok_reply, passing
from services.logic.storage_client import StorageClient
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import ConversationKind, check_conversation

log = logs.get_logger(__name__)


class CursorMarker:
    """Moves the cursors of batches of acks and reads."""

    def __init__(self, storage: StorageClient, receipts: ReceiptSender, news: PeopleNews) -> None:
        self._storage = storage
        self._receipts = receipts
        self._news = news

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By the names of operations."""
        return {"read": self.read}

    async def acknowledge(self, items: Sequence[logic_pb2.AckItem]) -> None:
        """Notes that devices hold everything up to a number.

        Raises TidingsError if some of it could not be done: then all of it is to be sent again.
        """
        failure: TidingsError | None = None
        open_ = dict.fromkeys(range(len(items)), 0)  # index to the number up to which all is marked
        while open_:
            asked = [
                pb.AcknowledgeItem(user=item.user, device=item.device, number=item.number, marked=marked)
                for item, marked in ((items[index], marked) for index, marked in open_.items())
            ]
            outcomes = dict(zip(open_, await self._storage.acknowledge(asked), strict=True))
            failures = {index: outcome for index, outcome in outcomes.items() if isinstance(outcome, TidingsError)}
            failures.update(await self._deliver(items, outcomes))
            failure = failure or next(iter(failures.values()), None)
            open_ = {
                index: outcome.upto
                for index, outcome in outcomes.items()
                if index not in failures and not isinstance(outcome, TidingsError) and outcome.upto > open_[index]
            }
        if failure is not None:
            raise failure

    async def _deliver(
        self, items: Sequence[logic_pb2.AckItem], outcomes: Mapping[int, pb.AcknowledgeOutcome | TidingsError]
    ) -> dict[int, TidingsError]:
        """Notes what storage marked along, and has the rest marked; gives the items that are to be tried again.

        A refusal for good, as of a user who left a group, is the end of an item.
        """
        marks: list[pb.MarkItem] = []
        indexes: list[int] = []
        for index, outcome in outcomes.items():
            if isinstance(outcome, TidingsError):
                continue
            item = items[index]
            for delivered in outcome.delivered:
                if delivered.HasField("mark"):
                    self._note(item.user, delivered.conversation, item.session, delivered.mark)
                    continue
                marks.append(
                    pb.MarkItem(conversation=delivered.conversation, user=item.user, delivered_seq=delivered.seq)
                )
                indexes.append(index)
        marked = await self._mark(marks, [items[index].session for index in indexes])
        return {
            index: outcome
            for index, outcome in zip(indexes, marked, strict=True)
            if isinstance(outcome, TidingsError) and outcome.retryable
        }

    async def read(self, requests: Sequence[ClientRequest]) -> list[Reply]:
        """Answers `read` requests: `ok` is durable."""
        replies: list[Reply] = [ok_reply()] * len(requests)
        allowed = passing(
            requests, replies, lambda request: _check_reader(request.frame.read.conversation, request.user)
        )
        marks = [
            pb.MarkItem(
                conversation=requests[index].frame.read.conversation,
                user=requests[index].user,
                read_seq=requests[index].frame.read.seq,
                durable=True,
            )
            for index in allowed
        ]
        outcomes = await self._mark(marks, [requests[index].session for index in allowed])
        for index, outcome in zip(allowed, outcomes, strict=True):
            if isinstance(outcome, TidingsError):
                replies[index] = outcome
        return replies

    async def _mark(self, marks: Sequence[pb.MarkItem], sessions: Sequence[str]) -> list[pb.MarkOutcome | TidingsError]:
        """Marks, and notes a receipt for what moved; `sessions`: the connection that each comes from."""
        if not marks:
            return []
        outcomes = await self._storage.mark(marks)
        for mark, session, outcome in zip(marks, sessions, outcomes, strict=True):
            if isinstance(outcome, TidingsError):
                log.debug("mark refused", code=outcome.code)
            else:
                self._note(mark.user, mark.conversation, session, outcome)
                if outcome.HasField("preferences"):
                    self._news.preferences(mark.user, outcome.preferences, session)
        return outcomes

    def _note(self, user: str, conversation: str, session: str, outcome: pb.MarkOutcome) -> None:
        if outcome.moved:
            self._receipts.note(
                ReaderCursor(
                    user=user,
                    conversation=conversation,
                    delivered_seq=outcome.delivered_seq,
                    read_seq=outcome.read_seq,
                    session=session,
                    version=outcome.version,
                    large=outcome.large_from > 0,
                )
            )


def _check_reader(conversation: str, user: str) -> None:
    """Raises Forbidden for a direct chat of others; of groups storage knows the members when it marks."""
    if check_conversation(conversation) is ConversationKind.DIRECT:
        check_in_chat(conversation, user)
