"""The order of each conversation by its sequence numbers: shown in order, once, and gaps are seen. Pure.

Guarantees: what comes out of one conversation has ascending seqs without repetition. A seq that is missing between two
holds the later ones back until it comes, a page of history settles it, or the server refuses the history. The message
that makes this user a member (again) may follow on anything: what was before was not for it.

Does not know: inbox numbers, time, requests (feed.py).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, KeysView, Mapping
from dataclasses import dataclass, field

from tidings.core.messages.inbox import STUBBORN, Item
from tidings.model import MEMBERSHIP_MIME, Message
from tidings_protocol import client_pb2 as pb

TRACKS_MAX = 10_000


@dataclass(slots=True)
class Track:
    """One conversation. `last` None: it is not known from where on this device reads it.

    `head`: the highest seq the server told of; only kept for those read by cursor (`large`). `held`: what waits for
    one before it, of which `counted` are in the sum of all. `untaken`: came out, and the application is not done with
    it. `fruitless`: pages of history in a row that brought nothing.
    """

    last: int | None = None
    head: int = 0
    large: bool = False
    held: dict[int, Item] = field(default_factory=dict)
    counted: int = 0
    untaken: dict[int, None] = field(default_factory=dict)  # ascending, as they came out
    fruitless: int = 0

    @property
    def settled(self) -> int:
        """Up to here the application has taken everything."""
        return next(iter(self.untaken)) - 1 if self.untaken else self.last or 0

    @property
    def behind(self) -> bool:
        return bool(self.held) or (self.large and self.head > (self.last or 0))


class Order:
    def __init__(self, groups: Mapping[str, int], seqs: Mapping[str, int]) -> None:
        self._tracks: OrderedDict[str, Track] = OrderedDict()
        self._unfinished: dict[str, None] = {}
        self._begun: dict[str, None] = {}
        self._held = 0
        for conversation, seq in seqs.items():
            self._tracks[conversation] = Track(last=seq)
        for conversation, seq in groups.items():
            self._tracks[conversation] = Track(last=seq, large=True)

    def track(self, conversation: str) -> Track:
        found = self._tracks.get(conversation)
        if found is None:
            found = self._tracks[conversation] = Track()
            self._forget_old()
        else:
            self._tracks.move_to_end(conversation)
        return found

    def knows(self, conversation: str) -> bool:
        return conversation in self._tracks

    def reads_by_cursor(self, conversation: str) -> bool:
        found = self._tracks.get(conversation)
        return found is not None and found.large

    def last(self, conversation: str) -> int:
        """Up to here it came out; 0: nothing did."""
        found = self._tracks.get(conversation)
        return found.last or 0 if found is not None else 0

    def missing(self, conversation: str) -> int:
        """The highest seq, of what is read by cursor, that the server told of and that is not here."""
        track = self.track(conversation)
        missing = track.head
        while missing in track.held:
            missing -= 1
        return missing

    def drop(self, conversation: str) -> None:
        """The user has nothing to do with it any more."""
        found = self._tracks.pop(conversation, None)
        if found is not None:
            self._held -= found.counted
            self._unfinished.pop(conversation, None)
            self._begun.pop(conversation, None)

    def groups(self) -> dict[str, int]:
        """The cursors of what is read by cursor; the one that was quiet for the longest time first."""
        return {name: track.settled for name, track in self._tracks.items() if track.large and track.last is not None}

    def seqs(self) -> dict[str, int]:
        return {
            name: track.settled for name, track in self._tracks.items() if not track.large and track.last is not None
        }

    def offer(self, item: Item, user: str) -> Iterator[Item]:
        """One item came (in order of the inbox numbers, if it has one); out come those that are in order now.

        A repetition comes out too, without its message, so that its inbox number is settled.
        """
        track = self.track(item.conversation)
        if item.number == 0:
            track.large = True
            track.head = max(track.head, item.seq)
        yield from self._place(track, item, user)
        self._look(item.conversation, track)

    def _place(self, track: Track, item: Item, user: str) -> Iterator[Item]:
        if track.last is None:
            if item.number == 0 and item.seq > 1:
                _hold(track, item)
                return
            track.last = item.seq - 1
        if item.seq <= track.last:
            yield _repeated(item)
        elif item.seq == track.last + 1:
            yield from _advance(track, item)
        elif _admits(item.message, user):
            yield from _release(track, item.seq - 1)
            yield from _advance(track, item)
        elif item.seq in track.held:
            yield _repeated(item)
        else:
            _hold(track, item)

    def note_head(self, conversation: str, head: int) -> None:
        """A conversation that is read by cursor reaches up to here."""
        track = self.track(conversation)
        track.large = True
        track.head = max(track.head, head)
        self._look(conversation, track)

    def fill(self, conversation: str, items: list[Item], page: pb.Page) -> Iterator[Item]:
        """A page of history after `last` came: what it leaves out up to its `next` does not exist for this user.

        What it leaves out behind that may only not be readable yet: that is believed at the third time.
        """
        track = self.track(conversation)
        before = track.last
        for item in items:
            if track.last is None or item.seq > track.last + 1:
                yield from _release(track, item.seq - 1)
            if item.seq > (track.last or 0):
                yield from _advance(track, track.held.pop(item.seq, item))
        passed = min(page.next, page.head)
        if passed > (track.last or 0):
            yield from _release(track, passed)
        track.fruitless = track.fruitless + 1 if track.last == before else 0
        if not page.more and track.fruitless >= STUBBORN:
            yield from _release(track, page.head)
        self._look(conversation, track)

    def give_up(self, conversation: str) -> Iterator[Item]:
        """Nothing that is missing will come: what is held comes out, and reading goes on behind it."""
        track = self.track(conversation)
        yield from _release(track, max([track.head, *track.held]))
        self._look(conversation, track)

    def begin(self, conversation: str, last: int) -> Iterator[Item]:
        """It is known now from where on this device reads: behind `last`."""
        track = self.track(conversation)
        if track.last is None:
            track.last = last
            for place in sorted(place for place in track.held if place <= last):
                yield _repeated(track.held.pop(place))
            yield from _follow(track)
        self._look(conversation, track)

    def queued(self, conversation: str, seq: int) -> None:
        """What came out waits for the application."""
        self.track(conversation).untaken[seq] = None

    def took(self, conversation: str, seq: int) -> None:
        track = self._tracks.get(conversation)
        if track is not None:
            track.untaken.pop(seq, None)

    def unfinished(self) -> KeysView[str]:
        """Conversations that wait for something of the server; a view."""
        return self._unfinished.keys()

    def begun(self) -> list[str]:
        """Those that came to wait for something since this was asked the last time."""
        begun, self._begun = self._begun, {}
        return list(begun)

    def fruitless(self, conversation: str) -> int:
        """How many pages of its history in a row brought nothing."""
        found = self._tracks.get(conversation)
        return found.fruitless if found is not None else 0

    @property
    def held(self) -> int:
        """Messages that wait for one before them."""
        return self._held

    def _look(self, name: str, track: Track) -> None:
        self._held += len(track.held) - track.counted
        track.counted = len(track.held)
        if not track.behind:
            self._unfinished.pop(name, None)
        elif name not in self._unfinished:
            self._unfinished[name] = self._begun[name] = None

    def _forget_old(self) -> None:
        """A conversation that is quiet for the longest time loses only the fence against disorder, no message."""
        if len(self._tracks) <= TRACKS_MAX:
            return
        for name, track in self._tracks.items():
            if not (track.large or track.held or track.untaken):
                del self._tracks[name]
                return


def _hold(track: Track, item: Item) -> None:
    track.held.setdefault(item.seq, item)


def _advance(track: Track, item: Item) -> Iterator[Item]:
    track.last = item.seq
    yield item
    yield from _follow(track)


def _release(track: Track, seq: int) -> Iterator[Item]:
    for place in sorted(place for place in track.held if place <= seq):
        if place in track.held:  # it may have followed on the one before
            yield from _advance(track, track.held.pop(place))
    track.last = max(track.last or 0, seq)
    yield from _follow(track)


def _follow(track: Track) -> Iterator[Item]:
    while track.last is not None and (item := track.held.pop(track.last + 1, None)) is not None:
        track.last = item.seq
        yield item


def _repeated(item: Item) -> Item:
    return Item(item.conversation, item.seq, None, item.number)


def _admits(message: pb.Message | None, user: str) -> bool:
    if message is None or message.kind != pb.Message.SYSTEM or message.content.mime != MEMBERSHIP_MIME:
        return False
    membership = Message.from_proto(message).membership
    return membership is not None and membership.admits(user)
