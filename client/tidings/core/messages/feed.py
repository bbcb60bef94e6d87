"""What this device holds of its user's messages: the inbox, what is read by cursor, and what is missing. Pure.

Guarantees: `take` gives each message once and each conversation in order, whatever the server's pushes lose, repeat or
mix up, and over any number of connections. What is missing is asked for: a gap when its push would have come by all
that is known (gap_time.py), what lies behind a welcome at once; what brought nothing, later and later. While a page is
on its way no other is asked for in its place. A cursor never passes a message that the application is not done with
(`took`). Changes of messages stand in the same order, each once. Kinds that this version does not know, and what the
user has hidden, are passed over, and count as held. An event costs the same however many groups are behind.

Bounds: at most `capacity` messages wait for the application (and a page on top). Pushes beyond that are let go, not
acknowledged, and read again from the server when there is room: an application that does not read loses nothing.

Does not know: connections and request ids (device.py); it says what it wants, and is given what came of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from tidings.core.contents.copies import Copies
from tidings.core.due import Due
from tidings.core.messages.gap_time import GapTime
from tidings.core.messages.inbox import Inbox, Item
from tidings.core.messages.order import Order
from tidings.core.messages.wants import Want, WantHistory, WantInfo, WantList, WantSync
from tidings.model import SHOWN, Message, MessageChanged
from tidings.state import SavedState
from tidings_protocol import client_pb2 as pb
from tidings_protocol.ids import BROADCAST
from tidings_protocol.kinds import CHANGE

INBOX = ""  # beside the conversations' names
HEARTBEAT_S = 15  # of a server that says nothing
FILLS_MAX = 4
GROUP_CURSORS_MAX = 1000  # the server takes no more in a hello


@dataclass(frozen=True, slots=True, eq=False)
class Handed:
    """What the application has in its hands, and where it stands, for `took`."""

    event: Message | MessageChanged
    conversation: str
    seq: int
    number: int
    life: int


class Feed:
    def __init__(
        self,
        saved: SavedState | None,
        own: Callable[[pb.Message], bool],
        *,
        capacity: int,
        from_start: bool = False,
        copies: Copies | None = None,
    ) -> None:
        """`copies` has taken in the messages that a frame brings before it is told here."""
        self._own = own
        self._copies = copies or Copies()
        self._capacity = capacity
        self._from_start = from_start
        self._inbox = Inbox(saved.cursor if saved else 0, capacity)
        self._order = Order(saved.groups, saved.seqs) if saved else Order({}, {})
        self._ready: deque[tuple[int, Item]] = deque()
        self._life = 0  # of the data: what waits from before a reset counts for nothing any more
        self.user = saved.user if saved else ""
        self.epoch = saved.epoch if saved else ""
        self._gap_at: float | None = None
        self._gaps = GapTime()
        self._fruitless = 0  # syncs in a row that did not move this device
        self._must_sync = False
        self._starved = False
        self._due = Due()  # unfinished conversations, unless they are asked about just now
        self._flying: set[Want] = set()
        self._listable = {BROADCAST}  # new here, and only the list of conversations tells from where on to read

    # What the session asks

    @property
    def cursor(self) -> int:
        return self._inbox.cursor

    def group_cursors(self) -> dict[str, int]:
        """The cursors that the hello says: all, or those that are behind and those that moved last.

        What is left out is read on from its cursor all the same, since the server tells the head of each.
        """
        groups = self._order.groups()
        if len(groups) <= GROUP_CURSORS_MAX:
            return groups
        behind = self._order.unfinished()
        ranked = sorted(groups, key=lambda name: name in behind)  # stable: the quiet ones are first of each
        return {name: groups[name] for name in ranked[-GROUP_CURSORS_MAX:]}

    def saved(self, device: str) -> SavedState:
        return SavedState(self.user, device, self.epoch, self._inbox.cursor, self._order.groups(), self._order.seqs())

    @property
    def waiting(self) -> int:
        """Messages for the application."""
        return len(self._ready)

    def take(self, now: float, time_ms: int = 0) -> Handed | None:
        """The next message, or change of one, as it is at this time of the server; None: there is none now.

        It counts as held when `took` is told of it.
        """
        while self._ready:
            life, item = self._ready.popleft()
            self._recover(now)
            event = self._event(item, time_ms)
            if event is not None:
                return Handed(event, item.conversation, item.seq, item.number, life)
            self._take_away(item, life)
        return None

    def took(self, handed: Handed) -> None:
        """The application is done with it."""
        if handed.life == self._life:
            self._inbox.taken(handed.number)
            self._order.took(handed.conversation, handed.seq)

    def _event(self, item: Item, time_ms: int) -> Message | MessageChanged | None:
        assert item.message is not None
        if item.message.kind == CHANGE:
            return self._copies.changed(item.message, time_ms)
        return self._copies.shown(item.message, time_ms)

    def _take_away(self, item: Item, life: int) -> None:
        """There is nothing to show of it any more."""
        if life == self._life:
            self._inbox.taken(item.number)
            self._order.took(item.conversation, item.seq)

    def next_wake(self) -> float | None:
        """When `wants` has something, if nothing else happens."""
        if len(self._ready) >= self._capacity:
            return None
        times = [self._due.next() if self._filling < FILLS_MAX else None]
        if self._room and not self._syncing:
            if self._must_sync:
                return 0.0
            times.append(self._gap_at)
        return min((time for time in times if time is not None), default=None)

    def wants(self, now: float) -> Iterator[Want]:
        """What is to be asked of the server now; each is answered by `synced`, `filled`, `listed` or `refused`."""
        if len(self._ready) >= self._capacity:
            return
        gap_due = self._gap_at is not None and now >= self._gap_at
        if self._room and not self._syncing and (self._must_sync or gap_due):
            self._must_sync = False
            yield self._fly(WantSync(self._inbox.tip))
        while self._filling < FILLS_MAX and (name := self._due.pop(now)) is not None:
            want = self._want_of(name)
            if want is not None:
                yield self._fly(want)

    # What came from the server

    def welcome(self, welcome: pb.Welcome, now: float) -> bool | None:
        """A session began. None: it goes on from before; True: this device is new; False: the data are others."""
        self._flying.clear()
        self._gap_at = None
        self._gaps.begin(float(welcome.heartbeat_s or HEARTBEAT_S))
        known = self.epoch != ""
        same = known and welcome.epoch == self.epoch and not welcome.reset and welcome.user == self.user
        self.user, self.epoch = welcome.user, welcome.epoch
        if not same:
            self._restart(welcome)
        self._inbox.note_head(welcome.inbox_head)
        self._must_sync = self._inbox.behind
        self._note_groups(welcome.group_heads, now)
        for name in self._order.unfinished():
            self._due.put(name, now)
        self._order.begun()  # no gaps: nobody will push what was before
        if BROADCAST not in welcome.group_heads:
            self._order.note_head(BROADCAST, 0)
            self._show(self._order.begin(BROADCAST, 0))
        return None if same else not known

    def lost(self) -> None:
        """The connection is gone, and what was asked with it."""
        self._flying.clear()

    def deliver(self, entries: Iterable[pb.Entry], now: float) -> None:
        for entry in entries:
            self._come(_item(entry), now)
        self._watch_gaps(now)

    def answered(self, took_s: float, now: float) -> None:
        """A send of this client was answered after so long."""
        self._gaps.answered(took_s, now)

    def own_sent(self, sent: pb.Sent, now: float) -> None:
        """A send of this client was stored: its place counts as held."""
        self._place(Item(sent.conversation, sent.seq, None, sent.number), now)
        self._watch_gaps(now)

    def own_changed(self, entry: pb.Message, number: int, now: float) -> None:
        """A change of this client was stored: it is shown at its place, like everybody's.

        Without a number, where there are some, it is the inbox that brings it.
        """
        if not number and not self._order.reads_by_cursor(entry.conversation):
            return
        item = Item(entry.conversation, entry.seq, entry, number)
        if self._room:
            self._place(item, now)
        else:
            self._let_go(item)
        self._watch_gaps(now)

    def heads(self, pong: pb.Pong, now: float) -> None:
        self._inbox.note_head(pong.inbox_head)
        self._note_groups(pong.group_heads, now + self._gaps.wait_s(now))
        self._watch_gaps(now)

    def lagging(self, lagging: pb.Lagging) -> None:
        """The server misses acknowledgements, or stopped pushing until this device has synced."""
        self._inbox.note_head(lagging.inbox_head)
        self._must_sync = True

    def removed(self, conversation: str, now: float) -> None:
        """The user is no member any more. What came is still given; where a large group was read is forgotten."""
        if self._order.reads_by_cursor(conversation) and conversation != BROADCAST:
            self._give_up(conversation)
            self._order.drop(conversation)
            self._recover(now)

    def synced(self, want: WantSync, page: pb.Page, now: float) -> None:
        self._flying.discard(want)
        tip = self._inbox.tip
        for placed in self._inbox.page(want.after, page, [_item(entry) for entry in page.entries]):
            self._show(self._order.offer(placed, self.user))
        moved = self._inbox.tip > tip
        self._fruitless = 0 if self._inbox.tip > want.after else self._fruitless + 1
        if _reaches(self._inbox.tip, self._gaps.upto(INBOX)):
            self._gaps.fetched(INBOX)
        self._must_sync = self._must_sync or (page.more and moved)
        if self._must_sync and not self._room:
            self._starved = True
        self._gap_at = None
        self._watch_gaps(now)

    def filled(self, want: WantHistory, page: pb.Page, now: float) -> None:
        self._flying.discard(want)
        name = want.conversation
        if self._order.knows(name):
            items = [Item(name, entry.message.seq, entry.message) for entry in page.entries]
            self._show(self._order.fill(name, items, page))
        if _reaches(self._order.last(name), self._gaps.upto(name)):
            self._gaps.fetched(name)
        if name in self._order.unfinished():
            fruitless = self._order.fruitless(name)
            wait_s = 0.0 if page.more and not fruitless else self._gaps.wait_s(now, max(0, fruitless - 1))
            self._due.put(name, now + wait_s)
            self._measure(name, now)
        self._recover(now)
        self._watch_gaps(now)

    def informed(self, want: WantInfo, info: pb.GroupInfo, now: float) -> None:
        """A group that is new here. Its history begins with our joining, unless it shows what was before as well."""
        self._flying.discard(want)
        if not self._order.knows(want.conversation):
            return
        if info.share_history:
            self._listable.add(want.conversation)
            self._due.put(want.conversation, now)
        else:
            self._begin(want.conversation, 0, now)
        self._recover(now)

    def listed(self, want: WantList, page: pb.ConversationPage, now: float) -> WantList | None:
        """What to ask next, if what was looked for is not in this page.

        A conversation is read behind the user's read position, which begins where the user became a member.
        """
        self._flying.discard(want)
        unknown = {name for name in self._listable if self._order.track(name).last is None}
        for found in page.conversations:
            if found.conversation in unknown:
                unknown.discard(found.conversation)
                self._begin_before_held(found.conversation, found.read_seq, now)
        more = page.more and page.next != want.after
        if unknown and (more or not want.last_pass):
            again = WantList(page.next, want.last_pass) if more else WantList("", last_pass=True)
            self._flying.add(again)
            return again
        for name in unknown:
            self._begin_before_held(name, self._order.track(name).head, now)
        self._recover(now)
        return None

    def refused(self, want: Want, now: float) -> None:
        """The server will not answer this, however often it is asked."""
        self._flying.discard(want)
        match want:
            case WantSync():
                self._fruitless += 1
                self._gap_at = None
            case WantHistory(conversation) | WantInfo(conversation):
                if self._order.knows(conversation):
                    self._give_up(conversation)
            case WantList():
                for name in list(self._listable):
                    self._give_up(name)
        self._recover(now)
        self._watch_gaps(now)

    # Inside

    @property
    def _room(self) -> bool:
        """Whether another push may be kept."""
        return len(self._ready) + self._order.held < self._capacity

    @property
    def _syncing(self) -> bool:
        return any(isinstance(want, WantSync) for want in self._flying)

    @property
    def _filling(self) -> int:
        return sum(isinstance(want, WantHistory | WantInfo) for want in self._flying)

    def _want_of(self, conversation: str) -> WantHistory | WantInfo | WantList | None:
        """What the conversation waits for; None: nothing, or it was asked already (the answer makes it due again)."""
        if conversation not in self._order.unfinished():
            return None
        for want in self._flying:
            if isinstance(want, WantHistory | WantInfo) and want.conversation == conversation:
                return None
        last = self._order.track(conversation).last
        if last is not None:
            return WantHistory(conversation, last)
        if conversation not in self._listable:
            return WantInfo(conversation)
        # One list settles all that wait for it.
        return None if any(isinstance(want, WantList) for want in self._flying) else WantList("")

    def _give_up(self, conversation: str) -> None:
        self._show(self._order.give_up(conversation))
        self._due.drop(conversation)
        self._gaps.dropped(conversation)
        self._listable.discard(conversation)

    def _recover(self, now: float) -> None:
        """Read what was let go, once the application has caught up with half of what waited."""
        if self._starved and len(self._ready) + self._order.held <= self._capacity // 2:
            self._starved = False
            self._must_sync = True
            for name in self._order.unfinished():
                self._due.put(name, now)

    def _fly(self, want: Want) -> Want:
        self._flying.add(want)
        return want

    def _come(self, item: Item, now: float) -> None:
        if not self._room:
            self._let_go(item)
            return
        if item.number:
            self._note_push(INBOX, item.number, self._inbox.tip, now)
        else:
            self._note_push(item.conversation, item.seq, self._order.last(item.conversation), now)
        self._place(item, now)

    def _let_go(self, item: Item) -> None:
        """Lets go what there is no room for; it is read again."""
        self._starved = True
        if item.number:
            self._inbox.note_head(item.number)
        else:
            self._order.note_head(item.conversation, item.seq)

    def _place(self, item: Item, now: float) -> None:
        for placed in self._inbox.push(item) if item.number else (item,):
            self._show(self._order.offer(placed, self.user))
            self._look_at(placed.conversation, now)

    def _show(self, items: Iterable[Item]) -> None:
        for item in items:
            if item.message is None or self._passes_over(item.message):
                self._inbox.taken(item.number)
            else:
                self._order.queued(item.conversation, item.seq)
                self._ready.append((self._life, item))

    def _passes_over(self, message: pb.Message) -> bool:
        """Whether the application is not told: what it sent itself, and what this version makes nothing of."""
        own = self._own(message)
        if message.kind == CHANGE:
            self._copies.change(message)
            return self._copies.changed(message, 0) is None
        return own or message.kind not in SHOWN

    def _begin(self, conversation: str, last: int, now: float) -> None:
        self._listable.discard(conversation)
        self._show(self._order.begin(conversation, last))
        if conversation in self._order.unfinished():
            self._due.put(conversation, now)

    def _begin_before_held(self, conversation: str, last: int, now: float) -> None:
        """What has come already is shown, even if the user has read it elsewhere."""
        held = self._order.track(conversation).held
        self._begin(conversation, min([last, *(seq - 1 for seq in held)]), now)

    def _restart(self, welcome: pb.Welcome) -> None:
        self._life += 1
        cursor = 0 if self._from_start else welcome.inbox_head
        self._inbox = Inbox(cursor, self._capacity)
        self._order = Order(dict(welcome.group_heads), {})
        self._due.clear()
        self._gap_at = None
        self._starved = False

    def _note_groups(self, heads: Mapping[str, int], due: float) -> None:
        for name, head in heads.items():
            self._order.note_head(name, head)
            if name in self._order.unfinished():
                self._due.put(name, due)

    def _note_push(self, key: str, place: int, held: int, now: float) -> None:
        """What a push tells of how late pushes are; `held`: everything up to there was here before it."""
        if place <= held:
            self._gaps.came_again(key, place, now)
        elif place == held + 1 and self._gaps.upto(key) is None:
            self._gaps.came_in_order(key)

    def _watch_gaps(self, now: float) -> None:
        """A gap that is there for long enough is due; one that closed, and opened anew, has its own time."""
        if _reaches(self._inbox.tip, self._gaps.upto(INBOX)):
            self._gaps.closed(INBOX, now)
            self._gap_at = None
            self._fruitless = 0
        if not self._inbox.behind:
            self._gap_at = None
            self._fruitless = 0
        elif self._gap_at is None:
            self._gap_at = now + self._gaps.wait_s(now, self._fruitless)
            self._gaps.opened(INBOX, self._inbox.missing, now)
        for name in self._order.begun():
            if name in self._order.unfinished():
                self._due.put(name, now + self._gaps.wait_s(now))
                self._measure(name, now)

    def _look_at(self, conversation: str, now: float) -> None:
        """Looks whether the gap of a conversation that is read by cursor has closed."""
        if not _reaches(self._order.last(conversation), self._gaps.upto(conversation)):
            return
        self._gaps.closed(conversation, now)
        self._due.drop(conversation)
        if conversation in self._order.unfinished():
            self._due.put(conversation, now + self._gaps.wait_s(now))
            self._measure(conversation, now)

    def _measure(self, conversation: str, now: float) -> None:
        if self._order.reads_by_cursor(conversation) and self._order.last(conversation):
            self._gaps.opened(conversation, self._order.missing(conversation), now)


def _reaches(place: int, upto: int | None) -> bool:
    return upto is not None and place >= upto


def _item(entry: pb.Entry) -> Item:
    return Item(entry.message.conversation, entry.message.seq, entry.message, entry.number)
