"""The edge between the tree of errors and gRPC: each error is translated once, here, in both directions.

On the wire an error is its gRPC status, and the whole Fault in the trailing metadata: so the caller gets the very error
with its retry time. A status without a Fault comes from gRPC itself, not from a service.
"""

from __future__ import annotations

from collections.abc import Iterable

import grpc

from protos.tidings.internal.v1 import common_pb2
from services.common.rpc.contract import Dropped, TimedOut, Unreachable, too_large
from services.common.rpc.faults import from_fault, to_fault
from tidings_protocol.errors import Internal, Overloaded, TidingsError

FAULT_KEY = "tidings-fault-bin"


def status_of(error: TidingsError) -> grpc.StatusCode:
    """The gRPC status of an error."""
    return grpc.StatusCode[error.grpc_status]


def trailer_of(error: TidingsError) -> tuple[tuple[str, bytes], ...]:
    """The trailing metadata that carries the error whole."""
    return ((FAULT_KEY, to_fault(error).SerializeToString()),)


def error_from(failure: grpc.aio.AioRpcError, method: str, address: str) -> TidingsError:
    """What a failed call means."""
    trailer: Iterable[tuple[str, bytes]] = failure.trailing_metadata() or ()  # type: ignore[assignment]
    for key, value in trailer:
        if key == FAULT_KEY:
            return from_fault(common_pb2.Fault.FromString(value))
    details = failure.details() or ""
    match failure.code():
        case grpc.StatusCode.UNAVAILABLE:
            return Unreachable(f"the node at {address} cannot be reached: try again")
        case grpc.StatusCode.CANCELLED:
            # Who cancels a call of its own gets no status. This is the other side's, for what no handler began with; a
            # handler that is cut off by the end of its server is UNAVAILABLE (findings/grpc-pending-calls.sh).
            return Dropped(f"the node at {address} took no more calls: try again")
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return TimedOut(f"the node at {address} did not answer in time: try again")
        case grpc.StatusCode.RESOURCE_EXHAUSTED if "larger than max" in details:
            return too_large(method)
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return Overloaded(f"the node at {address} has too many calls under way: try again")
        case grpc.StatusCode.UNIMPLEMENTED:
            return Internal(
                f"the node at {address} does not know {method}: it may be of another version, give all nodes one"
            )
        case _:
            return Internal(f"the call of {method} to {address} failed ({failure.code().name}): see that node's log")
