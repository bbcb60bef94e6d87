"""Errors cross gRPC whole, and what gRPC itself says becomes an error of ours."""

from __future__ import annotations

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from services.common.rpc.contract import Dropped, TimedOut, Unreachable
from services.common.rpc.translate import error_from, status_of, trailer_of
from tidings_protocol.errors import Internal, NotFound, Overloaded, TidingsError, TooLarge

METHOD = "/tidings.internal.v1.Logic/Send"


def failed(code: grpc.StatusCode, details: str = "", *trailer: tuple[str, bytes]) -> AioRpcError:
    return AioRpcError(code, Metadata(), Metadata(*trailer), details, None)


@pytest.mark.parametrize("error", [NotFound("there is no such thing"), Overloaded("full", 1500)])
def test_an_error_of_a_service_is_the_same_error_on_the_other_side(error: TidingsError) -> None:
    there = error_from(failed(status_of(error), "", *trailer_of(error)), METHOD, "h:1")
    assert type(there) is type(error)
    assert (there.message, there.retry_after_ms) == (error.message, error.retry_after_ms)


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, "", Unreachable),
        (grpc.StatusCode.CANCELLED, "CANCELLED", Dropped),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", TimedOut),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Sent message larger than max", TooLarge),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "", Overloaded),
        (grpc.StatusCode.UNIMPLEMENTED, "", Internal),
        (grpc.StatusCode.DATA_LOSS, "", Internal),
    ],
)
def test_what_grpc_says_itself_has_a_meaning(code: grpc.StatusCode, details: str, kind: type[TidingsError]) -> None:
    assert type(error_from(failed(code, details), METHOD, "h:1")) is kind
