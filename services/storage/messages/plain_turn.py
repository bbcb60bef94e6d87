"""The plain way of a store lane: rows that need nothing but numbers, for many calls at once, in one insert.

    plan ──▶ lock ─▶ number inbox entries ─▶ insert [messages…, entries…] ─▶ memory ──▶ other nodes append their entries

A row is plain if its conversation and the inboxes of its recipients are in memory and this node's own, its client id is
new, and nothing refuses it. A conversation of which one row is not plain has no plain rows after that one.

Guarantees: a row is stored with everything that follows from it, or its conversation and its recipients' inboxes are
forgotten: then it goes the general way (write_round.py), which reads before it writes. Rows of one conversation are
stored in their order.
Does not know: lanes, refusals, repeats, what was half done.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from services.common.clock import Clock
from services.common.telemetry import logs, metrics
from services.storage.inboxes.fanout import InboxFanout
from services.storage.inboxes.numbering import Append, CachedInbox
from services.storage.inboxes.writer import InboxWriter
from services.storage.loading.duplicates import RecentSends
from services.storage.memory.conversation import CachedConversation
from services.storage.messages.jobs import unsure
from services.storage.messages.numbering import next_ms
from services.storage.messages.store_call import StoreCall
from services.storage.owners.peers import StoragePeers
from services.storage.repository.contract import Conflict, Repository
from services.storage.repository.records import NORMAL, SYSTEM, ClientKey, InboxEntry, StoredMessage
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import ConversationKind, slot_of

log = logs.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PlainPorts:
    """What all plain turns of a node work with. `peek`: a conversation in memory that this node owns."""

    repository: Repository
    inboxes: InboxWriter
    fanout: InboxFanout
    peers: StoragePeers
    recent: RecentSends
    clock: Clock
    peek: Callable[[str], CachedConversation | None]


class PlainTurn:
    """Make one, let it `plan` the calls of a turn in their order, `run` it once.

    What it has planned lies in lists that are aligned: a row has no object of its own.
    """

    def __init__(self, ports: PlainPorts, taken: Iterable[str]) -> None:
        """`taken`: conversations of which something else is done in this turn."""
        self._ports = ports
        self._unusual = set(taken)
        self._now_ms = ports.clock.wall_ms()
        self._calls: list[StoreCall] = []
        self._places: list[int] = []
        self._messages: list[StoredMessage] = []
        self._conversations: dict[str, CachedConversation] = {}
        self._heads: dict[str, tuple[int, int]] = {}  # (seq, time) of the last planned row
        self._keys: set[ClientKey] = set()
        self._inboxes: dict[str, CachedInbox | None] = {}  # None: another node's
        self._unsettled: Collection[str] = ()

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def conversations(self) -> Collection[str]:
        """The ids of the conversations that it writes to."""
        return self._conversations.keys()

    @property
    def settled(self) -> list[CachedConversation]:
        """After `run`: the conversations of which all that follows from their messages is durable."""
        return [each for key, each in self._conversations.items() if key not in self._unsettled]

    @property
    def unsettled(self) -> Collection[str]:
        """After `run`: the ids of the others."""
        return self._unsettled

    @property
    def users(self) -> list[str]:
        """The users whose inboxes this node writes."""
        return [user for user, inbox in self._inboxes.items() if inbox is not None]

    def rows(self) -> Iterable[tuple[StoreCall, int]]:
        """All that is planned: the call, and the place in it."""
        return zip(self._calls, self._places, strict=True)

    # ---- planning

    def plan(self, call: StoreCall) -> list[int]:
        """Takes the plain rows of the call. The places of the others, ascending."""
        left: list[int] = []
        for place, conversation in enumerate(call.conversations):
            if conversation in self._unusual or not self._take(call, place, conversation):
                self._unusual.add(conversation)
                left.append(place)
        return left

    def _take(self, call: StoreCall, place: int, key: str) -> bool:
        conversation = self._conversations.get(key) or self._ports.peek(key)
        if conversation is None or not conversation.exists:
            return False
        head, last_ms = self._heads.get(key) or (conversation.head, conversation.last_ms)
        client_key = ClientKey(key, call.senders[place], call.client_ids[place])
        if (
            not _is_allowed(conversation, call.versions[place])
            or not _has_target(conversation, call.kinds[place], call.reply_tos[place], head)
            or client_key in self._keys
            or self._ports.recent.seq_of(client_key)
            or not self._knows_inboxes(call.recipients_of(place))
        ):
            return False
        seq, time_ms = head + 1, next_ms(self._now_ms, last_ms)
        self._conversations[key], self._heads[key] = conversation, (seq, time_ms)
        self._keys.add(client_key)
        self._calls.append(call)
        self._places.append(place)
        self._messages.append(
            StoredMessage(
                key, seq, client_key.sender, client_key.client_id, time_ms, call.contents[place], call.kinds[place]
            )
        )
        return True

    def _knows_inboxes(self, recipients: Collection[str]) -> bool:
        """Whether the inboxes of all that this node owns are in memory."""
        known, ports = self._inboxes, self._ports
        for user in recipients:
            if user not in known:
                inbox = None
                if ports.peers.owner_of(slot_of(user)) is None and (inbox := ports.inboxes.peek(user)) is None:
                    return False
                known[user] = inbox
        return True

    # ---- writing

    async def run(self) -> bool:
        """Stores what is planned: its rows have their outcomes. False: nothing is known of it, and all that is in
        memory of its conversations and its inboxes is to be forgotten.
        """
        try:
            async with self._ports.inboxes.numbering:
                entries, far = self._number()
                if not await self._insert(entries):
                    return False
                self._commit(entries)
        except Exception:  # the edge: what no row is the cause of on the general way is no row's failure here
            log.exception("a plain turn failed: its rows go the general way", rows=len(self))
            return False
        await self._append_far(far)
        return True

    def _number(self) -> tuple[list[InboxEntry], list[tuple[int, int]]]:
        """The inbox entries of this node's users, in the order of the rows, whose numbers are told to the calls; and
        (row, place among the recipients of its call) of each entry that another node has to append.
        """
        heads = {user: inbox.head for user, inbox in self._inboxes.items() if inbox is not None}
        entries: list[InboxEntry] = []
        far: list[tuple[int, int]] = []
        for row, (call, place) in enumerate(self.rows()):
            message = self._messages[row]
            for at in range(call.starts[place], call.starts[place + 1]):
                user = call.recipients[at]
                head = heads.get(user)
                if head is None:
                    far.append((row, at))
                    continue
                heads[user] = call.numbers[at] = head + 1
                entries.append(InboxEntry(user, head + 1, message.conversation, message.seq, message.time_ms))
        return entries, far

    async def _insert(self, entries: list[InboxEntry]) -> bool:
        try:
            inserted = await self._ports.repository.log.insert(self._messages, entries)
        except TidingsError:
            return False  # whether it was done is not known
        if inserted.conflict in (Conflict.NUMBER, Conflict.ENTRY):
            metrics.FENCED.inc()
        return inserted.conflict is None

    def _commit(self, entries: list[InboxEntry]) -> None:
        """Tells memory and the calls what is durable now."""
        recent = self._ports.recent
        for message, call, place in zip(self._messages, self._calls, self._places, strict=True):
            conversation = self._conversations[message.conversation]
            conversation.was_ahead |= message.time_ms < conversation.last_ms
            conversation.head, conversation.last_ms = message.seq, message.time_ms
            call.seqs[place], call.times_ms[place] = message.seq, message.time_ms
            if conversation.sent(message.sender, message.seq):
                call.read_over.append(place)
            recent.add(ClientKey(message.conversation, message.sender, message.client_id), message.seq)
        for entry in entries:
            inbox = self._inboxes[entry.user]
            assert inbox is not None
            inbox.push(entry.conversation, entry.seq, entry.time_ms)
        system = sum(message.kind == SYSTEM for message in self._messages)
        metrics.STORED.labels("normal").inc(len(self) - system)
        metrics.STORED.labels("system").inc(system)
        metrics.INBOX_ENTRIES.inc(len(entries))

    async def _append_far(self, far: list[tuple[int, int]]) -> None:
        """Has the entries of other nodes' users appended by them. A row of which one fails has failed, and its
        conversation is not settled.
        """
        self._unsettled = {self._messages[row].conversation for row, _ in far}
        failed: set[str] = set()
        for (row, at), number in zip(far, await self._numbers_of(far), strict=True):
            call, place = self._calls[row], self._places[row]
            if isinstance(number, TidingsError):
                call.fail(place, unsure(number))
                failed.add(self._messages[row].conversation)
            elif place not in call.unusual:
                call.numbers[at] = number
        self._unsettled = failed
        for key, conversation in self._conversations.items():
            if key not in failed:
                conversation.settled = conversation.head

    async def _numbers_of(self, far: list[tuple[int, int]]) -> Sequence[int | TidingsError]:
        if not far:
            return ()
        try:
            return await self._ports.fanout.append([self._append_of(row, at) for row, at in far])
        except TidingsError as error:
            return [error] * len(far)

    def _append_of(self, row: int, at: int) -> Append:
        message = self._messages[row]
        return Append(self._calls[row].recipients[at], message.conversation, message.seq, message.time_ms)


def _is_allowed(conversation: CachedConversation, version: int) -> bool:
    """Whether the decision that the row rests on is still the present one."""
    return conversation.kind is not ConversationKind.GROUP or conversation.document.version == version


def _has_target(conversation: CachedConversation, kind: int, target: int, head: int) -> bool:
    """Whether a row may name this entry. Kinds that change an earlier entry are not plain."""
    return kind in (NORMAL, SYSTEM) and (not target or max(conversation.first_seq, 1) <= target <= head)
