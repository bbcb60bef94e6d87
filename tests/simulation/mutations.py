"""Deliberate defects: each breaks one thing that a promise rests on, and the simulation has to find it.

They are made at the ports, or at the one place that holds a rule, so that they stay what they are when the services
change. A simulation that misses one of them proves nothing when it is green.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from services.storage.events.queue import FeedQueue
from services.storage.folding.judge import Actor, Place, Verdict
from services.storage.inboxes.writer import InboxWriter
from services.storage.memory.conversation import CachedConversation
from services.storage.messages import acts
from services.storage.messages.plain_turn import PlainTurn
from services.storage.reactions.tally import Tally
from services.storage.repository.contract import Conflict, Inserted
from services.storage.repository.memory import log
from services.storage.repository.memory import messages as memory
from services.storage.repository.records import Fold, InboxEntry, Span, StoredMessage
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError, Unavailable

WRITE_BEHIND_S = 0.2


def acknowledge_before_the_write() -> Iterator[None]:
    """The database says "done" at once and writes a little later: what dies in between is lost."""
    insert = log.LogPort._insert

    async def insert_later(
        port: log.LogPort, name: str, messages: Sequence[StoredMessage], entries: Sequence[InboxEntry]
    ) -> Inserted:
        if not messages:
            return await insert(port, name, messages, entries)
        await port._faults.before(name)
        faults = port._faults

        async def write() -> None:
            await asyncio.sleep(WRITE_BEHIND_S)
            if not faults.away:  # the node is alive
                try:
                    await insert(port, name, messages, entries)
                except Unavailable:
                    return

        task = asyncio.ensure_future(write())
        _kept.add(task)
        task.add_done_callback(_kept.discard)
        return Inserted(len(messages) + len(entries))

    log.LogPort._insert = insert_later  # type: ignore[method-assign,assignment]
    yield
    log.LogPort._insert = insert  # type: ignore[method-assign]


def no_unique_client_id() -> Iterator[None]:
    """Without the unique index on (conversation, sender, client id), and what is found by it."""
    conflict, find = log.LogPort._conflict, memory.MemoryMessages.find

    def number_only(port: log.LogPort, message: StoredMessage) -> Conflict | None:
        return Conflict.NUMBER if message.seq in port._data.messages[message.conversation] else None

    async def find_nothing(port: memory.MemoryMessages, keys: object) -> dict[object, StoredMessage]:
        await port._faults.before("messages.find")
        return {}

    log.LogPort._conflict = number_only  # type: ignore[method-assign,assignment]
    memory.MemoryMessages.find = find_nothing  # type: ignore[method-assign,assignment]
    yield
    log.LogPort._conflict = conflict  # type: ignore[method-assign]
    memory.MemoryMessages.find = find  # type: ignore[method-assign]


def no_unique_number() -> Iterator[None]:
    """Without the unique index on (conversation, seq): of two writers the later one wins."""
    conflict = log.LogPort._conflict

    def client_only(port: log.LogPort, message: StoredMessage) -> Conflict | None:
        return Conflict.CLIENT if log.client_of(message) in port._data.clients else None

    log.LogPort._conflict = client_only  # type: ignore[method-assign,assignment]
    yield
    log.LogPort._conflict = conflict  # type: ignore[method-assign]


def no_unique_inbox_number() -> Iterator[None]:
    """Without the unique index on (user, number): of two writers the later one wins."""
    conflict = log.LogPort._entry_conflict
    log.LogPort._entry_conflict = lambda port, entry: None  # type: ignore[method-assign,assignment]
    yield
    log.LogPort._entry_conflict = conflict  # type: ignore[method-assign]


def append_without_looking() -> Iterator[None]:
    """An append that is repeated, since its outcome was unknown, does not look for what the first try left."""
    search = memory.MemoryInboxes.search

    async def find_nothing(port: memory.MemoryInboxes, wanted: Sequence[object]) -> list[dict[tuple[str, int], int]]:
        await port._faults.before("inbox.search")
        return [{} for _ in wanted]

    memory.MemoryInboxes.search = find_nothing  # type: ignore[method-assign,assignment]
    yield
    memory.MemoryInboxes.search = search  # type: ignore[method-assign]


def pages_that_skip() -> Iterator[None]:
    """A page of an inbox begins one entry too late behind its cursor."""
    pages = memory.MemoryInboxes.pages

    async def later(port: memory.MemoryInboxes, spans: Sequence[Span]) -> list[list[InboxEntry]]:
        return [page[1:] if span.after else page for span, page in zip(spans, await pages(port, spans), strict=True)]

    memory.MemoryInboxes.pages = later  # type: ignore[method-assign,assignment]
    yield
    memory.MemoryInboxes.pages = pages  # type: ignore[method-assign]


def far_entries_that_fail_are_done() -> Iterator[None]:
    """A plain row of which another node did not append an entry counts as stored, and its conversation as settled."""
    numbers_of = PlainTurn._numbers_of

    async def done_anyhow(turn: PlainTurn, far: list[tuple[int, int]]) -> Sequence[int | TidingsError]:
        return [0 if isinstance(number, TidingsError) else number for number in await numbers_of(turn, far)]

    PlainTurn._numbers_of = done_anyhow  # type: ignore[method-assign,assignment]
    yield
    PlainTurn._numbers_of = numbers_of  # type: ignore[method-assign]


def forget_what_is_told() -> Iterator[None]:
    """Who loads a conversation believes that all that is in its log was told."""
    loaded = FeedQueue.loaded

    def all_is_told(queue: FeedQueue, conversations: Iterable[CachedConversation]) -> None:
        for conversation in conversations:
            conversation.told = conversation.fed = conversation.head
            conversation.told_stamp = conversation.fed_stamp = conversation.document.stamp

    FeedQueue.loaded = all_is_told  # type: ignore[method-assign,assignment]
    yield
    FeedQueue.loaded = loaded  # type: ignore[method-assign]


class NoLock(asyncio.Lock):
    """Everybody has it at once."""

    async def acquire(self) -> Literal[True]:
        return True

    def release(self) -> None:
        return


def plain_rows_beside_the_lanes() -> Iterator[None]:
    """A plain turn and a lane of inboxes number the same inboxes at the same time."""
    init = InboxWriter.__init__

    def without(writer: InboxWriter, *arguments: Any, **options: Any) -> None:
        init(writer, *arguments, **options)
        writer.numbering = NoLock()

    InboxWriter.__init__ = without  # type: ignore[method-assign,assignment]
    yield
    InboxWriter.__init__ = init  # type: ignore[method-assign]


def an_unknown_outcome_of_plain_rows_is_done() -> Iterator[None]:
    """A plain insert of which nobody knows whether it was done counts as done."""
    insert = log.MemoryLog.insert

    async def done_anyhow(
        port: log.MemoryLog, messages: Sequence[StoredMessage], entries: Sequence[InboxEntry]
    ) -> Inserted:
        try:
            return await insert(port, messages, entries)
        except Unavailable:
            return Inserted(len(messages) + len(entries))

    log.MemoryLog.insert = done_anyhow  # type: ignore[method-assign,assignment]
    yield
    log.MemoryLog.insert = insert  # type: ignore[method-assign]


def a_fold_loses_edits() -> Iterator[None]:
    """Some of the contents that edits bring do not come to their messages."""
    fold = memory.MemoryMessages.fold

    async def lossy(port: memory.MemoryMessages, folds: Sequence[Fold]) -> None:
        await fold(port, [each._replace(content=None) if each.revision % 3 == 0 else each for each in folds])

    memory.MemoryMessages.fold = lossy  # type: ignore[method-assign,assignment]
    yield
    memory.MemoryMessages.fold = fold  # type: ignore[method-assign]


def an_edit_undoes_a_recall() -> Iterator[None]:
    """An edit that was asked for before a recall, and comes after it, is judged as if there had been none."""
    judge = acts.judge  # type: ignore[attr-defined]

    def blind(
        act: client_pb2.Change, actor: Actor, target: StoredMessage | None, place: Place, now_ms: int
    ) -> Verdict | TidingsError:
        if target is not None and act.HasField("edit"):
            target = target._replace(state=b"")
        return judge(act, actor, target, place, now_ms)

    acts.judge = blind  # type: ignore[attr-defined]
    yield
    acts.judge = judge  # type: ignore[attr-defined]


def a_reaction_counts_twice() -> Iterator[None]:
    """Who reacts is counted as two."""
    add = Tally.add

    def twice(tally: Tally, user: str, reaction: str, now_us: int) -> tuple[int, int]:
        add(tally, user, reaction, now_us)
        return add(tally, user, reaction, now_us)

    Tally.add = twice  # type: ignore[method-assign,assignment]
    yield
    Tally.add = add  # type: ignore[method-assign]


_kept: set[asyncio.Future[None]] = set()
MUTATIONS: dict[str, Callable[[], Iterator[None]]] = {
    mutation.__name__: mutation
    for mutation in (
        acknowledge_before_the_write,
        no_unique_client_id,
        no_unique_number,
        no_unique_inbox_number,
        append_without_looking,
        pages_that_skip,
        far_entries_that_fail_are_done,
        plain_rows_beside_the_lanes,
        an_unknown_outcome_of_plain_rows_is_done,
        forget_what_is_told,
        a_fold_loses_edits,
        an_edit_undoes_a_recall,
        a_reaction_counts_twice,
    )
}


@contextmanager
def applied(name: str) -> Iterator[None]:
    """Runs what is within with this defect; "" is none."""
    if not name:
        yield
        return
    if name not in MUTATIONS:
        raise SystemExit(f"there is no mutation {name!r}; there are {', '.join(MUTATIONS)}")
    with contextmanager(MUTATIONS[name])():
        yield
