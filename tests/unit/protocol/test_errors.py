"""The tree of errors."""

from __future__ import annotations

import grpc
import pytest

from protos.tidings.internal.v1 import common_pb2
from services.common.rpc.faults import from_fault, to_fault
from tidings_protocol import errors
from tidings_protocol.errors import Blame, TidingsError

TREE: list[type[TidingsError]] = [
    errors.BadFrame,
    errors.BadRequest,
    errors.Unauthenticated,
    errors.Forbidden,
    errors.NotFound,
    errors.Conflict,
    errors.TooLarge,
    errors.RateLimited,
    errors.Overloaded,
    errors.Unavailable,
    errors.Internal,
]


def test_the_codes_are_those_of_the_protocol() -> None:
    assert sorted(errors.CODES) == [
        "BAD_FRAME",
        "BAD_REQUEST",
        "CONFLICT",
        "FORBIDDEN",
        "INTERNAL",
        "NOT_FOUND",
        "OVERLOADED",
        "RATE_LIMITED",
        "TOO_LARGE",
        "UNAUTHENTICATED",
        "UNAVAILABLE",
    ]
    assert {kind.code for kind in TREE} == errors.CODES


@pytest.mark.parametrize("kind", TREE)
def test_each_error_has_a_grpc_status_that_exists_and_a_label(kind: type[TidingsError]) -> None:
    assert kind.grpc_status in grpc.StatusCode.__members__
    assert kind("x").label == kind.code.lower()


@pytest.mark.parametrize("kind", TREE)
def test_an_error_comes_back_from_a_fault_as_it_went(kind: type[TidingsError]) -> None:
    returned = from_fault(to_fault(kind("say what to do", 250)))

    assert type(returned) is kind
    assert (returned.message, returned.retry_after_ms, str(returned)) == ("say what to do", 250, "say what to do")


def test_the_part_that_is_wanted_comes_along() -> None:
    returned = from_fault(to_fault(errors.BadRequest("too early", next_part=7)))
    assert (type(returned), returned.next_part) == (errors.BadRequest, 7)
    assert from_fault(to_fault(errors.Forbidden("no"))).next_part == 0


def test_that_an_error_is_excused_goes_along() -> None:
    returned = from_fault(to_fault(errors.Recalled("it was recalled: leave it")))

    assert (type(returned), returned.excused) == (errors.Forbidden, True)
    assert not from_fault(to_fault(errors.Forbidden("x"))).excused


def test_a_code_of_a_newer_version_is_internal_and_keeps_its_message() -> None:
    returned = from_fault(common_pb2.Fault(code="TEAPOT", message="short and stout"))

    assert type(returned) is errors.Internal
    assert returned.message == "short and stout"


def test_only_what_may_pass_by_itself_is_retried() -> None:
    assert [kind.code for kind in TREE if kind("x").retryable] == ["RATE_LIMITED", "OVERLOADED", "UNAVAILABLE"]


def test_the_retry_time_can_be_given_or_taken_away() -> None:
    assert errors.Overloaded("x", 50).retry_after_ms == 50
    assert not errors.Overloaded("x", 0).retryable


def test_blame_falls_on_the_server_for_what_the_caller_cannot_mend() -> None:
    assert [kind.code for kind in TREE if kind.blame is Blame.SERVER] == ["OVERLOADED", "UNAVAILABLE", "INTERNAL"]


def test_a_bad_frame_names_its_field_and_request() -> None:
    error = errors.BadFrame("`send.txet` is not a field", field="send.txet", request_id=7)

    assert (error.field, error.request_id) == ("send.txet", 7)
    assert issubclass(errors.Unparsable, errors.BadFrame)
