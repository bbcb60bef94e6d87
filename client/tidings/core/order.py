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

from protos.tidings.v1 import client_pb2 as pb
from tidings.core.inbox import STUBBORN, Item
from tidings.model import MEMBERSHIP_MIME, Message

TRACKS_MAX = 10_000


@dataclass(slots=True)
class Track:
    """One conversation. `last` None: it is not known from where on this device reads it.

    `head`: the highest seq the server told of; only kept for those read by cursor (`large`).
    """

    last: int | None = None
    head: int = 0
    large: bool = False
    held: dict[int, Item] = field(default_factory=dict)
    untaken: int = 0
    taken: int = 0
    fruitless: int = 0

    @property
    def settled(self) -> int:
        """Up to here the application has taken everything."""
        return self.taken if self.untaken or self.last is None else self.last

    @property
    def behind(self) -> bool:
        return bool(self.held) or (self.large and self.head > (self.last or 0))


class Order:
    def __init__(self, groups: Mapping[str, int], seqs: Mapping[str, int]) -> None:
        self._tracks: OrderedDict[str, Track] = OrderedDict()
        self._unfinished: dict[str, None] = {}
        for conversation, seq in seqs.items():
            self._tracks[conversation] = Track(last=seq, taken=seq)
        for conversation, seq in groups.items():
            self._tracks[conversation] = Track(last=seq, taken=seq, large=True)

    def track(self, conversation: str) -> Track:
        found = self._tracks.get(conversation)
        if found is None:
            found = self._tracks[conversation] = Track()
            self._forget_old()
        else:
            self._tracks.move_to_end(conversation)
        return found

    def groups(self) -> dict[str, int]:
        """The cursors of what is read by cursor."""
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

    def fill(self, conversation: str, items: list[Item], head: int, more: bool) -> Iterator[Item]:
        """A page of history after `last` came: what it leaves out between two messages does not exist for this user.

        What it leaves out behind the last one may only not be readable yet: that is believed at the third time.
        """
        track = self.track(conversation)
        before = track.last
        for item in items:
            if track.last is None or item.seq > track.last + 1:
                yield from _release(track, item.seq - 1)
            if item.seq > (track.last or 0):
                yield from _advance(track, track.held.pop(item.seq, item))
        track.fruitless = track.fruitless + 1 if track.last == before else 0
        if not more and track.fruitless >= STUBBORN:
            yield from _release(track, head)
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
        track = self.track(conversation)
        if not track.untaken:
            track.taken = seq - 1
        track.untaken += 1

    def took(self, conversation: str, seq: int) -> None:
        track = self.track(conversation)
        track.untaken = max(0, track.untaken - 1)
        track.taken = max(track.taken, seq)

    def unfinished(self) -> KeysView[str]:
        """Conversations that wait for something of the server; a view."""
        return self._unfinished.keys()

    @property
    def held(self) -> int:
        """Messages that wait for one before them."""
        return sum(len(self._tracks[name].held) for name in self._unfinished)

    def _look(self, name: str, track: Track) -> None:
        if track.behind:
            self._unfinished[name] = None
        else:
            self._unfinished.pop(name, None)

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
