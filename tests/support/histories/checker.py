"""Checks the promises G1 to G5, and that of the events, from the histories of clients and other systems alone.

- G1  what was acknowledged is in the conversation, with the id, number and text that were acknowledged
- G2  an acknowledgement carries an id, a number, and a time
- G3  one (sender, conversation, client id) is one message: every acknowledgement says the same, it is stored once
- G4  numbers are dense, all readers see the same message at a number, a connection's sends are stored as sent
- EV  what was acknowledged, and every change of a group that was answered, was told as an event (docs/events.md)
- G5  every device of every member got every message; the inbox is dense, the same on all devices, without doubles
- G11 what a page shows is the fold of the log up to its head, for every reader; after a recall no content anywhere
- newest wins  a device on its only connection is never told that another one is newer (4501: stop)

Does not know: how the cluster works, what was done to it, or that there is one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from tests.support.histories.folding import Folded, fold
from tests.support.histories.history import (
    UNCHANGED,
    Acknowledged,
    Changed,
    Dismissed,
    History,
    Inbox,
    Member,
    Posted,
    Read,
    Received,
    State,
    Stored,
    Told,
)

Key = tuple[str, str, str]  # sender, conversation, client id


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept, with what shows it."""

    promise: str
    evidence: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.evidence}"


def check(history: History, *, hears_events: bool = False) -> list[Violation]:
    """Every violation; none: all that was promised was kept. `hears_events`: it has what other systems heard."""
    seen = _Seen(history)
    return [
        *_acknowledged_is_stored(seen),
        *_acknowledgements_are_complete(seen),
        *_one_message_for_one_client_id(seen),
        *_numbers_are_dense_and_the_same_for_all(seen),
        *_connections_keep_their_order(seen),
        *_everyone_got_everything(seen),
        *_inboxes_are_dense_and_the_same(seen),
        *_pages_are_the_fold_of_the_log(seen),
        *_reactions_are_a_set(seen),
        *(_other_systems_were_told(seen) if hears_events else ()),
        *(Violation("newest wins", f"{event} on its only connection") for event in seen.dismissed),
    ]


class _Seen:
    """The history sorted by what the checks ask for."""

    def __init__(self, history: History) -> None:
        self.posted = [event for event in history.events if isinstance(event, Posted)]
        self.acknowledged = [event for event in history.events if isinstance(event, Acknowledged) and event.seq]
        self.answered = {(event.connection, event.frame) for event in history.events if isinstance(event, Acknowledged)}
        self.received = [event for event in history.events if isinstance(event, Received)]
        self.reads = [event for event in history.events if isinstance(event, Read)]
        self.inboxes = [event for event in history.events if isinstance(event, Inbox)]
        self.dismissed = [event for event in history.events if isinstance(event, Dismissed)]
        self.members = [event for event in history.events if isinstance(event, Member)]
        self.changed = [event for event in history.events if isinstance(event, Changed)]
        self.told = [event for event in history.events if isinstance(event, Told)]
        self.stored: dict[str, dict[int, Stored]] = {
            read.conversation: {message.seq: message for message in read.messages} for read in self.reads
        }

    def sightings_at_the_end(self) -> Iterator[tuple[str, Stored]]:
        """Every entry that anybody saw in a page when all was over."""
        for read in self.reads:
            for message in read.messages:
                yield f"{read.user} reading", message
        for inbox in self.inboxes:
            for _, message in inbox.entries:
                yield f"{inbox.user}/{inbox.device} inbox", message

    def all_sightings(self) -> Iterator[tuple[str, Stored]]:
        """Every message that anybody saw anywhere, with who saw it."""
        for event in self.received:
            yield f"{event.user}/{event.device}", event.message
        yield from self.sightings_at_the_end()


def _acknowledged_is_stored(seen: _Seen) -> Iterator[Violation]:
    for ack in seen.acknowledged:
        found = seen.stored.get(ack.conversation, {}).get(ack.seq)
        if found is None:
            yield Violation("G1", f"{ack} was acknowledged and is gone")
        elif found.change is not None and found.change.what == "reacted":
            continue  # it tells of several users, by the name of one
        elif (found.message_id, found.sender, found.client_id) != (ack.message_id, ack.user, ack.client_id):
            yield Violation("G1", f"{ack} was acknowledged, but at its number there is {found}")


def _acknowledgements_are_complete(seen: _Seen) -> Iterator[Violation]:
    for ack in seen.acknowledged:
        if not ack.message_id or ack.seq < 1 or ack.time_ms <= 0:
            yield Violation("G2", f"{ack} lacks an id, a number or a time")


def _one_message_for_one_client_id(seen: _Seen) -> Iterator[Violation]:
    answers: dict[Key, set[tuple[int, str]]] = defaultdict(set)
    for ack in seen.acknowledged:
        answers[ack.user, ack.conversation, ack.client_id].add((ack.seq, ack.message_id))
    for key, given in answers.items():
        if len(given) > 1:
            yield Violation("G3", f"{key} was acknowledged as {sorted(given)}")
    for conversation, messages in seen.stored.items():
        places: dict[Key, list[int]] = defaultdict(list)
        for message in messages.values():
            if message.change is not None and message.change.what == "reacted":
                continue
            places[message.sender, conversation, message.client_id].append(message.seq)
        for key, seqs in places.items():
            if len(seqs) > 1:
                yield Violation("G3", f"{key} is stored more than once: {seqs}")


