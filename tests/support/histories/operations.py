"""Histories of clients as operations on logs, for a checker that knows nothing of us (judge/main.go).

A conversation is one log. What a client did with it:

    append   a send, from when it left until its number came back. The tries of a message that got no answer are one
             append: from the first until it is seen first, by anybody, in any way. A message that nobody finds in the
             end and that was not acknowledged was never stored, which is allowed: it is no operation
    read     a message that somebody saw at a number, between its first posting and the first sighting
    whole    the whole conversation as somebody read it when all was over

Messages of the system, and entries that tell of reactions, are appended by the cluster itself, some time before they
are seen; to react is no append, nor is a change that was answered without a place. The idempotency key of an append is
(sender, client id): a repeat that is answered is an operation of its own, which has to give the first number.

A log only grows, so sightings later than the first say nothing more, and times end with the first evidence. That keeps
few operations open at any time: a search for an order takes two to the power of that.

Does not know: clocks. A time is any number that orders what happened.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from tests.support.histories.history import Acknowledged, Event, Posted, Read, Received, Stored

BEFORE_ALL = -1


class Operation(msgspec.Struct, frozen=True, rename={"returned": "return"}):
    """`call` and `returned` are times; `client`: who waited for it, one thing at a time or several."""

    history: str
    conversation: str
    kind: str
    call: int
    returned: int
    client: int = 0
    key: str = ""
    seq: int = 0
    entry: str = ""
    entries: tuple[str, ...] = ()


@dataclass(slots=True)
class _Log:
    """What is known of one conversation. Tries are named by connection and frame."""

    posted: dict[tuple[str, int], tuple[int, str]] = field(default_factory=dict)
    answered: dict[tuple[str, int], tuple[int, Acknowledged]] = field(default_factory=dict)
    first_posted: dict[str, int] = field(default_factory=dict)
    seen: dict[tuple[int, str, str], tuple[int, str, Stored]] = field(default_factory=dict)
    whole: list[tuple[int, str, tuple[Stored, ...]]] = field(default_factory=list)
    evidence: dict[str, int] = field(default_factory=dict)

    def post(self, at: int, event: Posted) -> None:
        if event.change is not None and event.change.reacted:
            return
        key = _key(event.user, event.client_id)
        self.posted[event.connection, event.frame] = at, key
        self.first_posted.setdefault(key, at)

    @property
    def final(self) -> dict[str, Stored]:
        """What is there in the end, by key; of a log that nobody read as a whole, what was seen of it."""
        if not self.whole:
            return {key: message for (_, _, key), (_, _, message) in self.seen.items()}
        return {_key_of(each): each for _, _, whole in self.whole for each in whole}

    def answer(self, at: int, event: Acknowledged) -> None:
        self.answered[event.connection, event.frame] = at, event
        self.evidence.setdefault(_key(event.user, event.client_id), at)

    def see(self, at: int, who: str, message: Stored) -> None:
        if message.is_stub:
            return
        key = _key_of(message)
        self.seen.setdefault((message.seq, message.message_id, key), (at, who, message))
        self.evidence.setdefault(key, at)

    def read(self, at: int, who: str, messages: tuple[Stored, ...]) -> None:
        self.whole.append((at, who, messages))
        for message in messages:
            self.evidence.setdefault(_key_of(message), at)


def operations(history: str, events: Iterable[tuple[int, Event]]) -> Iterator[Operation]:
    """The operations of one history, given as (time, event) in the order of the times."""
    logs: dict[str, _Log] = defaultdict(_Log)
    for at, event in events:
        match event:
            case Posted():
                logs[event.conversation].post(at, event)
            case Acknowledged():
                logs[event.conversation].answer(at, event)
            case Received():
                logs[event.message.conversation].see(at, f"{event.user}/{event.device}", event.message)
            case Read():
                logs[event.conversation].read(at, event.user, event.messages)
            case _:
                pass
    for conversation, log in logs.items():
        clients: dict[str, int] = {}
        for who, operation in (*_appends(log), *_reads(log)):
            client = clients.setdefault(who, len(clients))
            yield msgspec.structs.replace(operation, history=history, conversation=conversation, client=client)


def encoded(history: str, events: Iterable[tuple[int, Event]]) -> Iterator[bytes]:
    """A line for each operation."""
    encoder = msgspec.json.Encoder()
    for operation in operations(history, events):
        yield encoder.encode(operation) + b"\n"


def _appends(log: _Log) -> Iterator[tuple[str, Operation]]:
    final = log.final
    for sent, (call, key) in log.posted.items():
        if sent in log.answered:
            at, told = log.answered[sent]
            if not told.seq:
                continue
            yield sent[0], _append(call, at, key, told.seq, told.message_id)
    for sent, (call, key) in log.posted.items():
        if sent not in log.answered and key in final and log.first_posted[key] == call:
            yield sent[0], _append(call, max(call, log.evidence[key]), key, final[key].seq, final[key].message_id)
    for key, message in final.items():
        if message.act or _tells_of_reactions(message):
            yield "", _append(BEFORE_ALL, log.evidence[key], key, message.seq, message.message_id)


def _append(call: int, returned: int, key: str, seq: int, message_id: str) -> Operation:
    return Operation("", "", "append", call, returned, key=key, seq=seq, entry=_entry(message_id, key))


def _reads(log: _Log) -> Iterator[tuple[str, Operation]]:
    for (seq, message_id, key), (at, who, _) in log.seen.items():
        call = min(log.first_posted.get(key, BEFORE_ALL), at)
        yield who, Operation("", "", "read", call, at, seq=seq, entry=_entry(message_id, key))
    for at, who, messages in log.whole:
        entries = tuple(_entry(each.message_id, _key_of(each)) for each in messages)
        yield who, Operation("", "", "whole", at, at, entries=entries)


def _key(sender: str, client_id: str) -> str:
    return f"{sender} {client_id}"


def _key_of(message: Stored) -> str:
    """Of an entry that tells of reactions its own: it is nobody's, whoever it names."""
    if _tells_of_reactions(message):
        return _key("~reacted", str(message.seq))
    return _key(message.sender, message.client_id)


def _tells_of_reactions(message: Stored) -> bool:
    return message.change is not None and message.change.what == "reacted"


def _entry(message_id: str, key: str) -> str:
    return f"{message_id} {key}"
