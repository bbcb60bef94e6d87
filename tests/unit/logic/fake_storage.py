"""Storage as logic's shells see it, small enough to be read at once, obedient enough to misbehave.

Guarantees: dense numbers, idempotent by client id, stale versions show, in the shapes of the real one
(tests/contract/storage_calls asks both). `calls` has every call with how many items it had; `fail`, `refuse` and
`stale` make the next ones go wrong. Changes of messages are entries that show what became of their target, whoever
makes them.

Does not know: time, cursors in detail, durability. Whatever depends on those is tested with the real storage.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from google.protobuf.message import Message

from protos.tidings.internal.v1 import common_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.rpc.faults import to_fault
from tidings_protocol import client_pb2
from tidings_protocol.content import notice_client_id
from tidings_protocol.errors import BadRequest, Forbidden, NotFound, TidingsError
from tidings_protocol.ids import ConversationKind, direct, kind_of
from tidings_protocol.wire.body import message_bytes

M = TypeVar("M", bound=Message)


@dataclass
class Conversation:
    record: pb.ConversationRecord
    members: dict[str, pb.MemberRecord] = field(default_factory=dict)
    messages: list[pb.StoreItem] = field(default_factory=list)

    def join(self, user: str) -> None:
        """Somebody else has changed the group."""
        self.members[user] = pb.MemberRecord(user=user, role=1, joined_seq=1, joined_ms=99)
        self.record.version += 1

    def find(self, item: pb.StoreItem) -> int:
        """The seq of the message with this sender and client id; 0: there is none."""
        for seq, there in enumerate(self.messages, 1):
            if (there.sender, there.client_id) == (item.sender, item.client_id):
                return seq
        return 0


class FakeStorage:
    """The `SlotCaller` of a StorageClient: every slot has the same owner."""

    def __init__(self) -> None:
        self.conversations: dict[str, Conversation] = {}
        self.inboxes: dict[str, list[tuple[str, int]]] = {}
        self.sessions: dict[tuple[str, str], pb.SessionRecord] = {}
        self.present: dict[tuple[str, str], str] = {}  # sessions that are there without having been opened here
        self.last_seen: dict[str, int] = {}
        self.listed: dict[str, pb.ConversationEntry] = {}  # what lists say besides, by conversation
        self.delivered: dict[str, list[tuple[str, int]]] = {}
        self.marked_along: set[str] = set()  # conversations of the nodes that own those who acknowledge
        self.calls: list[tuple[str, int]] = []
        self.fail: dict[str, list[TidingsError]] = {}
        self.changes: list[pb.ChangeItem] = []  # that were made
        self.streams: dict[tuple[str, int], list[str]] = {}  # the parts of those that are open
        self.blocks: dict[tuple[str, str], int] = {}  # (who blocks, whom): since when
        self.stale = 0
        self.refuse: list[TidingsError] = []  # of changes of messages
        self.states: dict[tuple[str, int], client_pb2.State] = {}
        self.hidden: dict[tuple[str, int], list[str]] = {}  # who has hidden an entry
        self.stored: list[pb.StoreItem] = []
        self.read_over = False
        self.epoch = "epoch"

    def group(
        self, conversation: str, *users: str, large_from: int = 0, version: int = 1, **fields: Any
    ) -> Conversation:
        """Puts a group there; the first user owns it."""
        record = pb.ConversationRecord(
            conversation=conversation,
            kind=ConversationKind.GROUP,
            exists=True,
            version=version,
            member_count=len(users),
            large_from=large_from,
            **fields,
        )
        members = {
            user: pb.MemberRecord(user=user, role=1 if index else 3, joined_seq=1, joined_ms=1 + index)
            for index, user in enumerate(users)
        }
        self.conversations[conversation] = Conversation(record, members)
        return self.conversations[conversation]

    def count(self, method: str) -> int:
        """How many calls there were."""
        return sum(name == method for name, _ in self.calls)

    async def call(
        self, slot: int, method: str, request: Message, reply_type: type[M], *, timeout_s: float, budget_s: float
    ) -> M:
        name = method.rpartition("/")[2]
        asked: Any = request
        self.calls.append((name, _size(name, asked)))
        if self.fail.get(name):
            raise self.fail[name].pop(0)
        answer = getattr(self, f"_{name.lower()}")(asked)
        assert isinstance(answer, reply_type)
        return answer

    # ---- by conversation

    def _store(self, batch: pb.StoreBatch) -> pb.StoreOutcomes:
        return pb.StoreOutcomes(outcomes=[self._store_one(item) for item in batch.items])

    def _storerows(self, rows: pb.StoreColumns) -> pb.StoredColumns:
        """Storing as columns says the same as storing items, and has room for little else than what is stored."""
        stored = pb.StoredColumns()
        for place, item in enumerate(_items(rows)):
            outcome = self._store_one(item)
            if outcome.status == pb.StoreOutcome.STORED:
                stored.seqs.append(outcome.seq)
                stored.times_ms.append(outcome.time_ms)
                stored.numbers.extend(outcome.numbers)
                stored.read_over.extend([place] * outcome.read_over)
            else:
                stored.seqs.append(0)
                stored.times_ms.append(0)
                stored.numbers.extend([0] * len(item.recipients))
                stored.unusual.add(place=place, outcome=outcome)
        return stored

    def _store_one(self, item: pb.StoreItem) -> pb.StoreOutcome:
        if item.only_look and item.conversation not in self.conversations:
            return pb.StoreOutcome(status=pb.StoreOutcome.NOT_STORED)
        there = self._there(item.conversation)
        seq = there.find(item)
        if item.only_look and not seq:
            return pb.StoreOutcome(status=pb.StoreOutcome.NOT_STORED)
        if seq:
            first = there.messages[seq - 1]
            outcome = self._stored(item, seq, pb.StoreOutcome.DUPLICATE, content=first.content, kind=first.kind)
            return self._shown(first, outcome) if first.special.change else outcome
        if self.stale or item.version != there.record.version:
            self.stale = max(0, self.stale - 1)
            return pb.StoreOutcome(status=pb.StoreOutcome.STALE)
        if item.reply_to > len(there.messages):
            return pb.StoreOutcome(status=pb.StoreOutcome.NO_SUCH_REPLY)
        if item.special.change:
            return self._change_message(there, item)
        outcome = self._append(there, item)
        if item.HasField("special"):
            self.states[item.conversation, outcome.seq] = client_pb2.State(streaming=item.special.streaming)
            outcome.message = self._message(item.conversation, outcome.seq)
        return outcome

    def _change_message(self, there: Conversation, item: pb.StoreItem) -> pb.StoreOutcome:
        target = client_pb2.Change.FromString(item.special.change).seq
        error = self.refuse.pop(0) if self.refuse else None
        if target > len(there.messages):
            error = NotFound("there is no such message: give the seq of one that is there")
        if error is not None:
            return pb.StoreOutcome(status=pb.StoreOutcome.REFUSED, fault=to_fault(error))
        outcome = self._append(there, item)
        self._fold(item, outcome.seq)
        return self._shown(item, outcome)

    def _fold(self, item: pb.StoreItem, seq: int) -> None:
        change = client_pb2.Change.FromString(item.special.change)
        state = self.states.setdefault((item.conversation, change.seq), client_pb2.State())
        state.revision = seq
        match change.WhichOneof("act"):
            case "edit":
                state.edited_ms = 1000 + seq
            case "recall":
                state.recalled_by = item.sender
            case "pin":
                state.pinned = change.pin
            case "finish":
                state.streaming = False

    def _shown(self, item: pb.StoreItem, outcome: pb.StoreOutcome) -> pb.StoreOutcome:
        """The outcome of a change, with what its recipients are told."""
        change = client_pb2.Change.FromString(item.special.change)
        entry = client_pb2.Message.FromString(self._message(item.conversation, outcome.seq))
        entry.change.CopyFrom(change)
        if change.HasField("edit"):
            entry.change.edit.ParseFromString(item.content)
        entry.ClearField("content")
        entry.state.CopyFrom(self.states[item.conversation, change.seq])
        outcome.message = entry.SerializeToString()
        outcome.state = entry.state.SerializeToString()
        outcome.stubs.extend(self.hidden.get((item.conversation, change.seq), ()))
        return outcome

    def _append(self, there: Conversation, item: pb.StoreItem) -> pb.StoreOutcome:
        there.messages.append(item)
        self.stored.append(item)
        there.record.head = len(there.messages)
        for user in item.recipients:
            self.inboxes.setdefault(user, []).append((item.conversation, there.record.head))
        return self._stored(item, there.record.head, pb.StoreOutcome.STORED, read_over=self.read_over)

    def _stored(self, item: pb.StoreItem, seq: int, status: Any, **fields: Any) -> pb.StoreOutcome:
        numbers = [self._number(user, item.conversation, seq) for user in item.recipients]
        ordinal = 0 if item.kind == client_pb2.Message.CHANGE else seq
        return pb.StoreOutcome(status=status, seq=seq, time_ms=1000 + seq, numbers=numbers, ordinal=ordinal, **fields)

    def _number(self, user: str, conversation: str, seq: int) -> int:
        entries = self.inboxes.get(user, [])
        return entries.index((conversation, seq)) + 1 if (conversation, seq) in entries else 0

    def _change(self, batch: pb.ChangeBatch) -> pb.ChangeOutcomes:
        return pb.ChangeOutcomes(outcomes=[self._change_one(item) for item in batch.items])

    def _change_one(self, item: pb.ChangeItem) -> pb.ChangeOutcome:
        there = self.conversations.get(item.conversation) or self.group(item.conversation, version=0)
        notices = [
            pb.StoreItem(
                conversation=item.conversation,
                sender=item.actor,
                client_id=notice_client_id(item.op, index),
                content=notice.content,
                kind=2,
                recipients=notice.recipients,
            )
            for index, notice in enumerate(item.notices)
        ]
        if notices and there.find(notices[0]):
            outcomes = [self._store_one(notice) for notice in notices]
            return pb.ChangeOutcome(status=pb.ChangeOutcome.DONE, record=there.record, notices=outcomes)
        if self.stale or item.version != there.record.version:
            self.stale = max(0, self.stale - 1)
            return pb.ChangeOutcome(status=pb.ChangeOutcome.STALE)
        self.changes.append(item)
        outcomes = [self._append(there, notice) for notice in notices]
        record = there.record
        for name in ("name", "open", "channel", "share_history"):
            setattr(record, name, getattr(item.settings, name))
        for member in item.set:
            there.members[member.user] = member
        for user in item.removed:
            del there.members[user]
        record.member_count = len(there.members)
        record.version += 0 if item.keep_version else 1
        if item.becomes_large:
            record.large_from = 1 if not item.version else record.head + 1
        return pb.ChangeOutcome(status=pb.ChangeOutcome.DONE, record=record, notices=outcomes)

    def _parts(self, batch: pb.PartBatch) -> pb.PartOutcomes:
        return pb.PartOutcomes(outcomes=[self._part(item) for item in batch.items])

    def _part(self, item: pb.PartItem) -> pb.PartOutcome:
        there = self.streams.get((item.conversation, item.seq))
        if there is None:
            return pb.PartOutcome(fault=to_fault(NotFound("there is no such stream")))
        sender = self._there(item.conversation).messages[item.seq - 1].sender if self._is_in(item) else item.sender
        if sender != item.sender:
            return pb.PartOutcome(fault=to_fault(Forbidden("it is somebody else's")))
        if not item.part:
            return pb.PartOutcome(had=True, parts=len(there), text="".join(there))
        if item.part > len(there) + 1:
            return pb.PartOutcome(fault=to_fault(BadRequest("too early", next_part=len(there) + 1)))
        if item.part <= len(there):
            return pb.PartOutcome(had=True)
        there.append(item.text)
        return pb.PartOutcome()

    def _is_in(self, item: pb.PartItem) -> bool:
        return item.seq <= len(self._there(item.conversation).messages)

    def _load(self, batch: pb.LoadBatch) -> pb.LoadOutcomes:
        return pb.LoadOutcomes(outcomes=[self._load_one(item) for item in batch.items])

    def _load_one(self, item: pb.LoadItem) -> pb.LoadOutcome:
        there = self.conversations.get(item.conversation)
        if there is None:
            blockers = [user for user, other in self.blocks if direct(user, other) == item.conversation]
            return pb.LoadOutcome(record=pb.ConversationRecord(blockers=blockers))
        if item.known_version == there.record.version:
            return pb.LoadOutcome(record=there.record, unchanged=True)
        wanted = set(item.users) if there.record.large_from else set(there.members)
        heirs = [user for user, member in there.members.items() if member.role != 3] if item.successor else []
        found = [member for user, member in there.members.items() if user in wanted or user in heirs[:1]]
        return pb.LoadOutcome(record=there.record, members=found, successor=heirs[0] if heirs else "")

    def _mark(self, batch: pb.MarkBatch) -> pb.MarkOutcomes:
        return pb.MarkOutcomes(outcomes=[self._mark_one(item) for item in batch.items])

    def _mark_one(self, item: pb.MarkItem) -> pb.MarkOutcome:
        there = self._there(item.conversation)
        me = there.members.setdefault(item.user, pb.MemberRecord(user=item.user))
        read = min(max(me.read_seq, item.read_seq), there.record.head)
        delivered = min(max(me.delivered_seq, item.delivered_seq, read), there.record.head)
        moved = (read, delivered) != (me.read_seq, me.delivered_seq)
        me.read_seq, me.delivered_seq = read, delivered
        return pb.MarkOutcome(
            read_seq=read,
            delivered_seq=delivered,
            moved=moved,
            version=there.record.version,
            large_from=there.record.large_from,
        )

    def _history(self, batch: pb.HistoryBatch) -> pb.PageOutcomes:
        outcomes = []
        for item in batch.items:
            there = self._there(item.conversation)
            kinds = {seq: message.kind for seq, message in enumerate(there.messages, 1) if seq >= item.first_seq}
            seqs = [seq for seq, kind in kinds.items() if item.changes or kind != client_pb2.Message.CHANGE]
            if item.HasField("after"):
                seqs = [seq for seq in seqs if seq > item.after][: item.limit]
            else:
                before = item.before if item.HasField("before") else len(there.messages) + 1
                seqs = [seq for seq in seqs if seq < before][-item.limit :]
            entries = [pb.PageEntry(message=self._message(item.conversation, seq)) for seq in seqs]
            outcomes.append(pb.PageOutcome(entries=entries, head=len(there.messages), next=seqs[-1] if seqs else 0))
        return pb.PageOutcomes(outcomes=outcomes)

    def _hide(self, batch: pb.HideBatch) -> pb.HideOutcomes:
        outcomes = []
        for item in batch.items:
            head = len(self._there(item.conversation).messages)
            seqs = sorted({seq for seq in item.seqs if 1 <= seq <= head})
            outcomes.append(pb.HideOutcome(seqs=seqs, through=min(item.through, head)))
        return pb.HideOutcomes(outcomes=outcomes)

    def _members(self, batch: pb.MembersBatch) -> pb.MembersOutcomes:
        outcomes = []
        for item in batch.items:
            members = self._there(item.conversation).members
            users = sorted(user for user in members if user > item.after)
            found = [members[user] for user in users[: item.limit]]
            outcomes.append(pb.MembersOutcome(members=found, more=len(users) > item.limit))
        return pb.MembersOutcomes(outcomes=outcomes)

    def _conversationheads(self, batch: pb.KeyBatch) -> pb.HeadOutcomes:
        return pb.HeadOutcomes(heads=[len(self._there(key).messages) for key in batch.keys])

    # ---- by user

    def _open(self, batch: pb.SessionBatch) -> pb.SessionOpenOutcomes:
        outcomes = []
        for item in batch.items:
            key = (item.record.user, item.record.device)
            replaced = self.sessions.get(key)
            if item.again and replaced is not None:
                outcomes.append(pb.SessionOpenOutcome(newer=replaced))
                continue
            self.sessions[key] = item.record
            large = [
                there.record
                for there in self.conversations.values()
                if (there.record.large_from and item.record.user in there.members)
                or kind_of(there.record.conversation) is ConversationKind.BROADCAST
            ]
            head = len(self.inboxes.get(item.record.user, []))
            there = self.conversations
            left = [each for each in item.groups if each not in there or item.record.user not in there[each].members]
            outcomes.append(
                pb.SessionOpenOutcome(replaced=replaced, inbox_head=head, epoch=self.epoch, large=large, left=left)
            )
        return pb.SessionOpenOutcomes(outcomes=outcomes)

    def _sessionsunder(self, query: pb.BootQuery) -> pb.BootPage:
        mine = sorted(key for key, each in self.sessions.items() if each.boot_id == query.boot_id)
        rest = [key for key in mine if key > (query.after_user, query.after_device)]
        return pb.BootPage(sessions=[self.sessions[key] for key in rest[: query.limit]], more=len(rest) > query.limit)

    def _close(self, batch: pb.SessionCloseBatch) -> common_pb2.Empty:
        for item in batch.items:
            if self.sessions.get((item.user, item.device), pb.SessionRecord()).session == item.session:
                del self.sessions[item.user, item.device]
        return common_pb2.Empty()

    def _sessions(self, batch: pb.KeyBatch) -> pb.SessionsOutcomes:
        return pb.SessionsOutcomes(
            outcomes=[
                pb.SessionsOutcome(
                    sessions=[
                        *(session for (user, _), session in self.sessions.items() if user == key),
                        *(
                            pb.SessionRecord(user=user, device=device, session=session)
                            for (user, device), session in self.present.items()
                            if user == key
                        ),
                    ],
                    last_seen_ms=self.last_seen.get(key, 0),
                )
                for key in batch.keys
            ]
        )

    def _acknowledge(self, batch: pb.AcknowledgeBatch) -> pb.AcknowledgeOutcomes:
        outcomes = []
        for item in batch.items:
            outcome = pb.AcknowledgeOutcome()
            for conversation, seq in self.delivered.get(item.user, []) if item.marked < item.number else ():
                news = outcome.delivered.add(conversation=conversation, seq=seq)
                if batch.mark and conversation in self.marked_along:
                    arrival = pb.MarkItem(conversation=conversation, user=item.user, delivered_seq=seq)
                    news.mark.CopyFrom(self._mark_one(arrival))
                else:
                    outcome.upto = item.number
            outcomes.append(outcome)
        return pb.AcknowledgeOutcomes(outcomes=outcomes)

    def _inboxheads(self, batch: pb.KeyBatch) -> pb.HeadOutcomes:
        return pb.HeadOutcomes(heads=[len(self.inboxes.get(key, [])) for key in batch.keys])

    def _inbox(self, batch: pb.InboxBatch) -> pb.PageOutcomes:
        outcomes = []
        for item in batch.items:
            entries = self.inboxes.get(item.user, [])
            page = list(enumerate(entries, 1))[item.after : item.after + item.limit]
            outcomes.append(
                pb.PageOutcome(
                    entries=[
                        pb.PageEntry(number=number, message=self._message(conversation, seq))
                        for number, (conversation, seq) in page
                    ],
                    head=len(entries),
                    more=item.after + item.limit < len(entries),
                    next=page[-1][0] if page else 0,
                )
            )
        return pb.PageOutcomes(outcomes=outcomes)

    def _conversations(self, batch: pb.ConversationsBatch) -> pb.ConversationsOutcomes:
        outcomes = []
        for item in batch.items:
            entries = [
                pb.ConversationEntry(
                    record=there.record,
                    me=there.members[item.user],
                    last=self._message(name, len(there.messages)) if there.messages else b"",
                )
                for name, there in self.conversations.items()
                if item.user in there.members
            ]
            for entry in entries:
                entry.MergeFrom(self.listed.get(entry.record.conversation, pb.ConversationEntry()))
            outcomes.append(pb.ConversationsOutcome(entries=entries[: item.limit], more=len(entries) > item.limit))
        return pb.ConversationsOutcomes(outcomes=outcomes)

    def _blocked(self, batch: pb.BlockedBatch) -> pb.BlockedOutcomes:
        return pb.BlockedOutcomes(
            outcomes=[
                pb.BlockedOutcome(since_ms=[self.blocks.get((item.user, other), 0) for other in item.users])
                for item in batch.items
            ]
        )

    def _users(self, batch: pb.KeyBatch) -> pb.UsersOutcomes:
        return pb.UsersOutcomes(users=[pb.UserRecord(user=key, exists=key in self.inboxes) for key in batch.keys])

    # ----

    def _there(self, conversation: str) -> Conversation:
        if conversation not in self.conversations:
            record = pb.ConversationRecord(conversation=conversation, kind=kind_of(conversation), exists=True)
            self.conversations[conversation] = Conversation(record)
        return self.conversations[conversation]

    def _message(self, conversation: str, seq: int) -> bytes:
        item = self.conversations[conversation].messages[seq - 1]
        encoded = message_bytes(
            conversation=conversation,
            seq=seq,
            message_id=f"m{seq}",
            sender=item.sender,
            time_ms=1000 + seq,
            content=item.content,
            kind=item.kind,
            client_id=item.client_id,
            ordinal=0 if item.kind == client_pb2.Message.CHANGE else seq,
        )
        if (conversation, seq) not in self.states:
            return encoded
        message = client_pb2.Message.FromString(encoded)
        message.state.CopyFrom(self.states[conversation, seq])
        return message.SerializeToString()


def _size(method: str, request: Any) -> int:
    """How many items, keys or rows a call has."""
    if method == "SessionsUnder":
        return 1
    if method == "StoreRows":
        return len(request.conversations)
    return len(request.keys if method in KEYED else request.items)


def _items(rows: pb.StoreColumns) -> Iterator[pb.StoreItem]:
    """The rows as items."""
    recipients = iter(rows.recipients)
    for place, conversation in enumerate(rows.conversations):
        yield pb.StoreItem(
            conversation=conversation,
            sender=rows.senders[place],
            client_id=rows.client_ids[place],
            content=rows.contents[place],
            kind=rows.kinds[place] if rows.kinds else client_pb2.Message.NORMAL,
            version=rows.versions[place] if rows.versions else 0,
            recipients=islice(recipients, rows.recipient_counts[place]),
            reply_to=rows.reply_tos[place] if rows.reply_tos else 0,
            trace=rows.traces[place] if rows.traces else "",
        )


KEYED = frozenset({"ConversationHeads", "Sessions", "InboxHeads", "Users"})
