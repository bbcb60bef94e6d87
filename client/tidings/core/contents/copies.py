"""The messages that this device has at hand, each as it is now by all that came. Pure.

Guarantees: whatever is lost, repeated or mixed up of what is read, and if changes come in the order of the log
(order.py), each once or more, a copy ends as the server's (fold.py). What has
expired by the server's time is told once, and shown without its content from then on.

Bounds: the latest `COPIES_MAX` messages and `BYTES_MAX` of contents; older ones are forgotten, and their changes then
come without the message.

Does not know: what the application was shown.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush

from tidings.core.contents.fold import folded, grown, newer, restated, tells
from tidings.model import SHOWN, Message, MessageChanged, Reacted, State
from tidings_protocol import client_pb2 as pb

COPIES_MAX = 1000
BYTES_MAX = 4 << 20

Place = tuple[str, int]  # conversation, seq


class Copies:
    def __init__(self) -> None:
        self.me = ""
        self._copies: OrderedDict[Place, Message] = OrderedDict()
        self._bytes = 0
        self._expiring: list[tuple[int, Place]] = []

    def get(self, conversation: str, seq: int) -> Message | None:
        return self._copies.get((conversation, seq))

    def read(self, told: pb.Message) -> None:
        """Takes in what the server says in a push or a page, if it is a message: that may come in any order."""
        if told.kind not in SHOWN:
            return
        message = Message.from_proto(told)
        place = (message.conversation, message.seq)
        known = self._copies.get(place)
        if known is None:
            if message.expires_ms and not message.recalled:
                heappush(self._expiring, (message.expires_ms, place))
            self._put(place, newer(message, message, self.me))
        else:
            self._put(place, newer(known, message, self.me))

    def change(self, told: pb.Message) -> None:
        """Takes in a change, in the order of its conversation: a later one does not have an earlier one's content."""
        change = MessageChanged.from_proto(told)
        known = self._copies.get((change.conversation, change.seq)) if change is not None else None
        if change is not None and known is not None:
            self._put((change.conversation, change.seq), folded(known, change, self.me))

    def restate(
        self, conversation: str, seq: int, state: State, added: Iterable[Reacted], removed: Iterable[Reacted]
    ) -> None:
        """Takes in the answer to a change of this client that has no place yet."""
        known = self._copies.get((conversation, seq))
        if known is not None:
            self._put((conversation, seq), restated(known, state, self.me, added=added, removed=removed))

    def grow(self, conversation: str, seq: int, part: int, text: str) -> bool:
        """Takes in a part of a stream; False: it is not the next one."""
        known = self._copies.get((conversation, seq))
        after = grown(known, part, text) if known is not None else None
        if after is None:
            return False
        self._put((conversation, seq), after)
        return True

    def hide(self, conversation: str, seqs: Iterable[int], through: int) -> None:
        """The user wants to see these no more."""
        gone = {(conversation, seq) for seq in seqs}
        if through:
            gone |= {place for place in self._copies if place[0] == conversation and place[1] <= through}
        for place in gone:
            self._drop(place)

    def shown(self, told: pb.Message, time_ms: int) -> Message:
        """A message as it is at this time, by all that came of it."""
        return (self.get(told.conversation, told.seq) or Message.from_proto(told)).at(time_ms)

    def changed(self, told: pb.Message, time_ms: int) -> MessageChanged | None:
        """What the application is told of a change; None: nothing, since what it made of its message comes otherwise.

        That is so for an edit without content: a later one has it, unless it is in the copy already.
        """
        change = MessageChanged.from_proto(told)
        if change is None:
            return None
        copy = self.get(change.conversation, change.seq)
        if not tells(copy, change) and (copy is None or copy.state.revision < change.change_seq):
            return None
        return change.with_message(copy.at(time_ms) if copy is not None else None)

    def next_expiry_ms(self) -> int | None:
        """When the next one expires, by the server's time."""
        return self._expiring[0][0] if self._expiring else None

    def expire(self, time_ms: int) -> Iterator[Message]:
        """Those whose time is over now, as they are shown from now on."""
        while self._expiring and self._expiring[0][0] <= time_ms:
            copy = self._copies.get(heappop(self._expiring)[1])
            if copy is not None and not copy.recalled:
                yield copy.at(time_ms)

    def clear(self) -> None:
        """The data are others."""
        self._copies.clear()
        self._expiring.clear()
        self._bytes = 0

    def _put(self, place: Place, message: Message) -> None:
        self._drop(place)
        self._copies[place] = message
        self._bytes += _weight(message)
        while len(self._copies) > COPIES_MAX or self._bytes > BYTES_MAX:
            self._drop(next(iter(self._copies)))
        if len(self._expiring) > 2 * COPIES_MAX:
            self._expiring = sorted(entry for entry in self._expiring if entry[1] in self._copies)

    def _drop(self, place: Place) -> None:
        gone = self._copies.pop(place, None)
        if gone is not None:
            self._bytes -= _weight(gone)


def _weight(message: Message) -> int:
    return len(message.text) + len(message.data)
