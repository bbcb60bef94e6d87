"""Sends: a batch of messages is permitted, offered to the hooks, stored, told to its recipients, answered.

    permit ──▶ hook (hooked_sends.py) ──▶ store ──▶ look, for what is refused ──▶ publish ──▶ outcomes
      ▲                               │ stale: the group has changed since
      └───────────────────────────────┘ (at most `DECISIONS_MAX` times)

Guarantees: an outcome for each item, in their order; one without a fault is durable, and handed to the publisher, which
holds senders back when too much waits for Kafka. Items of one conversation are stored in their order, among those that
are accepted. Everything may be repeated, here or on another node: storage gives the same numbers for the same client
id, and what is pushed again is what was stored first. Nothing is refused before storage was asked whether it was stored
earlier, when it was still allowed.

Does not know: the shape of content (access checked it), inbox numbers, nodes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

from protos.tidings.internal.v1 import logic_pb2, storage_pb2
from services.common.rpc.faults import from_fault
from services.common.scope import Owned
from services.common.telemetry import metrics, tracing
from services.logic.groups.loader import FoundGroups, GroupLoader, group_in
from services.logic.groups.needs import Need
from services.logic.groups.permissions import check_send
from services.logic.groups.recipients import Fanout, fanout_of
from services.logic.messages.draft import TO_NOBODY, SendDraft, outcome_of
from services.logic.messages.hooked_sends import HookedSends
from services.logic.messages.hooks import Hooks
from services.logic.messages.pushes import message_pushes
from services.logic.publishing.parcels import OutgoingPush
from services.logic.publishing.publisher import Publisher
from services.logic.publishing.records import Publication
from services.logic.receipts.coalescer import ReaderCursor
from services.logic.receipts.sender import ReceiptSender
from services.logic.storage_client import StorageClient
from tidings_protocol.errors import BadRequest, Blame, TidingsError, Unavailable
from tidings_protocol.ids import BROADCAST, OPERATOR, ConversationKind, kind_of
from tidings_protocol.kinds import SYSTEM

DECISIONS_MAX = 4
# The version of no group, the seq of no message.
NEVER = 2**63 - 1
# How long the answer to an access node waits for the hook: those who speak elsewhere wait with it.
HOOK_PATIENCE_S = 0.02
CHANGING_RETRY_MS = 200

StoreOutcome = storage_pb2.StoreOutcome


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
        *,
        held_max: int,
        hook_patience_s: float = HOOK_PATIENCE_S,
    ) -> None:
        """`held_max`: messages that may wait for the hook."""
        self._storage = storage
        self._loader = loader
        self._publisher = publisher
        self._receipts = receipts
        self._hooked: HookedSends | None = None
        if hooks is not None:
            self._hooked = HookedSends(hooks, self._permit, self._finish, held_max=held_max, patience_s=hook_patience_s)

    @property
    def asks_hooks(self) -> bool:
        """Whether a hook is asked before a message is stored."""
        return self._hooked is not None

    async def _running(self) -> AsyncIterator[None]:
        if self._hooked is None:
            yield
        else:
            async with self._hooked:
                yield

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
            draft.error = draft.error or _no_such_reply(draft.item)
        await self._look(drafts)
        await self._tell(drafts)
        return [outcome_of(draft) for draft in drafts]

    async def _finish(self, drafts: Sequence[SendDraft]) -> None:
        """Stores, looks up and tells what was decided."""
        await self._store(drafts)
        await self._look(drafts)
        await self._tell(drafts)

    async def announce(self, content: bytes, client_id: str) -> storage_pb2.StoreOutcome:
        """Sends the operator's notice (an encoded Content) to everyone; raises TidingsError if it was not stored."""
        item = storage_pb2.StoreItem(
            conversation=BROADCAST, sender=OPERATOR, client_id=client_id, content=content, kind=SYSTEM.number
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
        refused = [draft for draft in drafts if not _decide(draft, groups) and _is_group(draft)]
        doubtful = [draft for draft in refused if draft.item.conversation not in fresh]
        if doubtful:
            needs = [Need(conversation, tuple(users)) for conversation, users in _senders(doubtful).items()]
            groups = await self._loader.load(needs)
            for draft in doubtful:
                _decide(draft, groups)

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
        for draft in drafts:
            draft.store_item = _store_item(draft)
        outcomes = await self._storage.store([draft.store_item for draft in drafts])
        stale: list[SendDraft] = []
        for draft, outcome in zip(drafts, outcomes, strict=True):
            if isinstance(outcome, TidingsError):
                draft.error = outcome
            elif outcome.status == StoreOutcome.STALE:
                stale.append(draft)
            elif outcome.status == StoreOutcome.NO_SUCH_REPLY:
                draft.error = _no_such_reply(draft.item)
            elif outcome.status == StoreOutcome.REFUSED:
                draft.error = from_fault(outcome.fault)
            else:
                draft.stored = outcome
        return stale

    # ---- repeats

    async def _look(self, drafts: Sequence[SendDraft]) -> None:
        """Who is refused now may repeat what was stored when it was allowed: then that is the outcome."""
        refused = [draft for draft in drafts if draft.error is not None and draft.error.blame is Blame.CALLER]
        if not refused:
            return
        for draft in refused:
            draft.fanout = _with_sender(draft.fanout, draft.item.sender)
            draft.store_item = _look_item(draft)
        outcomes = await self._storage.store([draft.store_item for draft in refused])
        for draft, outcome in zip(refused, outcomes, strict=True):
            if isinstance(outcome, TidingsError):
                draft.error = outcome
            elif outcome.status == StoreOutcome.DUPLICATE:
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


def _decide(draft: SendDraft, groups: FoundGroups) -> bool:
    """Whether the draft may be stored, by these groups."""
    conversation = draft.item.conversation
    draft.error = None
    try:
        group = group_in(groups, conversation) if kind_of(conversation) is ConversationKind.GROUP else None
        draft.fanout = TO_NOBODY if group is None and conversation[0] == "g" else fanout_of(conversation, group)
        check_send(conversation, draft.item.sender, group)
    except TidingsError as error:
        draft.error = error
        return False
    return True


def _no_such_reply(item: logic_pb2.SendItem) -> BadRequest:
    return BadRequest(
        f"{item.conversation} has no message {item.reply_to} to reply to: "
        "give the seq of one that is there, or leave reply_to out"
    )


def _with_sender(fanout: Fanout, sender: str) -> Fanout:
    """The fan-out with the sender, also one who is no member any more and has an entry of long ago."""
    if fanout.by_cursor or sender in fanout.recipients:
        return fanout
    return Fanout((*fanout.recipients, sender), fanout.version)


def _look_item(draft: SendDraft) -> storage_pb2.StoreItem:
    """An item that no node stores, not even one of an older version, which knows nothing of `only_look`."""
    item = draft.item
    return storage_pb2.StoreItem(
        conversation=item.conversation,
        sender=item.sender,
        client_id=item.client_id,
        kind=draft.kind.number,
        version=NEVER,
        recipients=draft.fanout.recipients,
        reply_to=NEVER,
        trace=item.trace,
        only_look=True,
    )


def _store_item(draft: SendDraft) -> storage_pb2.StoreItem:
    item = draft.item
    return storage_pb2.StoreItem(
        conversation=item.conversation,
        sender=item.sender,
        client_id=item.client_id,
        content=draft.content,
        kind=draft.kind.number,
        version=draft.fanout.version,
        recipients=draft.fanout.recipients,
        reply_to=item.reply_to,
        trace=item.trace,
    )


def _read_up_to(draft: SendDraft, seq: int) -> ReaderCursor:
    item, fanout = draft.item, draft.fanout
    large = fanout.by_cursor
    return ReaderCursor(item.sender, item.conversation, seq, seq, item.session, fanout.version, large)
