"""What the chat knows: conversations, their lines and states, who is typing or online, the connection. Pure.

Guarantees: each message is one line, wherever it came from (pushed, history, own), in order of its seq, and shown as it
is after all changes that came; an own line's state only goes on. At most `LINES_MAX` lines of a conversation are kept;
older ones are read from the server again.

Does not know: the client, the screen. Times are given as arguments: seconds of a monotonic clock.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable

from tidings import (
    Conversation,
    ConversationKind,
    Event,
    Expired,
    Group,
    Hidden,
    HistoryPage,
    Link,
    LinkState,
    Message,
    MessageChanged,
    MessageState,
    NotKept,
    PreferencesChanged,
    Presence,
    Profile,
    ProfileChanged,
    Progress,
    Receipt,
    Restarted,
    Role,
    Signal,
    StreamGrew,
    folded,
    newer,
)
from tidings_protocol.ids import BROADCAST, direct, other_of
from tools.cli.chat.talk import Line, Talk, is_hidden, note_membership, prefer, rank
from tools.cli.chat.telling import text_of

LINES_MAX = 2000
TYPING_S = 6.0
NOTES_MAX = 200
UNSENT = 1 << 62  # own messages without a place stand behind everything


class ChatModel:
    def __init__(self, me: str) -> None:
        self.me = me
        self.talks: dict[str, Talk] = {}
        self.current: str = ""
        self.link = Link(LinkState.ONLINE)
        self.link_since = 0.0
        self.online: dict[str, Presence] = {}
        self.profiles: dict[str, Profile] = {}
        self.notes: list[Line] = []  # while no conversation is open
        self._count = 0

    # Looking

    @property
    def talk(self) -> Talk | None:
        """The conversation on the screen."""
        return self.talks.get(self.current)

    def listed(self) -> list[Talk]:
        """The conversations, newest first; those that are pinned before the others, archived ones behind them."""
        return sorted((talk for talk in self.talks.values() if not is_hidden(talk)), key=rank)

    def find(self, word: str) -> Talk | None:
        """By its number in the list, its id, its name, or the start of its name."""
        listed = self.listed()
        if word.isdigit() and 1 <= int(word) <= len(listed):
            return listed[int(word) - 1]
        for fits in (
            lambda talk: word in (talk.id, talk.name),
            lambda talk: talk.name.lower().startswith(word.lower()),
        ):
            found = next((talk for talk in listed if fits(talk)), None)
            if found is not None:
                return found
        return None

    def peer(self, talk: Talk) -> str:
        """The other user of a direct chat; empty for other conversations."""
        return other_of(talk.id, self.me) if talk.kind is ConversationKind.DIRECT else ""

    def name_of(self, user: str) -> str:
        """How a user wants to be shown."""
        profile = self.profiles.get(user)
        return profile.name if profile is not None and profile.name else user

    def people(self, talk: Talk | None) -> list[str]:
        """Who may be mentioned there, but oneself."""
        return sorted(talk.people - {self.me}) if talk is not None else []

    def typing(self, talk: Talk, now: float) -> list[str]:
        return [user for user, until in talk.typing.items() if until > now]

    def failed(self) -> list[tuple[Talk, Line]]:
        return [
            (talk, line)
            for talk in self.talks.values()
            for line in talk.lines
            if line.state is MessageState.FAILED and not line.seq
        ]

    # What the client tells

    def apply(self, event: Event, now: float) -> Line | None:
        """The line that a message became, if it is new."""
        match event:
            case Message():
                return self._message(event)
            case MessageChanged() | StreamGrew() | Expired():
                self._change(event)
            case Receipt():
                self._receipt(event)
            case Progress():
                self._progress(event)
            case Signal(conversation, sender, "typing"):
                self._talk(conversation).typing[sender] = now + TYPING_S
            case Hidden(conversation, seqs, through):
                self.hide(conversation, seqs, through)
            case Link():
                self.link, self.link_since = event, now
            case Group():
                self._group(event)
            case Presence() | ProfileChanged() | PreferencesChanged():
                self._people(event)
            case Restarted() | Signal() | NotKept():
                pass
        return None

    def listing(self, conversations: Iterable[Conversation]) -> None:
        """What the server knows of the user's conversations."""
        for told in conversations:
            talk = self._talk(told.id)
            talk.name = told.name or talk.name
            talk.kind = told.kind
            talk.head = max(talk.head, told.head)
            talk.in_at = max(talk.in_at, told.head)
            talk.counted.told(told)
            talk.preferences = told.preferences
            talk.pinned = told.pinned
            talk.others_delivered = max(talk.others_delivered, told.peer_delivered_seq)
            talk.others_read = max(talk.others_read, told.peer_read_seq)
            talk.large = told.large_from > 0
            if told.last is not None:
                talk.last_ms = max(talk.last_ms, told.last.time_ms)

    def page(self, conversation: str, page: HistoryPage) -> list[Line]:
        """The new lines of a page of older (or the newest) messages."""
        talk = self._talk(conversation)
        talk.loaded = True
        talk.head = max(talk.head, page.head)
        added = [line for message in page.messages if (line := self._add(talk, message)) is not None]
        talk.more_before = page.more
        return added

    # What the person does

    def open(self, conversation: str, *, name: str = "") -> Talk:
        talk = self._talk(conversation)
        talk.name = name or talk.name
        if self.current != conversation:
            talk.new_from = talk.read_seq + 1 if talk.unread else 0
        self.current = conversation
        return talk

    def chat_with(self, user: str) -> Talk:
        return self.open(direct(self.me, user))

    def posted(
        self,
        conversation: str,
        client_id: str,
        text: str,
        reply_to: int,
        time_ms: int,
        mentions: tuple[str, ...] = (),
    ) -> Line:
        """An own message on its way."""
        line = Line(
            (UNSENT, self._next()),
            self.me,
            text,
            time_ms,
            client_id=client_id,
            reply_to=reply_to,
            state=MessageState.SENDING,
            mentions=mentions,
        )
        talk = self._talk(conversation)
        talk.new_from = 0
        talk.lines.append(line)
        talk.last_ms = max(talk.last_ms, time_ms)
        return line

    def note(self, text: str, time_ms: int) -> Line:
        """Something that the program says, below what is there now."""
        talk = self.talk
        line = Line((talk.head if talk else 0, self._next()), "", text, time_ms)
        if talk is None:
            self.notes = [*self.notes, line][-NOTES_MAX:]
        else:
            self._put(talk, line)
        return line

    def read(self, conversation: str, seq: int) -> None:
        self._talk(conversation).counted.read(seq)

    def hide(self, conversation: str, seqs: Iterable[int], through: int) -> None:
        """The person wants to see these no more."""
        talk = self._talk(conversation)
        gone = set(seqs)
        talk.counted.gone({seq for seq in talk.counted.fresh if seq in gone or seq <= through})
        talk.lines = [line for line in talk.lines if not (0 < line.seq <= through or line.seq in gone)]

    def forget(self, conversation: str) -> None:
        """The user is no member any more."""
        self.talks.pop(conversation, None)
        if self.current == conversation:
            self.current = next((talk.id for talk in self.listed()), "")

    # Inside

    def _next(self) -> int:
        self._count += 1
        return self._count

    def _talk(self, conversation: str) -> Talk:
        found = self.talks.get(conversation)
        if found is None:
            kind, name = _kind_and_name(conversation, self.me)
            found = self.talks[conversation] = Talk(conversation, name, kind)
        return found

    def _message(self, message: Message) -> Line | None:
        talk = self._talk(message.conversation)
        talk.typing.pop(message.sender, None)
        if is_hidden(talk) and not message.system:
            talk.preferences = prefer(talk.preferences, talk.id, hidden=False)
        told = message.membership
        if told is not None and (told.act in ("rename", "create")) and told.name:
            talk.name = told.name
        return self._add(talk, message)

    def _add(self, talk: Talk, message: Message) -> Line | None:
        talk.head = max(talk.head, message.seq)
        talk.last_ms = max(talk.last_ms, message.time_ms)
        talk.people.add(message.sender)
        note_membership(talk, message, self.me)
        if message.sender == self.me:
            talk.counted.read(message.seq)
            self._settle(talk, message.client_id)
        else:
            talk.counted.came(message, self.me)
        text = text_of(message)
        if message.seq in talk.seen:
            self._renew(talk, message)
            return None
        if text is None:
            return None
        line = Line(
            (message.seq, 0),
            message.sender,
            text,
            message.time_ms,
            message.seq,
            message.client_id,
            message.reply_to,
            system=message.system,
            message=message,
        )
        self._put(talk, line)
        return line

    def _renew(self, talk: Talk, message: Message) -> None:
        """The message was read again."""
        line = talk.line(message.seq)
        if line is not None and line.message is not None:
            self._show(line, newer(line.message, message, self.me))

    def _change(self, event: MessageChanged | StreamGrew | Expired) -> None:
        talk = self._talk(event.message.conversation if isinstance(event, Expired) else event.conversation)
        if isinstance(event, MessageChanged):
            talk.head = max(talk.head, event.change_seq)
            pinned = tuple(seq for seq in talk.pinned if seq != event.seq)
            talk.pinned = (event.seq, *pinned) if event.state.pinned else pinned
            if event.state.recalled_by:
                talk.counted.gone({event.seq})
        if event.message is not None:
            self._renew(talk, event.message)
        elif isinstance(event, MessageChanged):
            line = talk.line(event.seq)
            if line is not None and line.message is not None:
                self._show(line, folded(line.message, event, self.me))

    def _show(self, line: Line, message: Message) -> None:
        line.message = message
        line.reply_to = message.reply_to
        line.text = text_of(message) or line.text

    def _put(self, talk: Talk, line: Line) -> None:
        if line.seq:
            talk.seen.add(line.seq)
        insort(talk.lines, line, key=lambda other: other.place)
        if len(talk.lines) > LINES_MAX:
            gone = talk.lines.pop(0)
            talk.seen.discard(gone.seq)
            talk.more_before = True

    def _settle(self, talk: Talk, client_id: str) -> Line | None:
        """The line that waits for this own message leaves its place."""
        if not client_id:
            return None
        for index, line in enumerate(talk.lines):
            if line.client_id == client_id and not line.seq:
                return talk.lines.pop(index)
        return None

    def _progress(self, progress: Progress) -> None:
        talk = self._talk(progress.conversation)
        match progress.state:
            case MessageState.SENT:
                line = self._settle(talk, progress.client_id)
                if line is not None and progress.seq not in talk.seen:
                    line.seq, line.place = progress.seq, (progress.seq, 0)
                    line.message = self._own(talk, line)
                    self._put(talk, line)
                talk.head = max(talk.head, progress.seq)
                talk.counted.read(progress.seq)
            case MessageState.FAILED:
                for line in talk.lines:
                    if line.client_id == progress.client_id and not line.seq:
                        line.state, line.reason = MessageState.FAILED, progress.reason
            case MessageState.DELIVERED:
                talk.others_delivered = max(talk.others_delivered, progress.seq)
            case MessageState.READ:
                talk.others_read = max(talk.others_read, progress.seq)
            case MessageState.SENDING:
                pass

    def _own(self, talk: Talk, line: Line) -> Message:
        """The message that an own line became."""
        return Message(
            "",
            talk.id,
            line.seq,
            self.me,
            line.time_ms,
            line.text,
            reply_to=line.reply_to,
            client_id=line.client_id,
            mentions=line.mentions,
        )

    def _receipt(self, receipt: Receipt) -> None:
        talk = self._talk(receipt.conversation)
        if receipt.user == self.me:
            talk.counted.read(receipt.read_seq)
        else:
            talk.others_delivered = max(talk.others_delivered, receipt.delivered_seq)
            talk.others_read = max(talk.others_read, receipt.read_seq)

    def _people(self, event: Presence | ProfileChanged | PreferencesChanged) -> None:
        match event:
            case Presence():
                self.online[event.user] = event
            case ProfileChanged(profile):
                self.profiles[profile.user] = profile
            case PreferencesChanged(preferences):
                self._talk(preferences.conversation).preferences = preferences

    def _group(self, group: Group) -> None:
        talk = self._talk(group.id)
        talk.name = group.name or talk.name
        talk.large = group.large_from > 0
        talk.head = max(talk.head, group.head)
        talk.role = group.role
        if group.role is not Role.NONE:
            talk.in_at = max(talk.in_at, group.head)
        talk.pinned = group.pinned
        talk.requests = group.join_requests


def _kind_and_name(conversation: str, me: str) -> tuple[ConversationKind, str]:
    if conversation == BROADCAST:
        return ConversationKind.BROADCAST, "notices"
    if conversation.startswith("d:"):
        return ConversationKind.DIRECT, other_of(conversation, me)
    return ConversationKind.GROUP, conversation
