"""Sends and changes: a batch of messages is permitted, offered to the hooks, stored, told to its recipients, answered.

    permit ──▶ hook (hooked_sends.py) ──▶ store ──▶ look, for what is refused ──▶ publish ──▶ outcomes
      ▲                               │ stale: the group has changed since
      └───────────────────────────────┘ (at most `DECISIONS_MAX` times)

A change of a message goes the same way: what depends on the message that it changes is judged by storage. Reactions go
to their set (reactions.py) in the same order as all else.

Guarantees: an outcome for each item, in their order; one without a fault is durable, and handed to the publisher, which
holds senders back when too much waits for Kafka. Items of one conversation are stored in their order, among those that
are accepted. Everything may be repeated, here or on another node: storage gives the same numbers for the same client
id, and what is pushed again is what was stored first. Nothing is refused before storage was asked whether it was stored
earlier, when it was still allowed.

Does not know: the shape of content (access checked it), inbox numbers, nodes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

from protos.tidings.internal.v1 import logic_pb2, storage_pb2
from services.common.clock import Clock, SystemClock
from services.common.lanes.dividing import divided
from services.common.rpc.faults import from_fault
from services.common.scope import Owned, TaskScope, run_all
from services.common.special import special_of
from services.common.telemetry import logs, metrics, tracing
from services.logic.groups.loader import FoundGroups, GroupLoader, group_in
from services.logic.groups.needs import Need
from services.logic.groups.permissions import check_send, pace_of
from services.logic.groups.recipients import fanout_of
from services.logic.messages.draft import TO_NOBODY, SendDraft, outcome_of
from services.logic.messages.hooked_sends import HookedSends
from services.logic.messages.hooks import Hooks
from services.logic.messages.pushes import message_pushes
from services.logic.messages.reactions import Reactor
from services.logic.messages.rights import ChangeWindows, rights_of
from services.logic.messages.specials import special_for
from services.logic.messages.store_items import look_item, no_such_reply, store_item, with_sender
from services.logic.messages.stream_ends import StreamEnds, candidate_of, recall_item
from services.logic.publishing.parcels import OutgoingPush
from services.logic.publishing.publisher import Publisher
from services.logic.publishing.records import Publication
from services.logic.receipts.coalescer import ReaderCursor
from services.logic.receipts.sender import ReceiptSender
from services.logic.storage_client import StorageClient
from tidings_protocol import client_pb2
from tidings_protocol.errors import Blame, TidingsError, Unavailable
from tidings_protocol.ids import BROADCAST, OPERATOR, ConversationKind, kind_of
from tidings_protocol.kinds import CHANGE, FINISH, REACTED, SYSTEM

DECISIONS_MAX = 4
# How long the answer to an access node waits for the hook: those who speak elsewhere wait with it.
HOOK_PATIENCE_S = 0.02
CHANGING_RETRY_MS = 200
# Tries to recall what the hook refused after it was stored.
RECALLS_MAX = 5

log = logs.get_logger(__name__)

StoreOutcome = storage_pb2.StoreOutcome
# What keeps drafts: an outcome, or its error, for each item.
Put = Callable[[Sequence[storage_pb2.StoreItem]], Awaitable[Sequence[StoreOutcome | TidingsError]]]


class MessageSender(Owned):
    """Sends what access nodes and the operator ask for.

    An async context manager: leaving it ends what the hook holds up.
    """

    def __init__(
        self,
        storage: StorageClient,
        loader: GroupLoader,
        publisher: Publisher,
        receipts: ReceiptSender,
        hooks: Hooks | None,
        reactor: Reactor,
        *,
        windows: ChangeWindows,
        content_bytes_max: int,
        held_max: int,
        hook_patience_s: float = HOOK_PATIENCE_S,
        clock: Clock | None = None,
    ) -> None:
        """`content_bytes_max`: of the whole text of a stream; `held_max`: messages that may wait for the hook. `clock`:
        None: the system's.
        """
        self._clock = clock or SystemClock()
        self._storage = storage
        self._loader = loader
        self._publisher = publisher
        self._receipts = receipts
        self._reactor = reactor
        self._windows = windows
        self._stream_ends = StreamEnds(storage, content_bytes_max)
        self._scope = TaskScope()  # of recalls
        self._reviews = False
        self._hooked: HookedSends | None = None
        if hooks is not None:
            self._hooked = HookedSends(
                hooks, self._permit_asked, self._finish, held_max=held_max, patience_s=hook_patience_s
            )

    @property
    def asks_hooks(self) -> bool:
        """Whether a hook is asked before a message is stored."""
        return self._hooked is not None

    async def _running(self) -> AsyncIterator[None]:
        if self._hooked is None:
            yield
        else:
            async with self._hooked, self._scope:
                self._reviews = True
                try:
                    yield
                finally:
                    self._reviews = False

    async def send(self, items: Sequence[logic_pb2.SendItem], *, holds: bool = False) -> list[logic_pb2.SendOutcome]:
        """Sends users' messages; gives an outcome for each item, in their order.

        `holds`: the asker knows `pending`, and asks again. Raises nothing for the sake of an item. After a cancellation
        any of the messages may be stored.
        """
        if self._hooked is not None:
            return await self._hooked.send(items, holds=holds)
        drafts = [SendDraft(item) for item in items]
        with tracing.batch("logic send", (item.trace for item in items), items=len(items)):
            await self._permit(drafts)
            await self._finish(drafts)
        return [outcome_of(draft) for draft in drafts]

    async def refuse_replies(self, items: Sequence[logic_pb2.SendItem]) -> list[logic_pb2.SendOutcome]:
        """Answers for replies to what is not there, as storage said of them already; they are not stored.

        One that repeats what was stored when it was there has that outcome.
        """
        drafts = [SendDraft(item) for item in items]
        await self._permit(drafts)
        for draft in drafts:
            draft.error = draft.error or no_such_reply(draft.item)
        await self._look(drafts)
        await self._tell(drafts)
        return [outcome_of(draft) for draft in drafts]

    async def _finish(self, drafts: Sequence[SendDraft]) -> None:
        """Stores, looks up and tells what was decided."""
        if altered := [draft for draft in drafts if draft.is_altered]:
            await self._permit(altered)
        await self._store(drafts)
        await self._look(drafts)
        await self._tell(drafts)
        if vetoed := [draft for draft in drafts if draft.is_vetoed and draft.kind is FINISH and draft.error]:
            await self._recall(vetoed)

    async def _recall(self, ends: Sequence[SendDraft]) -> None:
        """Recalls the messages of streams whose end the hook refused; an end whose message is still there may be tried
        again.
        """
        recalls = [SendDraft(recall_item(draft.item.conversation, draft.change.seq)) for draft in ends if draft.change]
        await self._permit(recalls)
        await self._store(recalls)
        await self._tell(recalls)
        for draft, recall in zip(ends, recalls, strict=True):
            if recall.error is not None and recall.error.retryable:
                draft.error = recall.error

    def review_end(self, end: client_pb2.Message) -> None:
        """Has the hook, if there is one, asked about a stream that was ended by storage (its CHANGE); its message is
        recalled if the hook refuses it.
        """
        if self._hooked is not None:
            self._hooked.review(
                candidate_of(end),
                lambda: self._recall_later(end),
            )

    def _recall_later(self, end: client_pb2.Message) -> None:
        if self._reviews:
            self._scope.spawn(self._recall_end(end), name="recall of what the hook refused")

    async def _recall_end(self, end: client_pb2.Message) -> None:
        """Nobody waits for it who could ask again."""
        error: TidingsError | None = None
        for _ in range(RECALLS_MAX):
            [outcome] = await divided(self.send, [recall_item(end.conversation, end.change.seq)], "recall")
            error = _error_of(outcome)
            if error is None:
                return
            if not error.retryable:
                break
            await asyncio.sleep(error.retry_after_ms / 1000)
        assert error is not None
        log.error("what the hook refused is still there: recall it", seq=end.change.seq, code=error.code)

    async def announce(self, content: bytes, client_id: str) -> storage_pb2.StoreOutcome:
        """Sends the operator's notice (an encoded Content) to everyone; raises TidingsError if it was not stored."""
        special = special_of(client_pb2.Content.FromString(content))
        item = storage_pb2.StoreItem(
            conversation=BROADCAST,
            sender=OPERATOR,
            client_id=client_id,
            content=content,
            kind=SYSTEM.number,
            special=special_for(special, BROADCAST, OPERATOR, None) if special is not None else None,
        )
        [outcome] = await self._storage.store([item])
        if isinstance(outcome, TidingsError):
            raise outcome
        if outcome.status not in {StoreOutcome.STORED, StoreOutcome.DUPLICATE}:
            raise Unavailable("the notice was not stored: try again with the same client id")
        await self._publisher.publish(Publication(message_pushes(item, outcome), messages=1))
        return outcome

    # ---- permission

    async def _permit(self, drafts: Sequence[SendDraft]) -> None:
        """Sets each draft's fan-out, or its error. What memory refuses, storage is asked about."""
        groups, fresh = await self._loader.known(_senders(drafts))
        refused = [draft for draft in drafts if not self._decide(draft, groups) and _is_group(draft)]
        doubtful = [draft for draft in refused if draft.item.conversation not in fresh]
        if doubtful:
            needs = [Need(conversation, tuple(users)) for conversation, users in _senders(doubtful).items()]
            groups = await self._loader.load(needs)
            for draft in doubtful:
                self._decide(draft, groups)

    async def _permit_asked(self, drafts: Sequence[SendDraft]) -> None:
        """As `_permit`, of what the hook is asked about: a stream that ends has its whole text then."""
        await self._permit(drafts)
        if ends := [draft for draft in drafts if draft.kind is FINISH and draft.error is None]:
            await self._stream_ends.complete(ends)

    def _decide(self, draft: SendDraft, groups: FoundGroups) -> bool:
        """Whether the draft may be stored, by these groups."""
        conversation, user = draft.item.conversation, draft.item.sender
        draft.error, now_ms = None, self._clock.wall_ms()
        try:
            group = group_in(groups, conversation) if kind_of(conversation) is ConversationKind.GROUP else None
            draft.fanout = TO_NOBODY if group is None and conversation[0] == "g" else fanout_of(conversation, group)
            if draft.change is not None:
                draft.rights = rights_of(draft.known_act(), conversation, user, group, self._windows, now_ms)
            else:
                check_send(conversation, user, group, now_ms)
                draft.slow_s = pace_of(group, user) if group is not None else 0
            if draft.asked is not None:
                draft.special = special_for(draft.asked, conversation, user, group)
        except TidingsError as error:
            draft.error = error
            return False
        return True

    # ---- storing

    async def _store(self, drafts: Sequence[SendDraft]) -> None:
        pending = [draft for draft in drafts if draft.error is None]
        for _ in range(DECISIONS_MAX):
            stale = await self._store_once(pending)
            if not stale:
                return
            metrics.STALE_DECISIONS.labels("send").inc(len(stale))
            for draft in stale:
                self._loader.forget(draft.item.conversation)
            await self._permit(stale)
            pending = [draft for draft in stale if draft.error is None]
        for draft in pending:
            draft.error = Unavailable(
                f"{draft.item.conversation} is changing: send again with the same client_id", CHANGING_RETRY_MS
            )

    async def _store_once(self, drafts: Sequence[SendDraft]) -> list[SendDraft]:
        """Stores drafts, and gives those whose decision was stale; the others have their outcome."""
        stale: list[SendDraft] = []
        for run in _runs(drafts):
            for draft in run:
                draft.store_item = store_item(draft)
            reacts = [draft for draft in run if draft.kind is REACTED]
            others = [draft for draft in run if draft.kind is not REACTED] if reacts else run
            if not reacts:
                stale += await self._put(others, self._storage.store)
            elif not others:
                stale += await self._put(reacts, self._reactor.react)
            else:
                for part in await run_all(
                    self._put(others, self._storage.store), self._put(reacts, self._reactor.react)
                ):
                    stale += part
        return stale

    async def _put(self, drafts: Sequence[SendDraft], put: Put) -> list[SendDraft]:
        """Gives drafts to what keeps them; those whose decision was stale."""
        outcomes = await put([draft.store_item for draft in drafts])
        stale: list[SendDraft] = []
        for draft, outcome in zip(drafts, outcomes, strict=True):
            if isinstance(outcome, TidingsError):
                draft.error = outcome
            elif outcome.status == StoreOutcome.STALE:
                stale.append(draft)
            elif outcome.status == StoreOutcome.NO_SUCH_REPLY:
                draft.error = no_such_reply(draft.item)
            elif outcome.status == StoreOutcome.REFUSED:
                draft.error, draft.is_judged = from_fault(outcome.fault), True
            else:
                draft.stored = outcome
        return stale

    # ---- repeats

    async def _look(self, drafts: Sequence[SendDraft]) -> None:
        """Who is refused now may repeat what was stored when it was allowed: then that is the outcome."""
        refused = [draft for draft in drafts if _may_be_repeat(draft)]
        if not refused:
            return
        for draft in refused:
            draft.fanout = with_sender(draft.fanout, draft.item.sender)
            draft.store_item = look_item(draft)
        outcomes = await self._storage.store([draft.store_item for draft in refused])
        for draft, outcome in zip(refused, outcomes, strict=True):
            if isinstance(outcome, TidingsError):
                draft.error = outcome
            elif outcome.status == StoreOutcome.DUPLICATE and _is_same_kind(draft, outcome):
                draft.error, draft.stored = None, outcome

    # ---- telling

    async def _tell(self, drafts: Sequence[SendDraft]) -> None:
        outgoing: list[OutgoingPush] = []
        for draft in drafts:
            if draft.stored is None:
                continue
            item = draft.item
            metrics.FANOUT.observe(len(draft.fanout.recipients))
            outgoing += message_pushes(
                draft.store_item, draft.stored, session=item.session, accepted_ms=item.accepted_ms
            )
            if draft.stored.read_over:
                self._receipts.note(_read_up_to(draft, draft.stored.seq))
        if outgoing:
            await self._publisher.hand_over(Publication(outgoing, messages=len(outgoing)))


