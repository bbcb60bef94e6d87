"""Judges a run by its histories alone: what was lost, doubled, out of order or missing, and how long anyone waited.

What is stored is checked by the checker that the simulation uses (G1 to G5, G11). What is added here is what the client
library promises to its application: each message and each change of one shown once, each conversation in order, nothing
missing in the end, and each message as it was shown and changed is what a page says of it. A change may be refused if
what others did, or a limit, is a reason for it.

Does not know: what was done to the cluster, or that there is one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from tests.support.histories import history, record
from tests.support.histories.checker import check
from tests.support.histories.due import due
from tests.support.histories.record import Event

# What a broken promise of the simulation's checker counts as here.
KINDS = {
    "G1": "lost",
    "G2": "disagreeing",
    "G3": "disagreeing",
    "G4": "misnumbered",
    "G5": "misnumbered",
    "G11": "disagreeing",
}
# Limits of changes: acts of one user on one message in an hour, pins in a conversation.
REACTS_MAX, PINS_MAX = 40, 50
COUNTS = ("lost", "duplicated", "disordered", "missing", "disagreeing", "misnumbered", "ended")


@dataclass(frozen=True, slots=True)
class Finding:
    """A promise that was not kept, with what shows it."""

    kind: str
    evidence: str


@dataclass(slots=True)
class Verdict:
    """`given_up`: sends without an outcome, which is allowed (their number says how hard the case was).

    `changes`: how many of what was posted are changes; `refused`: how many of these were, for whatever reason.
    """

    posted: int = 0
    changes: int = 0
    refused: int = 0
    acknowledged: int = 0
    given_up: int = 0
    shown: int = 0
    sender_pause_s: float = 0.0
    receiver_pause_s: float = 0.0
    findings: list[Finding] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """All must be 0."""
        found = Counter(finding.kind for finding in self.findings)
        return {kind: found[kind] for kind in COUNTS}

    @property
    def clean(self) -> bool:
        return not self.findings


def judge(events: Sequence[Event]) -> Verdict:
    """The verdict on one run, whose last events are what readers found when all was over."""
    verdict = Verdict(
        posted=sum(isinstance(event, record.Posted) for event in events),
        changes=sum(isinstance(event, record.Posted) and event.change is not None for event in events),
        refused=sum(isinstance(event, record.Refused) for event in events),
        acknowledged=sum(isinstance(event, record.Acknowledged) for event in events),
        given_up=sum(isinstance(event, record.GaveUp) for event in events),
        shown=sum(isinstance(event, record.Shown) for event in events),
        sender_pause_s=_sender_pause_s(events),
        receiver_pause_s=_receiver_pause_s(events),
    )
    for violation in check(_as_history(events)):
        verdict.findings.append(Finding(KINDS[violation.promise], str(violation)))
    verdict.findings += [*_shown_well(events), *_all_shown(events), *_ended(events)]
    verdict.findings += [*_kept_as_they_are(events), *_refused_with_reason(events)]
    return verdict


@dataclass(frozen=True, slots=True)
class Latency:
    """The latency of what was posted within a window of time, in seconds."""

    posted: int
    acknowledged_p50_s: float
    acknowledged_p99_s: float
    shown_p50_s: float
    shown_p99_s: float


def latency(events: Iterable[Event], since: float, until: float) -> Latency:
    """How long acknowledgements took, and messages to the devices that were shown them, without the time that these
    were away on purpose."""
    posted: dict[tuple[str, str], float] = {}
    back: dict[tuple[str, str], float] = {}
    acknowledged: list[float] = []
    shown: list[float] = []
    for event in events:
        match event:
            case record.Posted(at, user, _, _, _, client_id) if since <= at < until:
                posted[user, client_id] = at
            case record.Acknowledged() if (event.user, event.client_id) in posted:
                acknowledged.append(event.at - posted[event.user, event.client_id])
            case record.Back():
                back[event.user, event.device] = event.at
            case record.Shown(at, user, device, message) if (message.sender, message.client_id) in posted:
                sent = posted[message.sender, message.client_id]
                shown.append(at - max(sent, back.get((user, device), sent)))
            case _:
                pass
    return Latency(
        len(posted),
        _quantile(acknowledged, 0.5),
        _quantile(acknowledged, 0.99),
        _quantile(shown, 0.5),
        _quantile(shown, 0.99),
    )


def _quantile(values: list[float], share: float) -> float:
    return round(sorted(values)[int(share * (len(values) - 1))], 4) if values else 0.0


def _shown_well(events: Iterable[Event]) -> Iterator[Finding]:
    """Each message once, each conversation with ascending numbers."""
    last: dict[tuple[str, str, str], int] = {}
    seen: set[tuple[str, str, str]] = set()
    for event in events:
        if not isinstance(event, record.Shown):
            continue
        message = event.message
        who = f"{event.user}/{event.device}"
        what = f"{message.conversation} {message.seq} ({message.message_id})"
        if (event.user, event.device, message.message_id) in seen:
            yield Finding("duplicated", f"{who} was shown {what} again")
            continue
        seen.add((event.user, event.device, message.message_id))
        place = event.user, event.device, message.conversation
        if message.seq <= last.get(place, 0):
            yield Finding("disordered", f"{who} was shown {what} after {last[place]}")
        last[place] = max(message.seq, last.get(place, 0))


class _Told:
    """What was shown to each device and posted by each, when, and what is stored in the end."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.shown: dict[tuple[str, str], set[tuple[str, int]]] = defaultdict(set)
        self.own: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.posted_at: dict[tuple[str, str], float] = {}
        self.stored: dict[str, tuple[record.Stored, ...]] = {}
        for event in events:
            match event:
                case record.Shown():
                    self.shown[event.user, event.device].add((event.message.conversation, event.message.seq))
                case record.Posted():
                    self.own[event.user, event.device].add(event.client_id)
                    self.posted_at[event.user, event.client_id] = event.at
                case record.Read():
                    self.stored[event.conversation] = event.messages
                case _:
                    pass

    def missing(self, member: record.Member, device: str) -> Iterator[record.Stored]:
        """What this device misses of what is for it. Of a change that is so if its message is."""
        shown, own = self.shown[member.user, device], self.own[member.user, device]
        log = self.stored[member.conversation]
        posted_at = {each.seq: self.posted_at.get((each.sender, each.client_id), 0.0) for each in log}
        for message in due(log):
            if message.change is None and message.sender == member.user and message.client_id in own:
                continue
            of = message.seq if message.change is None else message.change.target
            if member.since and posted_at.get(of, 0.0) <= member.since:
                continue
            if (message.conversation, message.seq) not in shown:
                yield message


