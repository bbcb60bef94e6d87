"""What a round has to do: messages to store, changes of groups to make; and what became of each, as its outcome.

Guarantees: no I/O. OVERLOADED, "nothing was done", is the outcome of nothing here: a message, or a group, may be there
although something that follows from it was refused.
Does not know: how jobs are done (write_round.py, group_writer.py).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from protos.tidings.internal.v1 import storage_pb2
from services.common.rpc.faults import to_fault
from services.storage.events.port import FedRow
from services.storage.folding.hiders import Audience
from services.storage.folding.judge import Actor
from services.storage.folding.shown import folded_state, is_special, shown, state_of
from services.storage.loading import membership
from services.storage.memory.conversation import CachedConversation
from services.storage.messages.acts import Act, Reactions
from services.storage.messages.numbering import MessageDraft, Status, message_of
from services.storage.repository.records import CHANGE, NORMAL, SYSTEM, ClientKey, OpKey
from tidings_protocol import client_pb2
from tidings_protocol.content import notice_client_id
from tidings_protocol.errors import BadRequest, Overloaded, TidingsError, Unavailable

StoreItem = storage_pb2.StoreItem
StoreOutcome = storage_pb2.StoreOutcome
ChangeItem = storage_pb2.ChangeItem
ChangeOutcome = storage_pb2.ChangeOutcome

_STATUS = {
    Status.STORED: StoreOutcome.STORED,
    Status.DUPLICATE: StoreOutcome.DUPLICATE,
    Status.STALE: StoreOutcome.STALE,
    Status.NO_SUCH_TARGET: StoreOutcome.NO_SUCH_REPLY,
    Status.REFUSED: StoreOutcome.REFUSED,
    Status.NO_EFFECT: StoreOutcome.STORED,
    Status.FAILED: StoreOutcome.FAILED,
}


IS_IN = frozenset((Status.STORED, Status.DUPLICATE))
OPERATOR_RIGHTS = storage_pb2.ActorRights(is_operator=True)


@dataclass(frozen=True, slots=True)
class OwnChange:
    """A CHANGE that a storage node makes by itself: reactions are told, a stream that fell silent ends, what a hook
    refused is recalled.

    `sender`: who is shown as its sender. `change`: which message, and the act (of reactions without what it tells:
    `reactions` give that). All members get it. It is idempotent by the client id, as any other.
    """

    conversation: str
    sender: str
    client_id: str
    change: client_pb2.Change
    reactions: Reactions | None = None


@dataclass(frozen=True, slots=True)
class OwnOutcome:
    """What became of an OwnChange: as of a change that was asked for, with those who are to be told, aligned with its
    numbers.
    """

    outcome: StoreOutcome
    recipients: Sequence[str]


@dataclass(slots=True, eq=False)
class StoreJob:
    """A draft and who gets it; the numbers are filled in when they are known."""

    draft: MessageDraft
    recipients: Sequence[str]
    numbers: list[int] = field(default_factory=list)
    trace: str = ""
    # What is not plain: as all are told of it, and which recipients get a stub.
    told: bytes = b""
    stubs: Sequence[str] = ()

    @staticmethod
    def of(item: StoreItem | OwnChange, conversation: CachedConversation) -> StoreJob:
        if isinstance(item, OwnChange):
            return StoreJob.from_own(item, conversation)
        return StoreJob.from_item(item, conversation)

    @staticmethod
    def from_item(item: StoreItem, conversation: CachedConversation) -> StoreJob:
        draft = MessageDraft(
            conversation,
            ClientKey(conversation.id, item.sender, item.client_id),
            item.content,
            item.kind or NORMAL,
            item.version,
            item.reply_to,
            slow_s=item.slow_s,
        )
        if item.HasField("special"):
            draft.special = item.special
        if draft.is_change:
            change = client_pb2.Change.FromString(item.special.change)
            draft.act = Act(change, Actor(item.sender, item.rights), item.content)
        return StoreJob(draft, item.recipients, trace=item.trace)

    @staticmethod
    def from_own(own: OwnChange, conversation: CachedConversation) -> StoreJob:
        draft = MessageDraft(
            conversation,
            ClientKey(conversation.id, own.sender, own.client_id),
            b"",
            CHANGE,
            act=Act(own.change, Actor(own.sender, OPERATOR_RIGHTS, is_storage=True), reactions=own.reactions),
            is_own=True,
        )
        return StoreJob(draft, all_of(conversation))

    def reload(self) -> None:
        """Its conversation was loaded anew."""
        if self.draft.is_own:
            self.recipients = all_of(self.draft.conversation)

    def fed(self) -> FedRow:
        """What is durable, for the feed of events."""
        return FedRow(self.draft.conversation, message_of(self.draft), self.recipients, self.trace, self.told)

    def tell(self, now_ms: int) -> None:
        """Makes what all are told, if the entry is in and is not plain."""
        draft = self.draft
        entry = draft.first if draft.status is Status.DUPLICATE else message_of(draft)
        if entry is not None and draft.status in IS_IN and (draft.special is not None or is_special(entry)):
            self.told = shown(entry, now_ms, target=draft.act.target if draft.act is not None else None)

    def accept(self, numbers: Sequence[int | TidingsError]) -> None:
        """The numbers of its inbox entries, aligned with the recipients; the first that is an error makes it fail."""
        for number in numbers:
            if isinstance(number, TidingsError):
                self.draft.status, self.draft.error = Status.FAILED, number
                return
            self.numbers.append(number)

    def outcome(self, now_ms: int) -> StoreOutcome:
        draft = self.draft
        if draft.status is Status.STORED:
            return StoreOutcome(
                seq=draft.seq,
                time_ms=draft.time_ms,
                numbers=self.numbers,
                read_over=draft.read_over,
                ordinal=0 if draft.is_change else draft.seq - draft.before,
                message=self.told,
                state=self._state(now_ms),
                stubs=self.stubs,
            )
        outcome = StoreOutcome(
            status=_STATUS[draft.status], message=self.told, state=self._state(now_ms), stubs=self.stubs
        )
        if draft.status is Status.NO_EFFECT:
            outcome.seq = self._made_so()
        elif draft.status is Status.REFUSED:
            outcome.fault.CopyFrom(to_fault(draft.error or BadRequest("this message cannot be changed so")))
        elif draft.status is Status.DUPLICATE:
            outcome.seq, outcome.time_ms = draft.seq, draft.time_ms
            outcome.numbers.extend(self.numbers)
            if draft.first is not None:
                outcome.content, outcome.kind = draft.first.content, draft.first.kind
                outcome.ordinal = draft.first.ordinal
        elif draft.status is Status.FAILED:
            outcome.fault.CopyFrom(to_fault(unsure(draft.error or Unavailable("this could not be stored: try again"))))
        return outcome

    def _state(self, now_ms: int) -> bytes:
        """Of a change that is in, or had no effect: the state of its target."""
        draft = self.draft
        if draft.act is None or draft.act.target is None or draft.status not in {*IS_IN, Status.NO_EFFECT}:
            return b""
        state = state_of(draft.act.target, now_ms)
        return state.SerializeToString() if state is not None else b""

    def _made_so(self) -> int:
        """The CHANGE that a change without effect would have repeated, if that is known: nothing follows a recall."""
        act = self.draft.act
        if act is None or act.target is None or act.name != "recall":
            return 0
        return folded_state(act.target).state.revision


@dataclass(slots=True, eq=False)
class ChangeJob:
    """Changes of one group that are made as one: one change, or quiet joins that can be merged.

    `indexes` say where the items stand in the batch. `made`: what earlier tries have made of them.
    """

    conversation: CachedConversation
    indexes: list[int]
    items: list[ChangeItem]
    notices: list[StoreJob] = field(default_factory=list)
    made: dict[OpKey, ChangeItem] = field(default_factory=dict)
    status: ChangeOutcome.Status.ValueType = ChangeOutcome.FAILED
    error: TidingsError | None = None

    def can_take(self, item: ChangeItem) -> bool:
        """Whether this change can be made together with those that are in the job."""
        return membership.can_merge(self.items[0], item)

    def add(self, index: int, item: ChangeItem) -> None:
        self.indexes.append(index)
        self.items.append(item)

    def draft_notices(self) -> list[MessageDraft]:
        """Drafts of the notices, of which the first fences the others: either all of them are stored, or none."""
        item = self.items[0]
        fence: MessageDraft | None = None
        for index, notice in enumerate(item.notices):
            draft = MessageDraft(
                self.conversation,
                ClientKey(self.conversation.id, item.actor, notice_client_id(item.op, index)),
                notice.content,
                SYSTEM,
                item.version,
                change=membership.carried(item, index),
                creates=not item.version,
                fence=fence,
            )
            fence = fence or draft
            self.notices.append(StoreJob(draft, notice.recipients))
        return [notice.draft for notice in self.notices]

    def outcome(self, item: ChangeItem) -> ChangeOutcome:
        """The outcome of one of its items."""
        failed = next((notice.draft for notice in self.notices if notice.draft.status is Status.FAILED), None)
        error = self.error or (failed.error if failed else None)
        if error is not None:
            return ChangeOutcome(status=ChangeOutcome.FAILED, fault=to_fault(unsure(error)))
        made = self.made.get(membership.op_of(item))
        if self.status != ChangeOutcome.DONE and made is None:
            return ChangeOutcome(status=self.status)
        return ChangeOutcome(
            status=ChangeOutcome.DONE,
            record=self.conversation.record(),
            notices=[notice.outcome(0) for notice in self.notices],
            made=None if made == item else made,
        )


def all_of(conversation: CachedConversation) -> Sequence[str]:
    """Who gets an inbox entry of what storage makes by itself; nobody, where it is read by cursor."""
    return list(conversation.members) if conversation.knows_all else ()


def unsure(error: TidingsError) -> TidingsError:
    """The error, but Overloaded becomes Unavailable: a lane of inboxes was full, and the message may be there."""
    if isinstance(error, Overloaded):
        return Unavailable("what follows from this could not be done yet: send it again", error.retry_after_ms)
    return error


def stubs_among(audience: Audience, hiders: Collection[str], conversation: CachedConversation | None) -> list[str]:
    """Who of those that are told of a CHANGE gets a stub: who has hidden its target, or came after it. Of a large
    group, or without its conversation in memory, nobody is known to have come late.
    """
    if not audience.users:
        return list(hiders)
    seq = audience.target[1]
    return [
        user
        for user in audience.users
        if user in hiders or (conversation is not None and not conversation.may_read(user, seq))
    ]
