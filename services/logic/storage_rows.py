"""Messages to store, as columns: a part for each owner of their conversations, and the answers put together again.

Guarantees: the rows of one owner keep their order, in calls that carry them, one after the other; the owners are asked
at the same time. What storage says of a row stands at its place in the whole. A call that fails is the error of its
rows, and of no others. Nothing is made by halves here: the caller has another way for what fails by itself.

Does not know: what the rows mean, how an owner is reached.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import NamedTuple, TypeVar

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.lanes.dividing import PORTION_BYTES_MAX, SURELY_FIT, portions
from services.common.rpc.spread import spread_by_slot
from tidings_protocol.errors import Internal, TidingsError
from tidings_protocol.ids import slot_of

V = TypeVar("V")
# What a row takes besides its content and its recipients: the longest ids, and room for numbers.
_ROW_BYTES = 512
_RECIPIENT_BYTES = 68

# Asks the owner of a slot.
Ask = Callable[[int, pb.StoreColumns], Awaitable[pb.StoredColumns]]


class RowsToStore(NamedTuple):
    """Messages as lists that are aligned. `recipients`: of all rows, one after the other, `recipient_counts` of each.

    `versions`, `reply_tos` and `traces` are empty if there is nothing to say of any row.
    """

    conversations: Sequence[str]
    senders: Sequence[str]
    client_ids: Sequence[str]
    contents: Sequence[bytes]
    recipient_counts: Sequence[int]
    recipients: Sequence[str]
    versions: Sequence[int] = ()
    reply_tos: Sequence[int] = ()
    traces: Sequence[str] = ()

    def encoded(self) -> pb.StoreColumns:
        """The columns as storage takes them; all rows are NORMAL."""
        return pb.StoreColumns(
            conversations=self.conversations,
            senders=self.senders,
            client_ids=self.client_ids,
            contents=self.contents,
            versions=self.versions,
            recipient_counts=self.recipient_counts,
            recipients=self.recipients,
            reply_tos=self.reply_tos,
            traces=self.traces,
        )


@dataclass(slots=True)
class StoredRows:
    """What became of rows: lists aligned with them, `numbers` with their recipients; 0 where a row is `unusual`.

    `ordinals`: empty if each is the seq. `read_over`: the places of rows by which their sender has read what was
    unread. `unusual`, by place: what is not simply stored, as storage says, or the error of its call.
    """

    seqs: list[int]
    times_ms: list[int]
    numbers: list[int]
    read_over: list[int] = field(default_factory=list)
    unusual: dict[int, pb.StoreOutcome | TidingsError] = field(default_factory=dict)
    ordinals: list[int] = field(default_factory=list)


async def store_rows(
    rows: RowsToStore, owner_of_slot: Callable[[int], str | None], ask: Ask, count_max: int
) -> StoredRows:
    """Asks each owner. `count_max`: the most rows of one call. Raises no TidingsError: errors are outcomes."""
    slots = list(map(slot_of, rows.conversations))
    starts = [0, *accumulate(rows.recipient_counts)]
    whole = _nothing(rows)

    async def ask_owner(_: str | None, slot: int, places: list[int]) -> list[int]:
        nonlocal whole
        if len(places) == len(slots) and _fits(rows, count_max):
            whole = await _ask(ask, slot, rows)
            return places
        for run in portions(places, count_max, size_of=partial(_size, rows)):
            _put(whole, await _ask(ask, slot, _part(rows, run, starts)), run, starts)
        return places

    await spread_by_slot(range(len(slots)), slots, owner_of_slot, ask_owner)
    return whole


async def _ask(ask: Ask, slot: int, rows: RowsToStore) -> StoredRows:
    try:
        return _read(await ask(slot, rows.encoded()), rows)
    except TidingsError as error:
        stored = _nothing(rows)
        stored.unusual = dict.fromkeys(range(len(rows.conversations)), error)
        return stored


def _nothing(rows: RowsToStore) -> StoredRows:
    count = len(rows.conversations)
    return StoredRows([0] * count, [0] * count, [0] * len(rows.recipients))


def _read(answer: pb.StoredColumns, rows: RowsToStore) -> StoredRows:
    """The answer as lists. Raises Internal if it is not one about these rows."""
    stored = _nothing(rows)
    if answer.seqs:
        sizes = [len(rows.conversations), len(rows.conversations), len(rows.recipients)]
        if [len(answer.seqs), len(answer.times_ms), len(answer.numbers)] != sizes:
            raise _mismatch()
        stored.seqs, stored.times_ms = list(answer.seqs), list(answer.times_ms)
        stored.numbers, stored.read_over = list(answer.numbers), list(answer.read_over)
        if answer.ordinals:
            if len(answer.ordinals) != len(stored.seqs):
                raise _mismatch()
            stored.ordinals = [each or seq for each, seq in zip(answer.ordinals, stored.seqs, strict=True)]
    elif len(answer.unusual) != len(rows.conversations):
        raise _mismatch()
    if answer.unusual:
        _take_unusual(stored, answer.unusual, rows)
    return stored


def _take_unusual(stored: StoredRows, unusual: Iterable[pb.StoredColumns.Unusual], rows: RowsToStore) -> None:
    """Notes what is unusual; what was stored after all, though not by the short way, stands where it would else."""
    starts = [0, *accumulate(rows.recipient_counts)]
    for each in unusual:
        place, outcome = each.place, each.outcome
        if place >= len(rows.conversations):
            raise _mismatch()
        start, end = starts[place], starts[place + 1]
        if outcome.status == pb.StoreOutcome.STORED and len(outcome.numbers) == end - start:
            stored.seqs[place], stored.times_ms[place] = outcome.seq, outcome.time_ms
            if stored.ordinals or outcome.ordinal not in (0, outcome.seq):
                stored.ordinals = stored.ordinals or list(stored.seqs)
                stored.ordinals[place] = outcome.ordinal
            stored.numbers[start:end] = outcome.numbers
            if outcome.read_over:
                stored.read_over.append(place)
        else:
            stored.unusual[place] = outcome


def _mismatch() -> TidingsError:
    return Internal("storage answered about other messages than it was asked for: send again with the same client_id")


def _fits(rows: RowsToStore, count_max: int) -> bool:
    """Whether one call carries them all."""
    count = len(rows.conversations)
    if count <= min(SURELY_FIT, count_max):
        return True
    size = sum(map(len, rows.contents)) + _ROW_BYTES * count + _RECIPIENT_BYTES * len(rows.recipients)
    return count <= count_max and size <= PORTION_BYTES_MAX


def _size(rows: RowsToStore, place: int) -> int:
    """About how many bytes the row takes in a call, rather too many."""
    return len(rows.contents[place]) + _ROW_BYTES + _RECIPIENT_BYTES * rows.recipient_counts[place]


def _part(rows: RowsToStore, places: Sequence[int], starts: Sequence[int]) -> RowsToStore:
    """The rows at these places."""
    return RowsToStore(
        picked(rows.conversations, places),
        picked(rows.senders, places),
        picked(rows.client_ids, places),
        picked(rows.contents, places),
        picked(rows.recipient_counts, places),
        [user for place in places for user in rows.recipients[starts[place] : starts[place + 1]]],
        picked(rows.versions, places),
        picked(rows.reply_tos, places),
        picked(rows.traces, places),
    )


def picked(column: Sequence[V], places: Sequence[int]) -> Sequence[V]:
    """What a column says of these places; nothing if it says nothing of any row."""
    return [column[place] for place in places] if column else column


def _put(whole: StoredRows, part: StoredRows, places: Sequence[int], starts: Sequence[int]) -> None:
    """Puts a part where it belongs."""
    at = 0
    if part.ordinals and not whole.ordinals:
        whole.ordinals = list(whole.seqs)
    if whole.ordinals:
        for place, ordinal in zip(places, part.ordinals or part.seqs, strict=True):
            whole.ordinals[place] = ordinal
    for place, seq, time_ms in zip(places, part.seqs, part.times_ms, strict=True):
        whole.seqs[place], whole.times_ms[place] = seq, time_ms
        start, end = starts[place], starts[place + 1]
        whole.numbers[start:end] = part.numbers[at : at + end - start]
        at += end - start
    whole.read_over += [places[place] for place in part.read_over]
    whole.unusual.update({places[place]: outcome for place, outcome in part.unusual.items()})