def _all_shown(events: Sequence[Event]) -> Iterator[Finding]:
    """Every device got every message of its conversations but those that it sent itself."""
    told = _Told(events)
    for member in events:
        if not isinstance(member, record.Member):
            continue
        if member.conversation not in told.stored:
            yield Finding("missing", f"nobody could read {member.conversation} in the end")
            continue
        for device in member.devices:
            for message in told.missing(member, device):
                what = f"{message.conversation} {message.seq}"
                yield Finding("missing", f"{member.user}/{device} was never shown {what}")


def _kept_as_they_are(events: Iterable[Event]) -> Iterator[Finding]:
    """What an application has of a message is what a page says of it."""
    pages: dict[tuple[str, int], record.Stored] = {}
    kept: list[record.Kept] = []
    for event in events:
        if isinstance(event, record.Read):
            pages |= {(each.conversation, each.seq): each for each in event.messages}
        elif isinstance(event, record.Kept):
            kept.append(event)
    for copy in kept:
        for message in copy.messages:
            page = pages.get((message.conversation, message.seq))
            if page is not None and (page.body, page.state) != (message.body, message.state):
                yield Finding("disagreeing", f"{copy.user}/{copy.device} has {message}, a page says {page}")


def _refused_with_reason(events: Sequence[Event]) -> Iterator[Finding]:
    """A change may be refused if its message was recalled, or if there were too many; what was shown can be found."""
    posted = {(each.user, each.client_id): each for each in events if isinstance(each, record.Posted)}
    recalled: set[tuple[str, int]] = set()
    pins: Counter[str] = Counter()
    for event in events:
        if isinstance(event, record.Read):
            changes = [each for each in event.messages if each.change is not None]
            recalled |= {(event.conversation, each.change.target) for each in changes if each.change.what == "recall"}
            pins[event.conversation] = sum(each.change.what == "pin" for each in changes)
    acts = Counter(
        (each.user, each.conversation, each.change.target)
        for each in posted.values()
        if each.change is not None and each.change.what in ("react", "unreact")
    )
    for event in events:
        if not isinstance(event, record.Refused):
            continue
        post = posted[event.user, event.client_id]
        what, target = (post.change.what, post.change.target) if post.change is not None else ("send", 0)
        gone = event.code == "FORBIDDEN" and what != "recall" and (post.conversation, target) in recalled
        often = what in ("react", "unreact") and acts[post.user, post.conversation, target] >= REACTS_MAX
        full = what == "pin" and pins[post.conversation] >= PINS_MAX
        if not gone and not (event.code == "BAD_REQUEST" and (often or full)):
            yield Finding("disagreeing", f"{post} was refused without a reason: {event.code}")


