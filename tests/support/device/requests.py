"""Requests made from the table of operations, so that a new one is tested as soon as it is there."""

from __future__ import annotations

from tidings_protocol.client_pb2 import ClientFrame
from tidings_protocol.operations import ACTS, Operation


def empty_request(operation: Operation, request_id: int = 0) -> ClientFrame:
    """A frame of this operation in which nothing is said but which it is."""
    frame = ClientFrame(id=request_id)
    body = getattr(frame, operation.body)
    body.SetInParent()
    if operation.body in ACTS:
        acts = [field.name for field in body.DESCRIPTOR.oneofs_by_name["act"].fields]
        others = (act for act in acts if act not in ACTS[operation.body])
        getattr(body, operation.act or next(others)).SetInParent()
    return frame
