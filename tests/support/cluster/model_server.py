"""A server as protocol.md describes it, in memory and without faults: what the client's tests talk to.

It keeps conversations, inboxes and sessions, answers frames at once and hands pushes to the session's `push`. The
networks in front of it (virtual in the properties, real sockets in the scenarios) lose and mix up what they want.

Its rooms: what is done to messages is in model_changes.py, to groups in model_groups.py, what users keep in
model_people.py.

Guarantees: it answers as the real nodes do (tests/contract/client_protocol). Does not know: limits, hooks, roles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.cluster.model_changes import Changes, Target
from tests.support.cluster.model_groups import Groups
from tests.support.cluster.model_people import People
from tidings_protocol import client_pb2 as pb
from tidings_protocol.ids import BROADCAST, direct, message_id, new_id, peers

PAGE_MAX = 4


@dataclass(slots=True)
class Room:
    """A conversation. `large`: read by cursor, no inbox entries."""

    id: str
    members: dict[str, int]
    name: str = ""
    large: bool = False
    shared: bool = False
    messages: list[pb.Message] = field(default_factory=list)
    by_client_id: dict[tuple[str, str], pb.Message] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)
    delivered: dict[str, int] = field(default_factory=dict)
    changed_ms: int = 0  # when it last got a message
    targets: dict[int, Target] = field(default_factory=dict)  # messages that were changed
    settings: pb.GroupSettings = field(default_factory=pb.GroupSettings)
    muted: dict[str, int] = field(default_factory=dict)
    banned: set[str] = field(default_factory=set)
    requests: dict[str, str] = field(default_factory=dict)  # who asks to join, with which text
    invites: dict[str, pb.InviteInfo] = field(default_factory=dict)

    @property
    def head(self) -> int:
        return len(self.messages)

    def ordinal(self, seq: int) -> int:
        """How many messages that count there are up to here."""
        return sum(message.kind != pb.Message.CHANGE for message in self.messages[:seq])


@dataclass(eq=False, slots=True)
class Session:
    """One connection after its welcome."""

    user: str
    device: str
    push: Callable[[pb.ServerFrame], None]
    paused: bool = False
    group_heads: dict[str, int] = field(default_factory=dict)
    watched: set[str] = field(default_factory=set)
    profiles: set[str] = field(default_factory=set)  # whose are watched


class ModelServer:
    def __init__(self, epoch: str = "epoch-1", page_max: int = PAGE_MAX) -> None:
        self.epoch = epoch
        self.page_max = page_max
        self.rooms: dict[str, Room] = {}
        self.inboxes: dict[str, list[tuple[str, int]]] = {}
        self.sessions: list[Session] = []
        self.attempts: list[int] = []  # of the hellos, as they came
        self.protocols: list[int] = []
        self.cursors: list[dict[str, int]] = []  # the same of their group cursors
        self.made: dict[tuple[str, str], Room] = {}  # groups, by who made them and the client id
        self.refreshed: list[str] = []
        self.takes_tokens = True
        self.acknowledged: list[int] = []
        self.gone: dict[str, int] = {}  # retention took each conversation up to here
        self.refuse: Callable[[Session, pb.ClientFrame], pb.ServerFrame | None] = lambda _session, _frame: None
        self.time_ms = 1_700_000_000_000
        self.changes = Changes(self)
        self.groups = Groups(self)
        self.people = People(self)

    # What others do

    def room(self, conversation: str) -> Room:
        found = self.rooms.get(conversation)
        if found is None:
            members = dict.fromkeys(peers(conversation), 0) if conversation.startswith("d:") else {}
            found = self.rooms[conversation] = Room(conversation, members)
        return found

    def group(self, conversation: str, members: list[str], *, large: bool = False, name: str = "") -> Room:
        room = Room(conversation, dict.fromkeys(members, 0), name, large)
        self.rooms[conversation] = room
        return room

    def post(
        self, sender: str, conversation: str, content: pb.Content, client_id: str = "", origin: Session | None = None
    ) -> tuple[pb.Message, bool, int]:
        """Store and push: the message, whether it was there already, the sender's inbox number."""
        room = self.room(conversation)
        known = room.by_client_id.get((sender, client_id)) if client_id else None
        if known is not None:
            return known, True, self.number(sender, conversation, known.seq)
        self.time_ms += 1
        message = self.entry(room, sender, pb.Message.NORMAL, client_id, content=content)
        if content.expire_after_s:
            message.expires_ms = self.time_ms + 1000 * content.expire_after_s
        room.changed_ms = self.time_ms
        room.read[sender] = message.seq
        self.store(room, message, origin)
        return message, False, self.number(sender, conversation, message.seq)

    def entry(
        self,
        room: Room,
        sender: str,
        kind: pb.Message.Kind.ValueType,
        client_id: str,
        *,
        content: pb.Content | None = None,
        change: pb.Change | None = None,
    ) -> pb.Message:
        """The next entry of a conversation, not stored yet."""
        seq = room.head + 1
        return pb.Message(
            message_id=message_id(room.id, seq),
            conversation=room.id,
            seq=seq,
            sender=sender,
            time_ms=self.time_ms,
            content=content,
            change=change,
            kind=kind,
            client_id=client_id,
            ordinal=0 if change is not None else room.ordinal(seq) + 1,
        )

    def store(self, room: Room, entry: pb.Message, origin: Session | None) -> None:
        """Stores and pushes it."""
        room.messages.append(entry)
        if entry.client_id:
            room.by_client_id[entry.sender, entry.client_id] = entry
        self.changes.begun(room, entry)
        self._spread(room, entry, origin)

    def tell(self, user: str, frame: pb.ServerFrame, origin: Session | None) -> None:
        """The user's other devices hear it."""
        for session in self.sessions:
            if session.user == user and session is not origin:
                session.push(frame)

    def text(self, sender: str, conversation: str, text: str) -> pb.Message:
        return self.post(sender, conversation, pb.Content(text=text))[0]

    def pause(self, session: Session) -> None:
        """Pauses a connection as if it read too slowly."""
        session.paused = True
        session.push(pb.ServerFrame(lagging=pb.Lagging(inbox_head=self._head(session.user), paused=True)))

    def nudge(self, session: Session) -> None:
        """Nudges a connection as if it did not acknowledge in time."""
        session.push(pb.ServerFrame(lagging=pb.Lagging(inbox_head=self._head(session.user))))

    # What a client asks

    def hello(
        self, hello: pb.Hello, push: Callable[[pb.ServerFrame], None], user: str, node: str = "access-0"
    ) -> tuple[Session, pb.ServerFrame]:
        self.attempts.append(hello.attempt)
        self.protocols.append(hello.protocol)
        self.cursors.append(dict(hello.group_cursors))
        session = Session(user, hello.device, push)
        self.sessions.append(session)
        head = self._head(user)
        reset = bool(hello.epoch) and (hello.epoch != self.epoch or hello.cursor > head)
        session.group_heads = {room.id: room.head for room in self._by_cursor(user)}
        return session, pb.ServerFrame(
            welcome=pb.Welcome(
                session="s",
                user=user,
                node=node,
                heartbeat_s=15,
                idle_heartbeat_s=120,
                inbox_head=head,
                epoch=self.epoch,
                reset=reset,
                time_ms=self.time_ms,
                limits=pb.Limits(frame_bytes_max=131072, content_bytes_max=32768, sends_per_s=1000, streams=True),
                backoff=pb.Backoff(base_ms=500, max_ms=20000, factor=2),
                group_heads={
                    room.id: room.head
                    for room in self._by_cursor(user)
                    if room.head > hello.group_cursors.get(room.id, 0)
                },
            )
        )

    def end(self, session: Session) -> None:
        if session in self.sessions:
            self.sessions.remove(session)

    def answer(self, session: Session, frame: pb.ClientFrame) -> pb.ServerFrame | None:
        """The reply to a frame; None: it has none."""
        reply = self.refuse(session, frame)
        if reply is None:
            body = frame.WhichOneof("body")
            for place, name in ((self, f"_on_{body}"), (self.changes, f"on_{body}"), (self.people, f"on_{body}")):
                handler = getattr(place, name, None)
                if handler is not None:
                    reply = handler(session, getattr(frame, body or ""))
                    break
        if reply is None or reply.WhichOneof("body") is None:
            return None  # an empty reply of `refuse` is silence
        reply.id = frame.id
        return reply

    def _on_ping(self, session: Session, _ping: pb.Ping) -> pb.ServerFrame:
        heads = {room.id: room.head for room in self._by_cursor(session.user)}
        moved = {name: head for name, head in heads.items() if head > session.group_heads.get(name, 0)}
        session.group_heads = heads
        return pb.ServerFrame(
            pong=pb.Pong(inbox_head=self._head(session.user), time_ms=self.time_ms, group_heads=moved)
        )

    def _on_send(self, session: Session, send: pb.Send) -> pb.ServerFrame:
        conversation = send.conversation or direct(session.user, send.user)
        room = self.room(conversation)
        if session.user not in room.members:
            return _error("FORBIDDEN", "you are not a member")
        if any(session.user in self.people.blocked.get(user, ()) for user in self._peers(room)):
            return _error("FORBIDDEN", "this user does not take messages from you")
        message, duplicate, number = self.post(session.user, conversation, send.content, send.client_id, session)
        return pb.ServerFrame(
            sent=pb.Sent(
                client_id=send.client_id,
                message_id=message.message_id,
                conversation=conversation,
                seq=message.seq,
                time_ms=message.time_ms,
                duplicate=duplicate,
                number=number,
            )
        )

    def _on_sync(self, session: Session, sync: pb.Sync) -> pb.ServerFrame:
        inbox = self.inboxes.get(session.user, [])
        limit = min(sync.limit or 100, self.page_max)
        part = inbox[sync.after : sync.after + limit]
        more = sync.after + len(part) < len(inbox)
        if not more:
            session.paused = False
        beside: dict[str, set[int]] = {}
        for conversation, seq in part:
            beside.setdefault(conversation, set()).add(seq)
        entries = [
            pb.Entry(
                number=sync.after + i + 1,
                message=self.changes.shown(self.rooms[conversation], seq, session.user, beside[conversation]),
            )
            for i, (conversation, seq) in enumerate(part)
            if seq > self.gone.get(conversation, 0)
        ]
        return pb.ServerFrame(
            page=pb.Page(
                entries=entries,
                next=sync.after + len(part),
                head=len(inbox),
                more=more,
                truncated=len(entries) < len(part),
            )
        )

    def _on_history(self, session: Session, asked: pb.History) -> pb.ServerFrame:
        room = self.room(asked.conversation)
        if session.user not in room.members and room.id != BROADCAST:
            return _error("FORBIDDEN", "you are not a member")
        limit = min(asked.limit or 50, self.page_max)
        joined = max(0 if room.shared else room.members.get(session.user, 0), self.gone.get(room.id, 0))
        wanted = [message.seq for message in room.messages if asked.changes or message.kind != pb.Message.CHANGE]
        if asked.HasField("after"):
            after = max(joined, asked.after)
            rest = [seq for seq in wanted if seq > after]
            part = rest[:limit]
            more = len(part) < len(rest)
            following = part[-1] if more else max(room.head, asked.after)
        else:
            end = asked.before - 1 if asked.HasField("before") else room.head
            rest = [seq for seq in wanted if joined < seq <= end]
            part = rest[-limit:]
            more = len(part) < len(rest)
            following = part[0] if part else 0
        beside = set(part)
        entries = [pb.Entry(message=self.changes.shown(room, seq, session.user, beside)) for seq in part]
        truncated = self.gone.get(room.id, 0) > 0
        return pb.ServerFrame(
            page=pb.Page(entries=entries, next=following, head=room.head, more=more, truncated=truncated)
        )

    def _on_conversations(self, session: Session, asked: pb.ListConversations) -> pb.ServerFrame:
        """Newest first, below a place in time; `after` also says when the list was begun: what moved up comes too."""
        mine = sorted(
            (room for room in self.rooms.values() if session.user in room.members), key=lambda r: (-r.changed_ms, r.id)
        )
        if asked.after:
            begun_ms, below_ms, name = asked.after.split("~", 2)
            moved = [room for room in mine if room.changed_ms > int(begun_ms)]
            rest = [room for room in mine if (-room.changed_ms, room.id) > (-int(below_ms), name)]
        else:
            begun_ms, moved, rest = str(self.time_ms), [], mine
        part = rest[: min(asked.limit or 50, self.page_max)]
        more = len(part) < len(rest)
        return pb.ServerFrame(
            conversation_page=pb.ConversationPage(
                conversations=[self._listed(room, session.user) for room in [*moved, *part]],
                next=f"{begun_ms}~{part[-1].changed_ms}~{part[-1].id}" if more else "",
                more=more,
            )
        )

    def _on_refresh(self, session: Session, refresh: pb.Refresh) -> pb.ServerFrame:
        self.refreshed.append(refresh.token)
        if not self.takes_tokens:
            return _error("UNAUTHENTICATED", "the token is not valid")
        return pb.ServerFrame(ok=pb.Ok())

    def _on_read(self, session: Session, read: pb.Read) -> pb.ServerFrame:
        room = self.room(read.conversation)
        room.read[session.user] = max(room.read.get(session.user, 0), min(read.seq, room.head))
        self._receipt(room, session)
        return pb.ServerFrame(ok=pb.Ok())

    def _on_ack(self, session: Session, ack: pb.Ack) -> None:
        self.acknowledged.append(ack.number)
        for conversation, seq in self.inboxes.get(session.user, [])[: ack.number]:
            room = self.rooms[conversation]
            room.delivered[session.user] = max(room.delivered.get(session.user, 0), seq)
        for room in self.rooms.values():
            if session.user in room.delivered and not room.large:
                self._receipt(room, session)

    def _on_signal(self, session: Session, signal: pb.Signal) -> None:
        room = self.room(signal.conversation or direct(session.user, signal.user))
        said = pb.Signal(conversation=room.id, name=signal.name, data=signal.data)
        setattr(said, "from", session.user)
        for other in self.sessions:
            if other.user in room.members and other is not session:
                other.push(pb.ServerFrame(signal=said))

    def _on_presence(self, session: Session, asked: pb.PresenceRequest) -> pb.ServerFrame:
        session.watched |= set(asked.users)
        online = {other.user for other in self.sessions}
        return pb.ServerFrame(
            presence_list=pb.PresenceList(users=[pb.Presence(user=user, online=user in online) for user in asked.users])
        )

    def _on_group(self, session: Session, request: pb.GroupRequest) -> pb.ServerFrame:
        act = request.WhichOneof("act") or ""
        if act == "create":
            made = self.made.get((session.user, request.create.client_id))
            if made is None:
                members = [session.user, *(user for user in request.create.members if user != session.user)]
                made = self.group(f"g:{new_id()}", members, name=request.create.name)
                self.made[session.user, request.create.client_id] = made
            return self.info(made, session.user)
        asked = getattr(request, act)
        room = self.rooms.get(asked.conversation)
        if room is None:
            return _error("NOT_FOUND", "there is no such group")
        changed = self.groups.act(session, room, request)
        if changed is not None:
            return changed
        match act:
            case "leave":
                room.members.pop(session.user, None)
            case "add":
                refused = [user for user in asked.users if user in room.banned]
                room.members |= {
                    user: room.head for user in asked.users if user not in room.members and user not in refused
                }
                return pb.ServerFrame(ok=pb.Ok(refused=refused))
            case "remove":
                for user in asked.users:
                    room.members.pop(user, None)
            case "rename":
                room.name = asked.name
            case "members":
                users = sorted(room.members)
                part = [user for user in users if user > asked.after][: self.page_max]
                members_of = [pb.Member(user=user, role=pb.Member.MEMBER) for user in part]
                page = pb.MemberPage(members=members_of, next=part[-1], more=part[-1] != users[-1])
                return pb.ServerFrame(member_page=page)
            case _:
                pass
        return self.info(room, session.user) if act in ("rename", "info") else pb.ServerFrame(ok=pb.Ok())

    # Inside

    def _peers(self, room: Room) -> list[str]:
        return list(room.members) if room.id.startswith("d:") else []

    def info(self, room: Room, user: str) -> pb.ServerFrame:
        """What is known of a group."""
        role = pb.Member.MEMBER if user in room.members else pb.Member.ROLE_UNSPECIFIED
        return pb.ServerFrame(
            group_info=pb.GroupInfo(
                conversation=room.id,
                name=room.name,
                member_count=len(room.members),
                role=role,
                head=room.head,
                share_history=room.shared,
                settings=room.settings,
                join_requests=len(room.requests),
                pinned=self._pinned(room),
            )
        )

    def _pinned(self, room: Room) -> list[int]:
        return sorted((seq for seq, target in room.targets.items() if target.pinned), reverse=True)

    def _listed(self, room: Room, user: str) -> pb.Conversation:
        read_seq = room.read.get(user, room.members.get(user, 0))
        hidden = self.changes.hidden.get(user, set())
        messages = [
            message
            for message in room.messages
            if message.kind != pb.Message.CHANGE and (room.id, message.seq) not in hidden
        ]
        unread = [
            message
            for message in messages
            if message.seq > read_seq
            and message.sender != user
            and not (message.seq in room.targets and room.targets[message.seq].recalled_by)
        ]
        mentions = [message.seq for message in unread if user in message.content.mentions]
        return pb.Conversation(
            conversation=room.id,
            name=room.name or room.id,
            kind=pb.Conversation.DIRECT if room.id.startswith("d:") else pb.Conversation.GROUP,
            head=room.head,
            read_seq=read_seq,
            large_from=1 if room.large else 0,
            last=self.changes.shown(room, messages[-1].seq, user) if messages else None,
            unread=len(unread),
            unread_mentions=len(mentions),
            first_mention_seq=mentions[0] if mentions else 0,
            read_ordinal=room.ordinal(read_seq),
            preferences=self.people.preferences.get((user, room.id)),
            pinned=self._pinned(room),
        )

    def _spread(self, room: Room, message: pb.Message, origin: Session | None) -> None:
        numbers: dict[str, int] = {}
        if not room.large:
            for user in room.members:
                inbox = self.inboxes.setdefault(user, [])
                inbox.append((room.id, message.seq))
                numbers[user] = len(inbox)
        for session in self.sessions:
            if session.user in room.members and session is not origin and not session.paused:
                shown = self.changes.shown(room, message.seq, session.user, page=False)
                entry = pb.Entry(number=numbers.get(session.user, 0), message=shown)
                session.push(pb.ServerFrame(deliver=pb.Deliver(entries=[entry])))

    def _receipt(self, room: Room, session: Session) -> None:
        read = room.read.get(session.user, 0)
        receipt = pb.Receipt(
            conversation=room.id,
            user=session.user,
            delivered_seq=max(read, room.delivered.get(session.user, 0)),
            read_seq=read,
        )
        for other in self.sessions:
            if other.user in room.members and other is not session:
                other.push(pb.ServerFrame(receipt=receipt))

    def _head(self, user: str) -> int:
        return len(self.inboxes.get(user, []))

    def number(self, user: str, conversation: str, seq: int) -> int:
        """Where it stands in the user's inbox; 0: nowhere."""
        inbox = self.inboxes.get(user, [])
        return inbox.index((conversation, seq)) + 1 if (conversation, seq) in inbox else 0

    def _by_cursor(self, user: str) -> list[Room]:
        return [room for room in self.rooms.values() if room.large and user in room.members and room.head]


def _error(code: str, message: str, retry_after_ms: int = 0) -> pb.ServerFrame:
    return pb.ServerFrame(error=pb.Error(code=code, message=message, retry_after_ms=retry_after_ms))
