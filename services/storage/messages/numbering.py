"""Numbers for messages: dense, in the order given, one for each (sender, client id), whoever else writes.

A `NumberingBatch` is one batch on its way into the repository. The shell asks it what to insert (`plan`), tells it how
far that came (`committed`) and what it found out (`resolve`, or a conversation that was loaded anew), and asks again
until nothing is open:

    plan ──▶ insert in this order ──▶ committed(n) ──▶ plan ──▶ … nothing left
                 └ a place or client id was taken, or nobody knows ──▶ load anew, resolve ──▶ plan

A draft of kind CHANGE is judged as it gets its number, on its target as the drafts before it leave that (acts.py,
targets.py); what is refused, or has no effect, takes no number.

Guarantees: what is planned follows the head of its conversation without a gap, so an ordered insert that stops anywhere
leaves none; a client id that is known is never planned again; a draft becomes a DUPLICATE only of a message that its
conversation in memory reaches; times do not go back within a conversation, unless they lead by more than LEAD_MAX_MS:
then some clock was wrong, and what comes is shown with its real time (seq is the order).
Does not know: what happens to a message once it is in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from protos.tidings.internal.v1 import common_pb2, storage_pb2
from services.storage.folding.contents import in_order
from services.storage.folding.judge import Verdict
from services.storage.limits import LEAD_MAX_MS
from services.storage.loading.duplicates import RecentSends
from services.storage.memory.conversation import CachedConversation
from services.storage.messages.acts import Act, Number, Rules
from services.storage.messages.targets import Targets
from services.storage.repository.records import CHANGE, NORMAL, ClientKey, MessageKey, StoredMessage
from tidings_protocol import client_pb2
from tidings_protocol.content import BLOCKED
from tidings_protocol.errors import Forbidden, RateLimited, TidingsError
from tidings_protocol.ids import ConversationKind
from tidings_protocol.kinds import BY_NUMBER, Target


class Status(Enum):
    """How a draft ended."""

    OPEN = "open"
    STORED = "stored"
    DUPLICATE = "duplicate"
    STALE = "stale"
    NO_SUCH_TARGET = "no such target"
    REFUSED = "refused"  # by its target, the pace of its sender, or a block; `error` says why
    NO_EFFECT = "no effect"  # what it asks for is so already
    FAILED = "failed"


@dataclass(slots=True, eq=False)
class MessageDraft:
    """A message that wants a number.

    `version` is that of the group which allowed it (0 for direct chats and b:all). `fence` is the first notice of the
    same change: a draft with a fence shares its fate, and does not look at the version. `target`: the seq of the entry
    that it names (0: none). `act`: of a CHANGE.
    `special`: what is not plain about it; `mentioned`: the members among those whom it names. `is_own`: storage makes
    it by itself, on whatever version. `slow_s`: its sender may not have sent there within so many seconds.
    """

    conversation: CachedConversation
    key: ClientKey
    content: bytes
    kind: int = NORMAL
    version: int = 0
    target: int = 0
    change: bytes = b""
    creates: bool = False
    fence: MessageDraft | None = None
    status: Status = Status.OPEN
    seq: int = 0
    time_ms: int = 0
    before: int = 0
    read_over: bool = False
    act: Act | None = None
    special: common_pb2.Special | None = None
    mentioned: tuple[str, ...] = ()
    is_own: bool = False
    first: StoredMessage | None = None
    error: TidingsError | None = None
    slow_s: int = 0

    @property
    def is_change(self) -> bool:
        """Whether it changes an earlier entry."""
        return self.kind == CHANGE

    @property
    def named(self) -> MessageKey | None:
        """The entry that has to be known before it can be planned: what it changes; what it replies to, where that may
        be a CHANGE.
        """
        if self.act is not None:
            return self.conversation.id, self.act.seq
        if not self.target or self.conversation.is_message(self.target):
            return None
        return self.conversation.id, self.target

    def repeats(self, first: StoredMessage) -> bool:
        """Takes the message of an earlier try: the draft is a DUPLICATE if all that follows from it is done. Whether it
        is.
        """
        if not self.conversation.has_settled(first.seq):
            return False
        self.status, self.first = Status.DUPLICATE, first
        self.seq, self.time_ms = first.seq, first.time_ms
        return True


class NumberingBatch:
    """One batch, in which the order of drafts is the order of their numbers within a conversation."""

    def __init__(
        self, drafts: Sequence[MessageDraft], recent: RecentSends, now_ms: int, rules: Rules | None = None
    ) -> None:
        self._all = drafts
        self._rules = rules or Rules()
        self._names = any(draft.act is not None or draft.target for draft in drafts)
        self.targets = Targets()
        self._open = list(drafts)
        self._recent = recent
        self._now_ms = now_ms
        self._planned: list[MessageDraft] = []
        # What was refused because of what the present plan does: if that does not get in, it is judged again.
        self._tentative: list[MessageDraft] = []

    @property
    def open(self) -> list[MessageDraft]:
        """The drafts without an outcome."""
        return self._open

    def plan(self) -> list[StoredMessage]:
        """What to insert now, in this order; empty: every draft has its outcome."""
        heads: dict[str, tuple[int, int, int]] = {}
        keys: set[ClientKey] = set()
        paced: set[tuple[str, str]] = set()
        messages: list[StoredMessage] = []
        self._planned = []
        self.targets.begin()
        for draft in self._open:
            if draft.key in keys or self._is_known(draft):
                continue
            conversation = draft.conversation
            head, last_ms, changes = heads.get(conversation.id) or (
                conversation.head,
                conversation.last_ms,
                conversation.changes,
            )
            draft.status = self._refusal(draft, head)
            if draft.status is Status.OPEN and draft.act is not None:
                number = Number(head + 1, next_ms(self._now_ms, last_ms), changes)
                draft.status = self._judge(draft, draft.act, number)
            if draft.slow_s and draft.status is Status.OPEN:
                _hold_back(draft, paced, self._now_ms)
            if draft.status is not Status.OPEN:
                self._tentative.append(draft)
                continue
            draft.seq, draft.time_ms, draft.before = head + 1, next_ms(self._now_ms, last_ms), changes
            # A CHANGE is nobody's last message.
            heads[conversation.id] = draft.seq, last_ms if draft.is_change else draft.time_ms, changes + draft.is_change
            keys.add(draft.key)
            self._planned.append(draft)
            message = message_of(draft)
            messages.append(message)
            if self._names:
                self.targets.put(message)
        self._open = [draft for draft in self._open if draft.status is Status.OPEN]
        return messages

    def committed(self, count: int) -> None:
        """Notes that the first `count` of the plan are durable."""
        for draft in self._planned[:count]:
            conversation = draft.conversation
            draft.status = Status.STORED
            conversation.was_ahead |= not draft.is_change and draft.time_ms < conversation.last_ms
            conversation.head = draft.seq
            if draft.is_change:
                conversation.stored_change(draft.seq)
            else:
                conversation.shown, conversation.last_ms = draft.seq, draft.time_ms
                draft.read_over = conversation.sent(draft.key.sender, draft.seq)
            if draft.slow_s:
                conversation.pace(draft.key.sender, draft.time_ms)
            self._recent.add(draft.key, draft.seq)
            if self._names:
                self._note(draft)
        whole = count == len(self._planned)
        self._planned = []
        self.targets.begin()
        if whole:
            self._tentative = []
        else:
            self.doubt()
        self._open = [draft for draft in self._open if draft.status is Status.OPEN]

    def doubt(self) -> None:
        """Not all of the plan is in, for all that is known: what was refused because of it is open again."""
        for draft in self._tentative:
            draft.status, draft.error = Status.OPEN, None
        self._tentative = []
        self._open = [draft for draft in self._all if draft.status is Status.OPEN]

    def resolve(self, found: Mapping[ClientKey, StoredMessage]) -> None:
        """Takes what was there already of the client ids that are open; what is not settled stays open."""
        for draft in self._open:
            first = found.get(draft.key)
            if first is not None and draft.repeats(first):
                self._recent.add(draft.key, first.seq)
        self._open = [draft for draft in self._open if draft.status is Status.OPEN]

    def reload(self, conversation: CachedConversation) -> None:
        """Gives its drafts a conversation that was loaded anew."""
        self.targets.forget(conversation.id)
        for draft in self._all:
            if draft.conversation.id == conversation.id:
                draft.conversation = conversation

    def fail(self, conversation: str, error: TidingsError) -> None:
        """Fails the open drafts of this conversation: nothing more can be done for them."""
        for draft in self._open:
            if draft.conversation.id == conversation:
                draft.status, draft.error = Status.FAILED, error
        self._open = [draft for draft in self._open if draft.status is Status.OPEN]

    def unknown(self) -> list[MessageKey]:
        """The entries that have to be read before the open drafts can be planned."""
        if not self._names:
            return []
        return self.targets.unknown(key for draft in self._open if (key := draft.named) is not None)

    def _judge(self, draft: MessageDraft, act: Act, number: Number) -> Status:
        blocked = not draft.is_own and draft.conversation.refuses(draft.key.sender)
        if blocked:
            act.actor.rights.silenced = True
        verdict = act.plan(draft.key, number, draft.conversation, self.targets, self._rules, self._now_ms)
        if isinstance(verdict, TidingsError):
            # Of a recall it may be something else that is wrong: their own ones the blocked may recall.
            is_told = blocked and isinstance(verdict, Forbidden) and act.name != "recall"
            draft.error = Forbidden(BLOCKED) if is_told else verdict
            return Status.REFUSED
        return Status.OPEN if verdict is Verdict.ALLOWED else Status.NO_EFFECT

    def _refusal(self, draft: MessageDraft, head: int) -> Status:
        """Why a draft may not be stored after this head; OPEN if it may, as far as its target does not say."""
        status = _refusal(draft, head)
        if status is not Status.OPEN or draft.act is not None:
            return status
        special = draft.special
        if special is not None and special.streaming and not self._rules.has_room(draft.conversation.id):
            draft.error = RateLimited("too many streams are open here: finish some of them, then send again")
            return Status.REFUSED
        if not draft.target:
            return status
        replied = self.targets.at((draft.conversation.id, draft.target))
        is_there = draft.named is None if replied is None else replied.kind != CHANGE
        return Status.OPEN if is_there else Status.NO_SUCH_TARGET

    def _note(self, draft: MessageDraft) -> None:
        """The draft is in: what it names, or itself, is so for sure."""
        self.targets.inserted(message_of(draft))
        planned = draft.act.planned if draft.act is not None else None
        if planned is None:
            return
        self.targets.changed(planned.target)
        if planned.pinned is not None:
            conversation = draft.conversation
            conversation.document = replace(conversation.document, pinned=planned.pinned, pinned_at=draft.seq)

    def _is_known(self, draft: MessageDraft) -> bool:
        """Whether its client id is a recent one. A seq beyond the head in memory was given by another node: the
        conflict has the conversation loaded, and so settled.
        """
        seq = self._recent.seq_of(draft.key)
        if not 0 < seq <= draft.conversation.head:
            return False
        draft.status, draft.seq = Status.DUPLICATE, seq
        return True


def message_of(draft: MessageDraft) -> StoredMessage:
    """The message as it is inserted, once the draft has its number."""
    if draft.act is not None and draft.act.planned is not None:
        return draft.act.planned.entry
    conversation, sender, client_id = draft.key
    message = StoredMessage(
        conversation,
        draft.seq,
        sender,
        client_id,
        draft.time_ms,
        draft.content,
        draft.kind,
        draft.change,
        before=draft.before,
    )
    return message if draft.special is None else _special(message, draft.special, draft.mentioned)


def _special(message: StoredMessage, special: common_pb2.Special, mentioned: Sequence[str]) -> StoredMessage:
    streaming = storage_pb2.FoldedState(state=client_pb2.State(streaming=True)).SerializeToString()
    return message._replace(
        state=streaming if special.streaming else b"",
        parts=0 if special.streaming else None,
        expires_ms=message.time_ms + special.expire_after_s * 1000 if special.expire_after_s else 0,
        mentions=in_order(mentioned),
    )


def is_blocked(draft: MessageDraft) -> bool:
    """Whether it is a message to somebody who takes none from its sender. What it may change all the same is judged
    with what it changes.
    """
    return draft.conversation.refuses(draft.key.sender) and not draft.is_change


def next_ms(now_ms: int, last_ms: int) -> int:
    """The time of what follows a message of that time."""
    return last_ms if now_ms < last_ms <= now_ms + LEAD_MAX_MS else now_ms


def _refusal(draft: MessageDraft, head: int) -> Status:
    """Why a draft may not be stored after this head; OPEN if it may."""
    conversation = draft.conversation
    if draft.fence is not None:
        return Status.STALE if draft.fence.status is Status.STALE else Status.OPEN
    if conversation.kind is ConversationKind.GROUP and not draft.is_own:
        present = conversation.document.version if conversation.exists else 0
        if present != draft.version or (not present and not draft.creates):
            return Status.STALE
    elif is_blocked(draft):
        draft.error = Forbidden(BLOCKED)
        return Status.REFUSED
    if draft.target and not _has_target(draft, head):
        return Status.NO_SUCH_TARGET
    return Status.OPEN


def _hold_back(draft: MessageDraft, paced: set[tuple[str, str]], now_ms: int) -> None:
    """Refuses a draft whose sender has sent to the slow group too lately. `paced`: who sends there in this plan. The
    shell has asked when the senders sent last.
    """
    conversation, slow_ms = draft.conversation, 1000 * draft.slow_s
    sent_ms = (
        now_ms if (conversation.id, draft.key.sender) in paced else (conversation.paces or {}).get(draft.key.sender, 0)
    )
    left_ms = min(slow_ms, sent_ms + slow_ms - now_ms)
    if sent_ms and left_ms > 0:
        draft.status = Status.REFUSED
        draft.error = Forbidden(
            f"{conversation.id} is slow: a member sends once in {draft.slow_s} s; send again after the time given",
            left_ms,
        )
    paced.add((conversation.id, draft.key.sender))


def _has_target(draft: MessageDraft, head: int) -> bool:
    """The entry that it names exists, and its kind may name any. A kind that is not known may name none."""
    if not max(draft.conversation.first_seq, 1) <= draft.target <= head:
        return False
    kind = BY_NUMBER.get(draft.kind)
    return kind is not None and kind.target is Target.ANY