def _ended(events: Iterable[Event]) -> Iterator[Finding]:
    for event in events:
        if isinstance(event, record.Ended):
            yield Finding("ended", f"the session of {event.user}/{event.device} was ended: {event.reason}")


def _sender_pause_s(events: Iterable[Event]) -> float:
    """The longest that a sender waited for an acknowledgement."""
    posted: dict[tuple[str, str], float] = {}
    longest = 0.0
    for event in events:
        if isinstance(event, record.Posted):
            posted[event.user, event.client_id] = event.at
        elif isinstance(event, record.Acknowledged):
            longest = max(longest, event.at - posted[event.user, event.client_id])
    return longest


def _receiver_pause_s(events: Iterable[Event]) -> float:
    """The longest that a message was on its way to a device, not counting the time that it was away on purpose."""
    posted: dict[tuple[str, str], float] = {}
    back: dict[tuple[str, str], float] = {}
    longest = 0.0
    for event in events:
        match event:
            case record.Posted():
                posted[event.user, event.client_id] = event.at
            case record.Back():
                back[event.user, event.device] = event.at
            case record.Shown() if not event.message.system:
                sent = posted.get((event.message.sender, event.message.client_id), event.at)
                since = max(sent, back.get((event.user, event.device), sent))
                longest = max(longest, event.at - since)
            case _:
                pass
    return longest


def translated(events: Iterable[Event]) -> Iterator[tuple[int, history.Event]]:
    """The same in the words of the simulation, with times in nanoseconds, in their order; what readers found in the end
    comes last. A device counts as one connection: the client keeps its sends' order over connections, retries included.
    """
    timed: list[tuple[int, Event]] = []
    found: list[Event] = []
    for event in events:
        if isinstance(event, record.Member | record.Read | record.Inbox):
            found.append(event)
        else:
            timed.append((round(event.at * 1e9), event))
    timed.sort(key=lambda pair: pair[0])
    end = timed[-1][0] + 1 if timed else 0
    for at, event in [*timed, *((end, event) for event in found)]:
        if (told := _translated(event)) is not None:
            yield at, told


def _as_history(events: Iterable[Event]) -> history.History:
    return history.History([told for event in events if (told := _translated(event)) is not None])


def _translated(event: Event) -> history.Event | None:
    match event:
        case record.Posted(_, user, device, order, conversation, client_id, text, change):
            told = None if change is None else _asked(change, user, text)
            text = "" if change is not None else text
            return history.Posted(f"{user}/{device}", order, user, conversation, client_id, text, told)
        case record.Acknowledged():
            return history.Acknowledged(
                connection=f"{event.user}/{event.device}",
                frame=event.order,
                user=event.user,
                conversation=event.conversation,
                client_id=event.client_id,
                seq=event.seq,
                message_id=event.message_id,
                time_ms=event.time_ms,
                duplicate=False,
            )
        case record.Shown(_, user, device, message):
            return history.Received(user, device, 0, _stored(message))
        case record.Read(user, conversation, messages):
            return history.Read(user, conversation, tuple(map(_stored, messages)))
        case record.Inbox(user, device, head, entries):
            inbox = tuple((number, _stored(message)) for number, message in entries)
            return history.Inbox(user, device, head, inbox)
        case _:
            return None


def _asked(change: record.Change, user: str, text: str) -> history.Change:
    """A change as it was asked for."""
    reacted = ((user, change.reaction, change.what == "react"),) if change.reaction else ()
    return replace(_change(change), text=text, reacted=reacted)


def _change(change: record.Change) -> history.Change:
    """A change as an entry tells it. Of reactions, who is named differs: who reacted is told what they did themselves,
    the others all that was gathered.
    """
    what = "pin" if change.what == "unpin" else change.what
    return history.Change(what, change.target, pinned=change.what == "pin")


def _stored(message: record.Stored) -> history.Stored:
    reacted = message.change is not None and message.change.what == "reacted"
    state = message.state
    return history.Stored(
        message.conversation,
        message.seq,
        message.message_id,
        "" if reacted else message.sender,
        "" if reacted else message.client_id,
        message.body,
        "system" if message.system else "",
        None if message.change is None else _change(message.change),
        history.State(state.revision, state.is_edited, state.recalled_by, state.is_pinned, state.reactions),
    )