def _numbers_are_dense_and_the_same_for_all(seen: _Seen) -> Iterator[Violation]:
    for read in seen.reads:
        seqs = [message.seq for message in read.messages]
        if seqs != list(range(1, len(seqs) + 1)):
            yield Violation("G4", f"{read.conversation} as {read.user} reads it has the numbers {_ranges(seqs)}")
    at: dict[tuple[str, int], tuple[str, Stored]] = {}
    for who, message in seen.all_sightings():
        if message.is_stub:
            continue
        first = at.setdefault((message.conversation, message.seq), (who, message.identity))
        if first[1] != message.identity:
            yield Violation("G4", f"{first[0]} saw {first[1]}, {who} saw {message}")


def _connections_keep_their_order(seen: _Seen) -> Iterator[Violation]:
    """Among what a connection was told is stored just now, in the order in which it sent it."""
    told = {(ack.connection, ack.frame): ack.seq for ack in seen.acknowledged if not ack.duplicate}
    last: dict[tuple[str, str], tuple[int, str]] = {}
    for post in seen.posted:
        seq = told.get((post.connection, post.frame))
        if seq is None or (post.change is not None and post.change.reacted):
            continue  # what is gathered of reactions is announced later
        lane = post.connection, post.conversation
        before, client_id = last.get(lane, (0, ""))
        if seq < before:
            yield Violation("G4", f"{lane} sent {client_id} before {post.client_id}, stored as {before} and {seq}")
        last[lane] = seq, post.client_id


def _everyone_got_everything(seen: _Seen) -> Iterator[Violation]:
    got: dict[tuple[str, str], set[tuple[str, int]]] = defaultdict(set)
    for event in seen.received:
        got[event.user, event.device].add((event.message.conversation, event.message.seq))
    own = {(ack.user, ack.conversation, ack.seq) for ack in seen.acknowledged}
    for member in seen.members:
        for seq in seen.stored.get(member.conversation, {}):
            if seq < member.from_seq or (member.until_seq and seq > member.until_seq):
                continue
            for device in member.devices:
                mine = (member.user, member.conversation, seq) in own
                if not mine and (member.conversation, seq) not in got[member.user, device]:
                    yield Violation("G5", f"{member.user}/{device} never got {member.conversation} {seq}")


def _inboxes_are_dense_and_the_same(seen: _Seen) -> Iterator[Violation]:
    by_user: dict[str, Inbox] = {}
    for inbox in seen.inboxes:
        numbers = [number for number, _ in inbox.entries]
        if numbers != list(range(1, inbox.head + 1)):
            found = f"{_ranges(numbers)} up to {inbox.head}"
            yield Violation("G5", f"the inbox of {inbox.user} on {inbox.device} has the numbers {found}")
        places: dict[tuple[str, int], list[int]] = defaultdict(list)
        for number, message in inbox.entries:
            places[message.conversation, message.seq].append(number)
        for place, at in places.items():
            if len(at) > 1:
                yield Violation("G5", f"the inbox of {inbox.user} has {place} more than once, at {at}")
        first = by_user.setdefault(inbox.user, inbox)
        if first.entries != inbox.entries:
            yield Violation("G5", f"{inbox.user} has different inboxes on {first.device} and {inbox.device}")
    lasting = {user: dict(inbox.entries) for user, inbox in by_user.items()}
    for event in seen.received:
        whole = by_user.get(event.user)
        if whole and event.number and not _is_same(event.message, lasting[event.user].get(event.number)):
            yield Violation("G5", f"{event} is not in the inbox that {event.user} has in the end")


def _is_same(one: Stored, other: Stored | None) -> bool:
    """Whether these are one entry. Of a stub only the place is known; what was one may be read later."""
    if other is None or (one.conversation, one.seq) != (other.conversation, other.seq):
        return False
    return one.is_stub or other.is_stub or one.identity == other.identity


def _pages_are_the_fold_of_the_log(seen: _Seen) -> Iterator[Violation]:
    texts: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
    for post in seen.posted:
        text = post.change.text if post.change is not None else post.text
        if text:
            texts[post.conversation][post.user, post.client_id] = text
    logs = {key: [entries[seq] for seq in sorted(entries)] for key, entries in seen.stored.items()}
    folded = {key: fold(log, texts[key]) for key, log in logs.items()}
    for who, message in seen.sightings_at_the_end():
        yield from _is_the_fold(who, message, folded.get(message.conversation, {}))
    for message in dict.fromkeys(event.message for event in seen.received):
        if message.change is None:
            yield from _is_what_was_sent(message, folded.get(message.conversation, {}))
        if message.change is None or message.conversation not in logs or not message.state.revision:
            continue
        then = fold(logs[message.conversation], texts[message.conversation], upto=message.state.revision)
        target = then.get(message.change.target)
        if target is not None and target.state != replace(message.state, reactions=()):
            yield Violation("G11", f"{message} came, but by the log it was {target.state} then")


