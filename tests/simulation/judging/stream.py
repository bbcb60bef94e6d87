"""What the cluster tells its other systems: every event of a message or a change that the bus took, into the history.

The bus may lose its disk later; what counts is that it was there.

Does not know: what should have been told (checker.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from protos.tidings.v1 import events_pb2
from services.common.bus.contract import Record
from services.common.bus.memory import MemoryBroker
from tests.support.histories.history import History, Told


@contextmanager
def heard_into(history: History) -> Iterator[None]:
    """While this is entered, all that any bus of this process takes is listened to."""
    append = MemoryBroker.append

    def noting(broker: MemoryBroker, records: Sequence[Record]) -> bool:
        for record in records:
            if record.topic.endswith(".events"):
                told = _told(events_pb2.Event.FromString(record.value))
                if told is not None:
                    history.add(told)
        return append(broker, records)

    MemoryBroker.append = noting  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        MemoryBroker.append = append  # type: ignore[method-assign]


def _told(event: events_pb2.Event) -> Told | None:
    match event.WhichOneof("body"):
        case "message":
            return Told(event.conversation, seq=event.message.seq)
        case "membership":
            act = event.membership
            return Told(event.conversation, act=act.act, by=act.by, users=tuple(act.users))
        case _:
            return None