def _senders(drafts: Iterable[SendDraft]) -> dict[str, list[str]]:
    """The senders of the drafts, by group."""
    senders: dict[str, list[str]] = {}
    for draft in drafts:
        if _is_group(draft):
            users = senders.setdefault(draft.item.conversation, [])
            if draft.item.sender not in users:
                users.append(draft.item.sender)
    return senders


def _is_group(draft: SendDraft) -> bool:
    return draft.item.conversation.startswith("g:")


def _may_be_repeat(draft: SendDraft) -> bool:
    """Whether a refused draft may have been stored earlier. Reactions are a set, in which a repeat changes nothing."""
    if draft.error is None or draft.is_judged or draft.kind is REACTED:
        return False
    return draft.error.blame is Blame.CALLER


def _is_same_kind(draft: SendDraft, first: storage_pb2.StoreOutcome) -> bool:
    """Whether what was stored with its client id is a change if it is one, and a message if it is none."""
    return not first.kind or (first.kind == CHANGE) == (draft.change is not None)


def _runs(drafts: Sequence[SendDraft]) -> list[list[SendDraft]]:
    """The drafts in runs that are done one after the other: in each, a conversation has reactions, or all else."""
    if not any(draft.kind is REACTED for draft in drafts):
        return [list(drafts)] if drafts else []
    runs: list[list[SendDraft]] = []
    last: dict[str, tuple[int, bool]] = {}
    for draft in drafts:
        conversation, reacts = draft.item.conversation, draft.kind is REACTED
        number, reacted = last.get(conversation, (0, reacts))
        if reacted != reacts:
            number += 1
        last[conversation] = number, reacts
        if number == len(runs):
            runs.append([])
        runs[number].append(draft)
    return runs


def _error_of(outcome: logic_pb2.SendOutcome | TidingsError) -> TidingsError | None:
    if isinstance(outcome, TidingsError):
        return outcome
    return from_fault(outcome.fault) if outcome.HasField("fault") else None


def _read_up_to(draft: SendDraft, seq: int) -> ReaderCursor:
    item, fanout = draft.item, draft.fanout
    large = fanout.by_cursor
    return ReaderCursor(item.sender, item.conversation, seq, seq, item.session, fanout.version, large)
