"""The costs that the capacity model needs and that no load tells alone: `python -m tests.benchmarks.costs REPORT`.

Puts them into a report of the standard set, as `costs`: what an access node spends on news that every access node
hears, and how many bytes a stored message takes beside its text. `make bench` runs it. Takes two seconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import bson

from protos.tidings.internal.v1 import delivery_pb2
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.delivery.delivery import Delivery
from services.access.presence.watchers import PresenceWatchers
from services.common.clock import SystemClock
from services.storage.repository.mongo.documents import entry_document, message_document
from services.storage.repository.records import InboxEntry, StoredMessage
from tidings_protocol import client_pb2
from tidings_protocol.ids import direct, new_id

BATCH = 500
REPEATS = 20
TEXT_BYTES = 128
USER = "u" * 16
RECORD_ID_BYTES = 2  # of an index entry, beside its key and the record's own id


def main() -> int:
    if len(sys.argv) != 2:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    file = Path(sys.argv[1])
    report = json.loads(file.read_text())
    report["costs"] = costs()
    file.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def costs() -> dict[str, float]:
    message_bytes, inbox_bytes = stored_bytes()
    return {
        "session_change_us": round(_us_each(_session_changes()), 3),
        "broadcast_message_us": round(_us_each(_broadcast_messages()), 3),
        "message_bytes": message_bytes,
        "inbox_bytes": inbox_bytes,
    }


def stored_bytes() -> tuple[int, int]:
    """Bytes of a message beside its text, and of an inbox entry; with their index keys, before compression."""
    chat = direct(f"{USER}a", f"{USER}b")
    content = client_pb2.Content(text="x" * TEXT_BYTES).SerializeToString()
    document = message_document(StoredMessage(chat, 1, f"{USER}a", new_id(), 1_795_000_000_000, content))
    key = bson.encode({"p": chat, "s": f"{USER}a", "k": document["k"]})
    index = len(key) + len(document["_id"]) + RECORD_ID_BYTES
    # A clustered collection keeps the key of each document beside it.
    message = len(bson.encode(document)) + len(document["_id"]) + index - TEXT_BYTES
    entry = entry_document(InboxEntry(USER, 1, chat, 1, 1_795_000_000_000))
    return message, len(bson.encode(entry)) + len(entry["_id"])


def _session_changes() -> Callable[[], object]:
    """A parcel of them reaches a node whose connections watch none of these users."""
    watches: PresenceWatchers[Connection] = PresenceWatchers(watched_max=500)
    changes = [delivery_pb2.SessionChange(user=f"user-{number}", up=True) for number in range(BATCH)]
    body = delivery_pb2.SessionChanges(changes=changes).SerializeToString()

    def take() -> None:
        for change in delivery_pb2.SessionChanges.FromString(body).changes:
            watches.session_changed(change.user, up=change.up)

    return take


def _broadcast_messages() -> Callable[[], object]:
    """Messages to large groups reach a node that has no member of them."""
    body = client_pb2.Message(conversation="g:1", seq=1, content=client_pb2.Content(text="x" * TEXT_BYTES))
    parcel = delivery_pb2.Parcel(
        pushes=[
            delivery_pb2.Push(kind=delivery_pb2.Push.MESSAGE, conversation=f"g:{number}", body=body.SerializeToString())
            for number in range(BATCH)
        ]
    ).SerializeToString()
    delivery = Delivery(
        Hub[Connection](),
        SystemClock(),
        on_sessions=lambda _: None,
        on_profiles=lambda *_: None,
        on_blocks=lambda _: None,
    )
    return lambda: asyncio.run(delivery.deliver(delivery_pb2.Parcel.FromString(parcel).pushes))


def _us_each(call: Callable[[], object]) -> float:
    """The least of several runs: the others were disturbed."""
    best = float("inf")
    for _ in range(REPEATS):
        began = time.process_time()
        call()
        best = min(best, time.process_time() - began)
    return best / BATCH * 1e6


if __name__ == "__main__":
    sys.exit(main())
