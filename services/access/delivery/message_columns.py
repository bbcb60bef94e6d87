"""Messages that come as columns: whether their lists are aligned, and what they are one by one.

Guarantees: pure. `rows` and `pushes_of` say the same of columns that are aligned.

Does not know: connections, who owns whom.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import NamedTuple

from protos.tidings.internal.v1 import delivery_pb2

Columns = delivery_pb2.MessageColumns
Push = delivery_pb2.Push


class Row(NamedTuple):
    """One message; its recipients are `users[start:end]` of the columns, with the numbers at the same places."""

    body: bytes
    start: int
    end: int
    except_session: str
    accepted_ms: int
    trace: str


def is_aligned(columns: Columns) -> bool:
    """Whether each list has something to say of each row, or of none; and the rows have all the recipients."""
    rows, users = len(columns.bodies), len(columns.users)
    return (
        len(columns.user_counts) == rows
        and sum(columns.user_counts) == users
        and len(columns.numbers) in {0, users}
        and all(len(column) in {0, rows} for column in (columns.except_sessions, columns.accepted_ms, columns.traces))
    )


def rows(columns: Columns) -> Iterator[Row]:
    """The messages in their order; of columns that are aligned."""
    start = 0
    for body, count, skipped, accepted_ms, trace in zip(
        columns.bodies,
        columns.user_counts,
        columns.except_sessions or repeat(""),
        columns.accepted_ms or repeat(0),
        columns.traces or repeat(""),
        strict=False,
    ):
        yield Row(body, start, start + count, skipped, accepted_ms, trace)
        start += count


def pushes_of(columns: Columns) -> Iterator[Push]:
    """The messages as pushes; of columns that are aligned."""
    for row in rows(columns):
        yield Push(
            kind=Push.MESSAGE,
            body=row.body,
            users=columns.users[row.start : row.end],
            numbers=columns.numbers[row.start : row.end],
            except_session=row.except_session,
            accepted_ms=row.accepted_ms,
            trace=row.trace,
        )
