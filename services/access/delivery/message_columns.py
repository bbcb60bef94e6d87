"""Messages that come as columns: whether their lists are aligned, and what they are one by one.

Guarantees: pure. `rows` with `recipients`, and `pushes_of`, say the same.

Does not know: connections, who owns whom.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, repeat

from protos.tidings.internal.v1 import delivery_pb2

Columns = delivery_pb2.MessageColumns
Push = delivery_pb2.Push

# The body of a message, how many of the users are its recipients, the session that does not get it, when an access node
# accepted it, its trace. A plain tuple: one with names costs about 0.5 µs a message more (measured).
Row = tuple[bytes, int, str, int, str]


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
    return zip(
        columns.bodies,
        columns.user_counts,
        columns.except_sessions or repeat(""),
        columns.accepted_ms or repeat(0),
        columns.traces or repeat(""),
        strict=False,
    )


def recipients(columns: Columns) -> Iterator[tuple[str, int]]:
    """The users of all messages with their inbox numbers; of columns that are aligned."""
    return zip(columns.users, columns.numbers or repeat(0), strict=False)


def pushes_of(columns: Columns) -> Iterator[Push]:
    """The messages as pushes; of columns that are aligned."""
    ends = accumulate(columns.user_counts)
    for (body, count, skipped, accepted_ms, trace), end in zip(rows(columns), ends, strict=True):
        yield Push(
            kind=Push.MESSAGE,
            body=body,
            users=columns.users[end - count : end],
            numbers=columns.numbers[end - count : end],
            except_session=skipped,
            accepted_ms=accepted_ms,
            trace=trace,
        )
