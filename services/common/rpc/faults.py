"""Errors of single items in the answers of nodes to each other.

Guarantees: `to_fault` and `from_fault` are inverse to each other, but for a code of a newer version.
"""

from __future__ import annotations

from protos.tidings.internal.v1 import common_pb2
from tidings_protocol.errors import TidingsError, error_of


def to_fault(error: TidingsError) -> common_pb2.Fault:
    """The error of an item that was refused, as it goes over the wire."""
    return common_pb2.Fault(
        code=error.code,
        message=error.message,
        retry_after_ms=error.retry_after_ms,
        excused=error.excused,
        next_part=error.next_part,
    )


def from_fault(fault: common_pb2.Fault) -> TidingsError:
    """The error that the other side had."""
    return error_of(fault.code, fault.message, fault.retry_after_ms, excused=fault.excused, next_part=fault.next_part)