def _is_the_fold(who: str, message: Stored, folded: Mapping[int, Folded]) -> Iterator[Violation]:
    """Whether a page at the end shows of this entry what the whole log makes of it."""
    target = folded.get(message.change.target if message.change is not None else message.seq)
    if target is None:
        return
    if replace(message.state, reactions=()) != target.state:
        yield Violation("G11", f"{who} sees {message}, by the log it is {target.state}")
    if message.change is None:
        if target.body is None and not target.edit:
            target.body = message.body  # nobody knows what was sent: then all see what the first one sees
        if target.body is not None and message.body != target.body:
            yield Violation("G11", f"{who} sees {message}, by the log its text is {target.body!r}")
    elif message.body and (message.seq != target.edit or message.body != target.body):
        yield Violation("G11", f"{who} sees {message}, whose text is gone by the log")


def _reactions_are_a_set(seen: _Seen) -> Iterator[Violation]:
    """All see the same; whoever reacted, and was told so, and never took it back is in it; nobody is in it twice, or
    without having reacted.
    """
    posted: dict[tuple[str, int, str], dict[str, set[bool]]] = defaultdict(lambda: defaultdict(set))
    sure: dict[tuple[str, int, str], set[str]] = defaultdict(set)
    for post in seen.posted:
        if post.change is not None:
            for user, reaction, comes in post.change.reacted:
                key = post.conversation, post.change.target, reaction
                posted[key][user].add(comes)
                if (post.connection, post.frame) in seen.answered:
                    sure[key].add(user)
    there: dict[tuple[str, int], tuple[str, State]] = {}
    for who, message in seen.sightings_at_the_end():
        place = message.conversation, message.change.target if message.change is not None else message.seq
        first = there.setdefault(place, (who, message.state))
        if first[1].reactions != message.state.reactions:
            yield Violation("G11", f"{first[0]} sees {first[1]} at {place}, {who} sees {message.state}")
    for (conversation, seq, reaction), users in posted.items():
        _, state = there.get((conversation, seq), ("", UNCHANGED))
        if state.recalled_by or (conversation, seq) not in there:
            continue
        count, first_users = {each: (count, first) for each, count, first in state.reactions}.get(reaction, (0, ()))
        gave = {user for user, acts in users.items() if True in acts}
        stayed = {user for user, acts in users.items() if acts == {True} and user in sure[conversation, seq, reaction]}
        if not len(stayed) <= count <= len(gave) or not gave.issuperset(first_users):
            yield Violation("G11", f"{reaction} of {conversation} {seq} is {state}; {gave} reacted, {stayed} for good")


def _is_what_was_sent(message: Stored, folded: Mapping[int, Folded]) -> Iterator[Violation]:
    """Whether a message that came live before anything had changed it, and that nothing has changed, is what it was."""
    target = folded.get(message.seq)
    if target is None or target.body is None or target.edit or target.state.recalled_by:
        return
    if message.state.recalled_by or message.body != target.body:
        yield Violation("G11", f"{message} came, but its text is {target.body!r}")


def untold(history: History) -> list[Violation]:
    """What was acknowledged until now and is not on the stream of events."""
    seen = _Seen(history)
    told = set(seen.told)
    return [
        Violation("EV", f"no event tells of {ack}")
        for ack in seen.acknowledged
        if Told(ack.conversation, seq=ack.seq) not in told
    ]


def _other_systems_were_told(seen: _Seen) -> Iterator[Violation]:
    """Messages at least once each, first in the order of seq; changes as often as they were answered."""
    told = Counter(seen.told)
    for ack in seen.acknowledged:
        if not told[Told(ack.conversation, seq=ack.seq)]:
            yield Violation("EV", f"no event tells of {ack}")
    for conversation, messages in seen.stored.items():
        for seq in messages:
            if not told[Told(conversation, seq=seq)]:
                yield Violation("EV", f"no event tells of {messages[seq]}")
    heads: dict[str, int] = {}
    for event in dict.fromkeys(each for each in seen.told if each.seq):
        if event.seq < heads.get(event.conversation, 0):
            yield Violation("EV", f"{event} came only after {heads[event.conversation]}")
        heads[event.conversation] = max(heads.get(event.conversation, 0), event.seq)
    answered = Counter(Told(each.conversation, act=each.act, by=each.by, users=each.users) for each in seen.changed)
    for change, count in answered.items():
        if told[change] < count:
            yield Violation("EV", f"{change} was answered {count} times and told {told[change]} times")


def _ranges(numbers: list[int]) -> str:
    """1-3 5 7-9, so that a violation fits on a line."""
    parts: list[str] = []
    start = previous = None
    for number in [*numbers, None]:
        if start is None or previous is None:
            start = previous = number
        elif number == previous + 1:
            previous = number
        else:
            parts.append(f"{start}" if start == previous else f"{start}-{previous}")
            start = previous = number
    return " ".join(parts) or "none"
