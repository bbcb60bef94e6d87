"""The session of a connection, as it is handed to logic to be stored.

Does not know: when a session is stored, what logic does with it.
"""

from __future__ import annotations

from protos.tidings.internal.v1 import logic_pb2
from services.access.connection.connection import Connection


def open_item(connection: Connection, node: str, *, again: bool = False) -> logic_pb2.OpenItem:
    """The session of a connection, as logic gets it; `again` says that it is open and that its record is gone."""
    identity = connection.identity
    item = logic_pb2.OpenItem(
        user=identity.user,
        device=identity.device,
        kind=identity.kind,
        session=identity.session_id,
        node=node,
        boot_id=identity.boot_id,
        client=identity.client,
        attempt=identity.attempt,
        address=connection.transport.address,
        since_ms=identity.since_ms,
        again=again,
    )
    hello = connection.hello
    if hello is not None:
        item.cursor, item.epoch = hello.cursor, hello.epoch
        item.group_cursors.update(hello.group_cursors)
    return item
