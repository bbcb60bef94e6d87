"""Pings told by their bytes: an idle connection sends nothing else, and there are many of those.

Guarantees: what is told is what protobuf reads in these bytes. What a client writes in another way is not told, and is
decoded like any other frame.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tidings_protocol import client_pb2
from tidings_protocol.wire.varint import read_varint, varint_tag

_ID: Final = varint_tag(client_pb2.ClientFrame, "id")
_PING: Final = client_pb2.ClientFrame(ping=client_pb2.Ping()).SerializeToString()
_IDLE: Final = client_pb2.ClientFrame(ping=client_pb2.Ping(idle=True)).SerializeToString()
_ID_BYTES_MAX: Final = 4
_PING_BYTES_MAX: Final = len(_ID) + _ID_BYTES_MAX + len(_IDLE)


class Ping(NamedTuple):
    """What a ping says, and the id of its request."""

    request_id: int
    idle: bool


def ping_in(data: bytes) -> Ping | None:
    """The ping that these bytes of a ClientFrame are: the id, if there is one, then the ping; None: something else."""
    if len(data) > _PING_BYTES_MAX:
        return None
    idle = data.endswith(_IDLE)
    if not idle and not data.endswith(_PING):
        return None
    end = len(data) - len(_IDLE if idle else _PING)
    if not end:
        return Ping(0, idle)
    if not data.startswith(_ID) or end > len(_ID) + _ID_BYTES_MAX:
        return None
    try:
        request_id, at = read_varint(data, len(_ID))
    except ValueError:
        return None
    return Ping(request_id, idle) if at == end else None
