"""What the cluster tells its other systems: every event that a logic node hands to its publisher, into the history.

Kafka may be away then, and a node that dies takes what waits for it along: docs/events.md says so, so what counts is
that it was handed over.

Does not know: what should have been told (checker.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from protos.tidings.v1 import events_pb2
from services.logic.publishing.publisher import Publisher
from services.logic.publishing.records import Publication
from tests.simulation.history import History, Told


@contextmanager
def heard_into(history: History) -> Iterator[None]:
    """While this is entered, all nodes of this process are listened to."""
    publish = Publisher.publish

    async def noting(publisher: Publisher, publication: Publication) -> None:
        for _, value in publication.events:
            told = _told(events_pb2.Event.FromString(value))
            if told is not None:
                history.add(told)
        await publish(publisher, publication)

    Publisher.publish = noting  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        Publisher.publish = publish  # type: ignore[method-assign]


def _told(event: events_pb2.Event) -> Told | None:
    match event.WhichOneof("body"):
        case "message":
            return Told(event.conversation, seq=event.message.seq)
        case "membership":
            act = event.membership
            return Told(event.conversation, act=act.act, by=act.by, users=tuple(act.users))
        case _:
            return None
